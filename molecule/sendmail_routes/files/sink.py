# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A partner's mail server: takes every message on port 25 and appends it, with its envelope, to a file."""

from __future__ import annotations

import socketserver
import sys
from pathlib import Path


class Session(socketserver.StreamRequestHandler):
    """An SMTP session."""

    def handle(self) -> None:
        """Talk SMTP until QUIT."""
        self.reply("220 partner.example ESMTP")
        lines: list[bytes] = []
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb in (b"EHLO", b"HELO"):
                self.reply("250-partner.example\r\n250 8BITMIME")
            elif verb == b"DATA":
                self.reply("354 Go ahead")
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line)
                with Path(sys.argv[1]).open("ab") as stream:
                    stream.writelines([*lines, b"--\r\n"])
                self.reply("250 2.0.0 OK")
            elif verb == b"QUIT":
                self.reply("221 2.0.0 Bye")
                return
            else:
                if verb in (b"MAIL", b"RCPT"):
                    lines.append(line)
                self.reply("250 2.0.0 OK")

    def reply(self, text: str) -> None:
        """Send a reply."""
        self.wfile.write(f"{text}\r\n".encode())


class Server(socketserver.ThreadingTCPServer):
    """The server."""

    allow_reuse_address = True
    daemon_threads = True


Server(("0.0.0.0", 25), Session).serve_forever()  # noqa: S104
