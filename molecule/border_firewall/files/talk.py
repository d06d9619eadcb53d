# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds one connection to each ADDRESS of port 25 open and has a line echoed on each ten times a second.

Writes the number of rounds to the file named first, after each. Ends with an error when a connection does.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

connections = [socket.create_connection((address, 25), timeout=10) for address in sys.argv[2:]]
rounds = 0
while True:
    for connection in connections:
        connection.sendall(b"NOOP\r\n")
        if connection.recv(64) != b"NOOP\r\n":
            sys.exit("the connection ended")
    rounds += 1
    Path(sys.argv[1]).write_text(str(rounds))
    time.sleep(0.1)
