# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of one clamd on its unix or TCP socket (clamd(8)): clean only on the literal `stream: OK`.

Data is sent by INSTREAM, or as a memory file by FILDES, which saves clamd a temporary file: for a small message that is
a fifth of its work. A file of a scan that has ended is written again for the next one, so its memory need not be
allocated again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

MAX_REPLY = 4096
# Pieces up to this size are joined, so that fewer are sent.
SMALL = 128 * 1024
# Memory files that are kept for the next scans.
_MAX_KEPT = 2
# clamd recognizes data as mail, and parses it, only by some first header fields. This is one of them.
AS_MAIL = b"Received: from mailgate\r\n"
OK = b"stream: OK\0"
TOO_BIG = b"INSTREAM size limit exceeded. ERROR\0"

_END = b"\0\0\0\0"
# Answers to FILDES begin with clamd's descriptor of the file; the rest is as for a stream.
_FILE = re.compile(rb"fd\[\d+\]:")
_FOUND = re.compile(rb"stream: ([^\0]+) FOUND\0")
_VERSION = re.compile(rb"ClamAV [^\0]+\0")
_LIMITS = "Heuristics.Limits.Exceeded"
_TIME_OUT = f"{_LIMITS}.MaxScanTime"
_ENCRYPTED = "Heuristics.Encrypted"

Address = str | tuple[str, int]


class Finding(Enum):
    """Result of a scan."""

    CLEAN = "clean"
    INFECTED = "infected"
    ENCRYPTED = "encrypted"
    UNCHECKED = "unchecked"
    OVER_LIMITS = "over_limits"


@dataclass(frozen=True)
class Verdict:
    """Result of a scan, and the name that clamd gives to what it found."""

    finding: Finding
    name: str = ""


CLEAN = Verdict(Finding.CLEAN)


ScanCall = Callable[[Sequence[bytes]], Awaitable[Verdict]]


class ScanError(Exception):
    """There is no verdict: scanner down, too slow, or its answer not understood. The message must not pass."""


