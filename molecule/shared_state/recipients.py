# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name a recipient many times at several gateways at once: `python3 recipients.py RECIPIENT NUMBER ADDRESS …`.

Runs on the twin's host outside. Prints the first replies, and how many recipients were accepted at all gateways.
"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

recipient, number, *gateways = sys.argv[1:]


def name(address: str) -> tuple[str, int]:
    """Return the code of the greeting, and how many recipients were accepted."""
    with socket.create_connection((address, 25), 30) as connection:
        replies = connection.makefile("rb")
        greeting = replies.readline().decode()[:3]
        accepted = 0
        if greeting == "220":
            for command in ("HELO device.example", "MAIL FROM:<>", *[f"RCPT TO:<{recipient}>"] * int(number)):
                connection.sendall(f"{command}\r\n".encode())
                reply = replies.readline()
                accepted += command.startswith("RCPT") and reply.startswith(b"250")
        return greeting, accepted


with ThreadPoolExecutor(len(gateways)) as threads:
    found = list(threads.map(name, gateways))
print(
    json.dumps({"greetings": [greeting for greeting, _accepted in found], "accepted": sum(each[1] for each in found)})
)
