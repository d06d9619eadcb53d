# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers of one worker on loopback, without any work of their own: a next hop, a clamd, and a sending client."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

VERSION = "ClamAV 1.4.3/27800/"


def serve(listener: socket.socket, talk: Callable[[socket.socket], None]) -> None:
    """Have `talk` serve each connection in a thread of its own."""

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            talk(connection)

    def accept() -> None:
        while True:
            connection, _address = listener.accept()
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def start_next_hop() -> int:
    """Start an SMTP server that accepts everything; return its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    serve(listener, _accept_mail)
    return int(listener.getsockname()[1])


def _accept_mail(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection.makefile("rb") as lines:
        connection.sendall(b"220 sink.univ.example ESMTP\r\n")
        for line in lines:
            verb = line[:4].upper()
            if verb == b"EHLO":
                connection.sendall(b"250-sink.univ.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == b"DATA":
                connection.sendall(b"354 End data with <CR><LF>.<CR><LF>\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                connection.sendall(b"250 2.0.0 Ok\r\n")
            else:
                connection.sendall(b"250 2.0.0 Ok\r\n")


def start_clamd(path: Path) -> None:
    """Start a clamd that finds nothing, at a socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(100)
    serve(listener, _scan)


def _scan(connection: socket.socket) -> None:
    with connection.makefile("rb") as stream:
        command = bytearray()
        while (byte := stream.read(1)) not in (b"\0", b""):
            command += byte
        if command == b"zVERSION":
            connection.sendall(f"{VERSION}{time.ctime()}\0".encode())
        elif command == b"zFILDES":
            connection.sendall(b"fd[10]: OK\0")
        elif command == b"zINSTREAM":
            while length := int.from_bytes(stream.read(4), "big"):
                stream.read(length)
            connection.sendall(b"stream: OK\0")


@contextlib.contextmanager
def connected(port: int, source: str) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """Connect from an address of the loopback network; yield the connection, and a file of what it receives."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=120, source_address=(source, 0)) as connection,
        connection.makefile("rb") as replies,
    ):
        yield connection, replies


def converse(port: int, source: str, lines: Sequence[bytes], wanted: bytes) -> None:
    """Send lines one by one, each after the reply to the one before, QUIT, and wait for the end of the connection.

    The last reply before QUIT must begin with `wanted`; so must the greeting if there are no lines, and then nothing is
    sent.
    """
    with connected(port, source) as (connection, replies):
        reply = _reply(replies)
        for line in lines:
            connection.sendall(line)
            reply = _reply(replies)
        if not reply.startswith(wanted):
            raise RuntimeError(f"{reply!r} in place of {wanted!r}")
        if lines:
            connection.sendall(b"QUIT\r\n")
        replies.read()


def _reply(replies: BinaryIO) -> bytes:
    while (line := replies.readline())[3:4] == b"-":
        pass
    return line
