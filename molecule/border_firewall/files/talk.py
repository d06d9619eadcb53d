# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a connection to port 25 of each ADDRESS open: `talk.py FILE ADDRESS …`.

Ten times a second it exchanges a line on each and writes the number of rounds to FILE. It exits with an error when a
connection ends.
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