class Clamd:
    """One clamd.

    Args:
        address: Path of its unix socket, or IP address and port.
        concurrency: Maximum number of simultaneous scans.
        file_size: Maximum size in bytes of data sent as a file, to a clamd on this host.
    """

    def __init__(self, address: Address, concurrency: int, *, file_size: int = 0) -> None:
        self.address = address
        self._slots = asyncio.Semaphore(concurrency)
        # Memory files of scans that have ended.
        self._kept: list[int] = []
        self.use(file_size)

    def __str__(self) -> str:
        return self.address if isinstance(self.address, str) else "{}:{}".format(*self.address)

    async def scan(self, pieces: Sequence[bytes], deadline: float) -> Verdict:
        """Scan the concatenation of `pieces` until `deadline`, a time of the event loop; raise ScanError."""
        small = self.file_size and sum(map(len, pieces)) <= self.file_size
        try:
            if not small or self._slots.locked():
                async with asyncio.timeout_at(deadline), self._slots:
                    if small:
                        return await self._fildes(pieces, deadline)
                    return parse_answer(await self._instream(pieces, deadline))
            # Only the answer is waited for, which has a timer of its own.
            async with self._slots:
                return await self._fildes(pieces, deadline)
        except TimeoutError:
            raise ScanError("no answer in time") from None
        except OSError as error:
            raise ScanError(f"clamd connection failed: {error}") from error

    async def version(self, deadline: float) -> str:
        """Return the versions of clamd and its signatures, as `ClamAV 1.4.6/27456/DATE`; raise ScanError."""
        try:
            async with asyncio.timeout_at(deadline):
                with self._socket() as connection:
                    await self._connect(connection)
                    await asyncio.get_running_loop().sock_sendall(connection, b"zVERSION\0")
                    answer = await _answer(connection, deadline)
        except (TimeoutError, OSError) as error:
            raise ScanError(f"clamd connection failed: {error or 'no answer in time'}") from error
        if not _VERSION.fullmatch(answer):
            raise ScanError(f"clamd answered {answer[:200]!r} to VERSION")
        return answer[:-1].decode("ascii", "replace")

    def use(self, file_size: int) -> None:
        """Use another maximum size of data sent as a file."""
        self.file_size = file_size if isinstance(self.address, str) else 0
        self._max_kept = _MAX_KEPT

    def close(self) -> None:
        """Close the files that are kept, and keep no more; scans in progress end as usual."""
        self._max_kept = 0
        while self._kept:
            os.close(self._kept.pop())

    async def _instream(self, pieces: Sequence[bytes], deadline: float) -> bytes:
        loop = asyncio.get_running_loop()
        with self._socket() as connection:
            await self._connect(connection)
            try:
                request = _request(pieces)
                for data in request[:-1]:
                    await loop.sock_sendall(connection, data)
                if len(request) > 1 and _has_answered(connection):
                    raise ConnectionError("answer before the end of the data")
                await loop.sock_sendall(connection, request[-1])
            except ConnectionError as error:
                # clamd answers and closes the connection early when the stream exceeds its size limit.
                answer = await _early_answer(connection)
                if answer == TOO_BIG:
                    return answer
                raise ScanError(f"clamd closed the connection: {error}: {answer[:200]!r}") from None
            return await _answer(connection, deadline)

    async def _fildes(self, pieces: Sequence[bytes], deadline: float) -> Verdict:
        handle = self._kept.pop() if self._kept else os.memfd_create("message", os.MFD_CLOEXEC)
        ended = False
        try:
            size = sum(map(len, pieces))
            os.ftruncate(handle, size)
            if os.pwritev(handle, pieces, 0) != size:
                raise ScanError("no memory for the message file")
            with self._socket() as connection:
                # That of a Unix socket does not wait.
                connection.connect(self.address)
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", handle))
                connection.sendmsg([b"zFILDES\0\0"], [rights])
                answer = await _answer(connection, deadline)
            if not _FILE.match(answer):
                raise ScanError(f"clamd answered {answer[:200]!r} to FILDES")
            verdict = parse_answer(_FILE.sub(b"stream:", answer, count=1))
            ended = True
        finally:
            # clamd may still read the file of a scan that has not ended by a verdict.
            if ended and len(self._kept) < self._max_kept:
                self._kept.append(handle)
            else:
                os.close(handle)
        return verdict

    def _socket(self) -> socket.socket:
        if isinstance(self.address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    async def _connect(self, connection: socket.socket) -> None:
        await asyncio.get_running_loop().sock_connect(connection, self.address)


def _request(pieces: Sequence[bytes]) -> list[bytes]:
    """Return what to send, each piece as a chunk (an empty one would be the end); the last item has the end."""
    request: list[bytes] = []
    small = [b"zINSTREAM\0"]
    for piece in filter(None, pieces):
        small.append(len(piece).to_bytes(4, "big"))
        if len(piece) <= SMALL:
            small.append(piece)
        else:
            request += [b"".join(small), piece]
            small = []
    return [*request, b"".join((*small, _END))]


def _has_answered(connection: socket.socket) -> bool:
    """Return whether there is an answer, or the end of the connection, before the request is complete."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


async def _answer(connection: socket.socket, deadline: float) -> bytes:
    """Return everything that clamd sends until it closes; it must be one answer, with nothing after it.

    Only the end wakes the task. At loop time `deadline`, raise TimeoutError.
    """
    loop = asyncio.get_running_loop()
    # The selector describes a socket object in an exception when it is added.
    handle = connection.fileno()
    ended: asyncio.Future[None] = loop.create_future()
    answer = bytearray()

    def end(error: OSError | None) -> None:
        if not ended.done():
            if error:
                ended.set_exception(error)
            else:
                ended.set_result(None)

    def receive() -> None:
        try:
            while len(answer) <= MAX_REPLY and (chunk := connection.recv(MAX_REPLY)):
                answer.extend(chunk)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            end(error)
        else:
            end(None)
        loop.remove_reader(handle)

    timer = loop.call_at(deadline, end, TimeoutError())
    loop.add_reader(handle, receive)
    try:
        await ended
    except BaseException:
        loop.remove_reader(handle)
        raise
    finally:
        timer.cancel()
    return bytes(answer)


async def _early_answer(connection: socket.socket) -> bytes:
    """Return what clamd sent before it closed; its close is an error here, as it left data unread."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.get_running_loop().sock_recv(connection, MAX_REPLY)
    return b""


def parse_answer(answer: bytes) -> Verdict:
    """Return the verdict in an answer to INSTREAM; raise ScanError for any other answer."""
    if answer == OK:
        return CLEAN
    if answer == TOO_BIG:
        return Verdict(Finding.OVER_LIMITS, "StreamMaxLength")
    found = _FOUND.fullmatch(answer)
    if not found:
        raise ScanError(f"clamd answered {answer[:200]!r}")
    name = found.group(1).decode("utf-8", "replace")
    if name.startswith(_TIME_OUT):
        # How long a scan takes depends on the load, so this says nothing about the message.
        raise ScanError(f"clamd needs too long: {name}")
    if name.startswith(_LIMITS):
        return Verdict(Finding.OVER_LIMITS, name)
    if name.startswith(_ENCRYPTED):
        return Verdict(Finding.ENCRYPTED, name)
    return Verdict(Finding.INFECTED, name)
