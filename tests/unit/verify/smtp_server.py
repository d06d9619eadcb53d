# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail server on loopback whose behavior a test chooses."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Rcpt = Callable[[str, str], str]


def strict(_sender: str, recipient: str) -> str:
    """Accept postmaster of the domains of univ.example, as a gateway does."""
    inner = recipient.strip("<>")
    if not re.fullmatch(r"[\w.-]+@[\w.-]+", inner) or not inner.endswith("univ.example"):
        return "550 5.7.1 Relaying denied"
    return "250 2.1.5 OK" if inner.startswith("postmaster@") else "550 5.1.1 User unknown"


@dataclass
class SmtpServer:
    """The behavior, and what clients did."""

    rcpt: Rcpt = strict
    greeting: str = "220 gw1.univ.example ESMTP"
    extensions: tuple[str, ...] = ("SIZE 1000",)
    errors: int = 1000  # rejected commands after which it closes the session
    at_once: int = 0  # sessions that it waits for before it greets
    pause: float = 0.0
    silent: str = "\0"  # a command with this text gets no reply
    tls: ssl.SSLContext | None = None
    commands: list[str] = field(default_factory=list)
    open_now: int = 0
    most: int = 0
    sessions: int = 0
    port: int = 0

    @asynccontextmanager
    async def running(self):
        """Listen on loopback."""
        server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _session(self, reader, writer):
        self.sessions += 1
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            writer.close()

    async def _talk(self, reader, writer):
        while self.sessions < self.at_once:  # noqa: ASYNC110 (none of many sessions is the last one)
            await asyncio.sleep(0.005)
        writer.write(f"{self.greeting}\r\n".encode())
        sender, errors = "", 0
        while line := await reader.readline():
            text = line.decode().rstrip("\r\n")
            self.commands.append(text)
            verb = text.split(" ")[0].split(":")[0].upper()
            await asyncio.sleep(self.pause)
            if self.silent in text:
                await asyncio.sleep(30)
            reply = "250 OK"
            if verb == "EHLO":
                lines = ["gw1.univ.example", *self.extensions]
                reply = "\r\n".join(
                    f"250{'-' if number < len(lines) else ' '}{each}" for number, each in enumerate(lines, 1)
                )
            elif verb == "STARTTLS":
                writer.write(b"220 Go ahead\r\n")
                await writer.start_tls(self.tls)
                continue
            elif verb == "MAIL":
                sender = text[10:]
                if match := re.search(r"SIZE=(\d+)$", text):
                    reply = "552 5.3.4 Message too big" if int(match[1]) > 1000 else reply
            elif verb == "RCPT":
                reply = self.rcpt(sender, text[8:].strip())
            elif verb == "QUIT":
                reply = "221 Bye"
            if reply.startswith(("4", "5")):
                errors += 1
            if errors > self.errors:
                reply = "421 4.7.0 Too many errors"
            writer.write(f"{reply}\r\n".encode())
            if reply.startswith(("421", "221")):
                return
