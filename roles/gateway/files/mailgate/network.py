# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of client addresses: what counts as one client, and as one origin."""

from __future__ import annotations

import socket


def client_key(address: str) -> str:
    """Return what limits count as one client: an IPv4 address, or an IPv6 /64, which one host may have to itself."""
    return _prefix(address, 8) if ":" in address else address


def network_of(address: str) -> str:
    """Return the network of an address: an IPv4 /24 or an IPv6 /48, the usual sizes of a site."""
    return _prefix(address, 6) if ":" in address else address.rpartition(".")[0]


def plain_address(address: str) -> str:
    """Return a client's address without zone, and as IPv4 if it is a mapped one."""
    return address.partition("%")[0].removeprefix("::ffff:")


def client_network(address: str) -> str:
    """Return what counts as one client in the usual notation: an IPv4 address, or an IPv6 network ADDRESS/64."""
    if ":" not in address:
        return address
    packed = socket.inet_pton(socket.AF_INET6, address)[:8]
    return f"{socket.inet_ntop(socket.AF_INET6, packed + bytes(8))}/64"


def _prefix(address: str, size: int) -> str:
    try:
        return socket.inet_pton(socket.AF_INET6, address)[:size].hex(":", 2)
    except (OSError, ValueError):
        return address
