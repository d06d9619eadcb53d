# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of the unpacker: what is inside an archive, without decoding anything in this process."""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from mailgate.archives import frames

# A file that is larger is passed on in pieces of this size, which overlap.
SLICE = 16 * 1024 * 1024
OVERLAP = 64 * 1024
# How many archives of more than `PROMPT` bytes inside one process passes on at once. A hundred would take gigabytes of
# memory and all of the scanner's time, and other mail would wait for a minute.
LARGE, PROMPT = 2, 1024 * 1024
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from mailgate.archives import server; server.main(sys.argv[1:])"
)
_BACKLOG = 4096


class UnpackerError(Exception):
    """The unpacker gives no answer, for a reason of its own: there is no finding."""


@dataclass(frozen=True)
class File:
    """A file in an archive, or a slice of it: `name` is its path through the archives that hold it."""

    name: str
    content: bytes
    first: bool = True


@dataclass(frozen=True)
class NotOpened:
    """What could not be opened: `kind` is encrypted or unchecked."""

    kind: str
    name: str
    reason: str


class Unpacker:
    """The unpacker at a socket; without a path, a process of its own that ends with this one."""

    def __init__(self, path: str = "") -> None:
        self._address: str | bytes = path
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = 0
        self._places = asyncio.Semaphore(LARGE)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def inside(self, content: bytes, *, everything: bool = False) -> AsyncGenerator[File | NotOpened, None]:
        """Yield the files inside `content` that clamd does not open by itself, and what could not be opened.

        Args:
            content: A file of any type.
            everything: Whether to yield all files.

        Raises:
            UnpackerError: There is no complete answer.
        """
        loop = asyncio.get_running_loop()
        try:
            with frames.own_socket() as connection, self._place(loop) as place:
                connection.setblocking(False)
                await loop.sock_connect(connection, self._listening())
                handle = os.memfd_create("archive", os.MFD_CLOEXEC)
                try:
                    _write(handle, content)
                    socket.send_fds(connection, [frames.request(everything=everything)], [handle])
                finally:
                    os.close(handle)
                async for found in _answers(connection, loop, place):
                    yield found
        except OSError as error:
            raise UnpackerError(f"unpacker: {error}") from error

    def _place(self, loop: asyncio.AbstractEventLoop) -> _Place:
        if self._loop is not loop:
            self._places, self._loop = asyncio.Semaphore(LARGE), loop
        return _Place(self._places)

    def _listening(self) -> str | bytes:
        mine = self._starter in (0, os.getpid())
        if self._address and mine and (not self._process or self._process.poll() is None):
            return self._address
        listener = frames.own_socket()
        listener.bind("")
        listener.listen(_BACKLOG)
        source = str(Path(__file__).resolve().parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, source, str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=(listener.fileno(),),
            cwd="/",
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)},
        )
        atexit.register(self.close)
        self._starter = os.getpid()
        self._address = listener.getsockname()
        listener.close()
        return self._address

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process and self._starter == os.getpid():
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(10)
            self._process = None
            self._address = ""


OWN = Unpacker()


def _write(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
    os.lseek(handle, 0, os.SEEK_SET)


class _Place:
    """The place among the large archives of one that turns out to be large; the end of the context gives it up."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._received = 0
        self._taken = False

    def __enter__(self) -> _Place:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._taken:
            self._places.release()

    async def receive(self, size: int) -> None:
        """Note that so much has come out of the archive; wait for a place if that makes it large."""
        self._received += size
        if self._received > PROMPT and not self._taken:
            await self._places.acquire()
            self._taken = True


async def _answers(
    connection: socket.socket, loop: asyncio.AbstractEventLoop, place: _Place
) -> AsyncGenerator[File | NotOpened, None]:
    name, first = "", True
    held = bytearray()
    open_file = False
    while packet := await loop.sock_recv(connection, frames.MAX_PACKET):
        kind = packet[:1]
        if kind == frames.DATA:
            await place.receive(len(packet))
            held += memoryview(packet)[1:]
            if len(held) > SLICE:
                yield File(name, bytes(held[:SLICE]), first)
                first = False
                del held[: SLICE - OVERLAP]
            continue
        if open_file and kind != frames.DIED:
            yield File(name, bytes(held), first)
        open_file = False
        held.clear()
        if kind == frames.FILE:
            (name,), first, open_file = frames.values(packet), True, True
        elif kind == frames.PROBLEM:
            problem, path, reason = frames.values(packet)
            yield NotOpened(problem, path, reason)
        elif kind == frames.END:
            return
        elif kind == frames.DIED:
            (reason,) = frames.values(packet)
            if reason == frames.KILLED:
                raise UnpackerError("the unpacker's process was killed")
            yield NotOpened("unchecked", "", reason)
            return
    raise UnpackerError("the unpacker closed the connection")
