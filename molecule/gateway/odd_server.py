# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on port 25 whose replies cannot be replies: `python3 odd_server.py FAULT`. It keeps no message.

Runs on a host of the twin instead of its sendmail. A server with such faults would also mislead the sendmail of the
gateway's queue, so it is down for that; sendmail writes `MAIL From`.
"""

from __future__ import annotations

import socketserver
import sys

FAULT = sys.argv[1]
REPLIES = {
    "3xx to RCPT": {"RCPT": "354 go on"},
    "an extra reply": {"MAIL": "250 2.1.0 ok\r\n250 2.1.0 ok", "RCPT": "550 5.7.1 no", "DATA": "451 4.3.0 no"},
    "early reply": {"DATA": "354 go on", ".": "451 4.3.0 not kept"},
    "early refusal": {"DATA": "354 go on", ".": "451 4.3.0 not kept"},
    "TLS that fails": {
        "EHLO": "250-odd.example\r\n250 STARTTLS",
        "STARTTLS": "220 2.0.0 go on",
        "MAIL": "530 5.7.0 Must issue a STARTTLS command first",
    },
}[FAULT]
EARLY = {"early reply": b"250 2.0.0 taken\r\n", "early refusal": b"554 5.6.0 refused\r\n"}


class Odd(socketserver.StreamRequestHandler):
    """One session."""

    def handle(self) -> None:
        """Reply to commands."""
        self.say("220 odd.example ESMTP")
        while line := self.rfile.readline():
            verb = line[:4].upper().decode("latin-1").strip()
            if verb == "STAR":
                self.say(REPLIES.get("STARTTLS", "502 5.5.1 no"))
                return
            if line.startswith(b"MAIL From") or verb == "QUIT":
                self.say("421 4.3.2 closing")
                return
            reply = REPLIES.get(verb, "250 2.0.0 ok")
            self.say(reply)
            if verb == "DATA" and reply.startswith("354"):
                self.take_message()

    def take_message(self) -> None:
        """Read a message, with the fault after its first line."""
        self.rfile.readline()
        if FAULT in EARLY:
            self.wfile.write(EARLY[FAULT])
        while (line := self.rfile.readline()) and line != b".\r\n":
            pass
        self.say(REPLIES["."])

    def say(self, reply: str) -> None:
        """Send a reply."""
        self.wfile.write(f"{reply}\r\n".encode())


class Server(socketserver.ThreadingTCPServer):
    """All sessions."""

    allow_reuse_address = True
    daemon_threads = True


Server(("0.0.0.0", 25), Odd).serve_forever()  # noqa: S104  a host of the twin
