# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The greeting of a server, read by programs that check whether it takes mail; it blocks."""

from __future__ import annotations

import socket

from mailgate.config import Endpoint


def read_greeting(endpoint: Endpoint, seconds: float) -> str:
    """Return what a server sends first, empty if it closes the connection; raise OSError."""
    with socket.create_connection((endpoint.host, endpoint.port), seconds) as connection:
        connection.settimeout(seconds)
        greeting = connection.recv(512).decode("ascii", "replace").strip()
        connection.sendall(b"QUIT\r\n")
    return greeting
