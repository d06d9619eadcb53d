# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect to each given ADDRESS,PORT and print the results as JSON: open, refused, or the name of the error."""

from __future__ import annotations

import concurrent.futures
import json
import socket
import sys


def probe(target: str) -> str:
    """Open a connection, send a line and expect its echo."""
    address, _comma, port = target.rpartition(",")
    try:
        with socket.create_connection((address, int(port)), timeout=3) as connection:
            connection.sendall(b"hello\n")
            return "open" if connection.recv(64) == b"hello\n" else "no echo"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return type(error).__name__


with concurrent.futures.ThreadPoolExecutor() as pool:
    targets = sys.argv[1:]
    print(json.dumps(dict(zip(targets, pool.map(probe, targets), strict=True))))
