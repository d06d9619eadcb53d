# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets between the gateway and the unpacker, on a socket that keeps their boundaries (SOCK_SEQPACKET).

The gateway sends one request with the open file to look into. The unpacker answers with the pieces of the files in it,
the problems, and END; or DIED if the process that looked into it ended before that.
"""

from __future__ import annotations

import json
import socket

# Kinds of packets: the first byte of each.
FILE, DATA, PROBLEM, END, DIED = b"F", b"D", b"P", b"E", b"X"
MAX_DATA = 128 * 1024
MAX_PACKET = MAX_DATA + 64
# Why a process ended: it used up its processor time or memory, it crashed, or it was killed from outside.
TOO_LONG, CRASHED, KILLED = "takes too long to unpack", "the program that opens it crashed", "killed"

_MAX_NAME = 2000


def request(*, everything: bool) -> bytes:
    """Return a request; with `everything`, files that clamd opens by itself are sent too."""
    return json.dumps({"everything": everything}).encode()


def wants_everything(packet: bytes) -> bool:
    """Return what a request asks for; raise ValueError."""
    return bool(json.loads(packet)["everything"])


def texts(kind: bytes, *values: str) -> bytes:
    """Return a packet with texts, which may hold lone surrogates."""
    return kind + json.dumps([value[:_MAX_NAME] for value in values]).encode()


def values(packet: bytes) -> list[str]:
    """Return the texts of a packet."""
    return [str(value) for value in json.loads(packet[1:])]


def own_socket() -> socket.socket:
    """Return a socket of the right kind."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
