# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that ends its connection in the way of simple devices: `python3 clients.py HOW ADDRESS RECIPIENT MESSAGE`.

Runs on the twin's host outside. HOW is what follows the message's final dot: `close` at once, `QUIT` in the same
packet, or `reset`, which loses the reply.
"""

from __future__ import annotations

import socket
import struct
import sys

how, address, recipient, message = sys.argv[1:]
with socket.create_connection((address, 25), 30) as connection:
    replies = connection.makefile("rb")
    replies.readline()
    for command in ("HELO device.example", "MAIL FROM:<alarm@elsewhere.example>", f"RCPT TO:<{recipient}>", "DATA"):
        connection.sendall(f"{command}\r\n".encode())
        reply = replies.readline()
        if reply[:1] not in b"23":
            raise SystemExit(f"{command}: {reply.decode()}")
    connection.sendall(message.encode() + b"\r\n.\r\n" + (b"QUIT\r\n" if how == "QUIT" else b""))
    if how == "QUIT":
        replies.read()
    elif how == "reset":
        # At once, which the reply must not precede: it keeps the connection open.
        replies.close()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
