# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What TCP knows about a connection: how many bytes the other side's kernel has acknowledged (tcp(7), Linux)."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from dataclasses import dataclass

# Offset of tcpi_bytes_acked in struct tcp_info; the state is its first byte.
_BYTES_ACKED = 120
_CLOSED = 7
_INT = struct.Struct("i")
_U64 = struct.Struct("Q")


@dataclass(frozen=True, slots=True)
class Acknowledgment:
    """Position in the sent stream up to which the other side has acknowledged, and whether the connection is closed."""

    position: int
    closed: bool


def acknowledgment(transport: asyncio.BaseTransport | None) -> Acknowledgment | None:
    """Return what the other side has acknowledged, or None if that is unknown."""
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + _U64.size)
    except (OSError, ValueError):
        # ValueError: the socket of uvloop is closed.
        return None
    if len(info) < _BYTES_ACKED + _U64.size:
        return None
    return Acknowledgment(_U64.unpack_from(info, _BYTES_ACKED)[0], closed=info[0] == _CLOSED)


def outstanding(transport: asyncio.BaseTransport | None) -> int:
    """Return how many sent bytes the other side has not acknowledged; 0 if that is unknown."""
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None:
        return 0
    try:
        return int(_INT.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))[0])
    except (OSError, ValueError):
        # ValueError: the socket is closed.
        return 0


def sent_position(transport: asyncio.WriteTransport | None) -> int | None:
    """Return the position of the end of what was written, or None if that is unknown."""
    if transport is None:
        return None
    # Some versions of uvloop send at the end of the loop's iteration. Encrypted data has another length.
    buffered = transport.get_write_buffer_size()
    if buffered and transport.get_extra_info("ssl_object") is not None:
        return None
    acknowledged = acknowledgment(transport)
    # In this order: an acknowledgment that arrives meanwhile yields too low a position, never one out of reach.
    return acknowledged.position + outstanding(transport) + buffered if acknowledged else None
