# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake clamd servers: INSTREAM and VERSION on a Unix socket, open files (FILDES), and ways to misbehave."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mailgate.config import Scan
from mailgate.scan.clamd import Verdict
from mailgate.scan.scanner import Scanner

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
#: A version with signatures of the ClamAV project, and the time at which they were made.
VERSION = b"ClamAV 1.4.6/27456/Mon Nov 16 09:23:11 2026\0"
MADE = time.mktime((2026, 11, 16, 9, 23, 11, 0, 0, -1))

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_stream(reader: asyncio.StreamReader) -> bytes:
    """Return the content of an INSTREAM command."""
    stream = bytearray()
    while size := int.from_bytes(await reader.readexactly(4), "big"):
        stream += await reader.readexactly(size)
    return bytes(stream)


def find_eicar(stream: bytes) -> bytes:
    """Return clamd's reply to a stream: it finds EICAR as such or in base64."""
    start = base64.b64encode(EICAR)[:40]
    flat = stream.replace(b"\r\n", b"")
    return b"stream: Eicar-Signature FOUND\0" if EICAR in stream or start in flat else b"stream: OK\0"


class FakeClamd:
    """A clamd on a Unix socket. `answer` is its reply to a scan, or a function of the stream that returns it.

    `serve` replaces all that follows an INSTREAM command; see the behaviours below.
    """

    def __init__(self, path: Path, version: bytes = b"ClamAV 1.4.6\0") -> None:
        self.path = path
        self.version = version
        self.answer: bytes | Callable[[bytes], bytes] = find_eicar
        self.serve: Behaviour = self.scan
        #: Seconds between the end of a stream and its reply.
        self.pause = 0.0
        #: Complete streams; number of INSTREAM commands; scans in progress now, and at most.
        self.scans: list[bytes] = []
        self.requests = 0
        self.parallel = self.max_parallel = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, self.path)

    async def start_tcp(self) -> int:
        """Listen on loopback; return the port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server:
            self._server.close()
        self.path.unlink(missing_ok=True)

    async def scan(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = await read_stream(reader)
        self.scans.append(stream)
        await asyncio.sleep(self.pause)
        writer.write(self.answer(stream) if callable(self.answer) else self.answer)
        await writer.drain()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            command = await reader.readuntil(b"\0")
            if command == b"zVERSION\0":
                writer.write(self.version)
                return
            assert command == b"zINSTREAM\0"
            self.requests += 1
            self.parallel += 1
            self.max_parallel = max(self.max_parallel, self.parallel)
            await self.serve(reader, writer)
            self.parallel -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


class FakeClamdOfFiles:
    """A clamd that gets open files (FILDES), in a thread: asyncio passes no file descriptors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer = b"fd[10]: OK\0"
        self.seen: list[bytes] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                command, handles, _flags, _address = socket.recv_fds(connection, 100, 1)
                if command == b"zVERSION\0":
                    connection.sendall(VERSION)
                    continue
                self.seen.append(command + os.pread(handles[0], 1 << 20, 0))
                os.close(handles[0])
                connection.sendall(self.answer)


class ScannerHarness:
    """A scanner of fake or real clamd servers, with its events and a clock."""

    def __init__(self, *paths: Path, **settings: object) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        sockets = [str(path) for path in paths]
        self.now = MADE + 86400
        defaults = {"socket": sockets[0], "other_sockets": tuple(sockets[1:]), "signature_dir": "", "file_size": 0}
        self.scanner = Scanner(
            Scan(**{**defaults, **settings}),  # type: ignore[arg-type]
            lambda event, **fields: self.events.append((event, fields)),
            lambda: self.now,
        )

    async def scan(self, *pieces: bytes, seconds: float = 60, known: bytes = b"") -> Verdict:
        return await self.scanner.scan(pieces, asyncio.get_running_loop().time() + seconds, known)


# Behaviours that give no complete reply to a stream


async def ends_at_once(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    pass


async def ends_in_the_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1000)
    writer.transport.abort()


async def ends_after_the_stream(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await read_stream(reader)


async def replies_ok_before_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1000)
    writer.write(b"stream: OK\0")
    await writer.drain()
    await reader.read()


async def replies_ok_and_ends_in_the_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1000)
    writer.write(b"stream: OK\0")


async def replies_half_and_hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_stream(reader)
    writer.write(b"stream: OK")
    await hangs(reader, writer)


async def does_not_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_stream(reader)
    writer.write(b"stream: OK\0")
    await hangs(reader, writer)


async def replies_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_stream(reader)
    writer.write(b"stream: OK\0")
    await writer.drain()
    await asyncio.sleep(0.1)  # in two pieces
    writer.write(b"stream: Eicar FOUND\0")


async def never_replies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_stream(reader)
    await hangs(reader, writer)


async def hangs(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_stream(reader)
    writer.write(b"stream: " + b"x" * 100_000)


BAD_BEHAVIOURS: list[Behaviour] = [
    ends_at_once, ends_in_the_stream, ends_after_the_stream, replies_ok_before_the_end,
    replies_ok_and_ends_in_the_stream, replies_half_and_hangs, does_not_close, replies_twice, never_replies, hangs,
    floods,
]  # fmt: skip
#: Those that end only with the time of the scan.
HANGING: list[Behaviour] = [replies_half_and_hangs, does_not_close, never_replies, hangs]


def scan_seconds(behaviour: Behaviour, short: float) -> float:
    """Return how long a scan by such a clamd may take: `short` if it hangs."""
    return short if behaviour in HANGING else 60
