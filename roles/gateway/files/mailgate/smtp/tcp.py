# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What TCP knows about a connection: what was sent and what the other side has acknowledged (tcp(7), Linux).

A position is a number of bytes from the beginning of the sent stream. The transport is that of TCP, also under TLS.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
from dataclasses import dataclass

# In struct tcp_info: the state, tcpi_bytes_acked, and tcpi_bytes_sent with tcpi_bytes_retrans behind it.
_INFO = struct.Struct("=B119xQ72xQQ")
_CLOSED = 7
# The other side has closed its side: CLOSE_WAIT, LAST_ACK.
_HALF_CLOSED = (8, 9)
_INT = struct.Struct("i")
_NONE = bytes(_INT.size)


@dataclass(frozen=True, slots=True)
class Acknowledgment:
    """How far a connection has come.

    Attributes:
        position: What the other side has acknowledged.
        sent: What was sent at least once.
        half_closed: The other side has closed its side.
        closed: The connection is closed.
    """

    position: int
    sent: int
    half_closed: bool = False
    closed: bool = False


def acknowledgment(transport: asyncio.BaseTransport | None) -> Acknowledgment | None:
    """Return what was sent and what the other side has acknowledged, or None if that is unknown."""
    return socket_acknowledgment(transport.get_extra_info("socket") if transport else None)


def socket_acknowledgment(sock: socket.socket | None) -> Acknowledgment | None:
    """Return the same of a socket."""
    if sock is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    except (OSError, ValueError):
        # ValueError: the socket of uvloop is closed.
        return None
    if len(info) < _INFO.size:
        return None
    state, acknowledged, sent, sent_again = _INFO.unpack(info)
    return Acknowledgment(acknowledged, sent - sent_again, half_closed=state in _HALF_CLOSED, closed=state == _CLOSED)


def copy_of_socket(transport: asyncio.BaseTransport) -> socket.socket | None:
    """Return a copy of the socket, which stays open when the transport closes its own; None if there is none.

    The connection ends only once the copy is closed, too.
    """
    try:
        return socket.socket(fileno=os.dup(handle_of(transport)))
    except OSError:
        return None


def handle_of(transport: asyncio.BaseTransport | None) -> int:
    """Return the descriptor of a connection's socket, -1 if there is none."""
    sock = transport.get_extra_info("socket") if transport else None
    try:
        return int(sock.fileno()) if sock else -1
    except (OSError, ValueError):
        # ValueError: the socket is closed.
        return -1


def outstanding(handle: int) -> int:
    """Return how many sent bytes the other side of an open socket has not acknowledged; 0 if that is unknown."""
    try:
        return int(_INT.unpack(fcntl.ioctl(handle, termios.TIOCOUTQ, _NONE))[0])
    except (OSError, ValueError):
        # ValueError: there is no socket.
        return 0


def sent_position(transport: asyncio.WriteTransport | None) -> int | None:
    """Return the position of the end of what was written, or None if that is unknown."""
    if transport is None:
        return None
    # uvloop before 0.23 sends at the end of the loop's iteration.
    buffered = transport.get_write_buffer_size()
    acknowledged = acknowledgment(transport)
    # In this order: an acknowledgment that arrives meanwhile yields too low a position, never one out of reach.
    return acknowledged.position + outstanding(handle_of(transport)) + buffered if acknowledged else None
