# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's end of an SMTP connection: octets out, replies in, each with a deadline."""

from __future__ import annotations

import re
import ssl

from mailgate.smtp.connection import BaseConnection
from mailgate.smtp.reply import Reply

MAX_LINES = 100
MAX_REPLY = 64 * 1024

_LINE = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?")


class ClientConnectionError(Exception):
    """The connection is of no more use: closed, silent for too long (`late`), or not speaking SMTP."""

    def __init__(self, text: str, *, late: bool = False) -> None:
        super().__init__(text)
        self.late = late


class ClientConnection(BaseConnection):
    """One connection."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()
        self._closed = ""

    # Of asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Keep what has come, and wake who waits for it."""
        self._buffer += data
        if len(self._buffer) > MAX_REPLY:
            self._closed = "endless answer"
            self.abort()
        self._wake(self._waiter)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everybody."""
        self._closed = self._closed or str(exc or "connection closed by the server")
        super().connection_lost(exc)

    # For the session

    @property
    def quiet(self) -> bool:
        """Whether the connection is open and the server has said nothing that nobody asked for."""
        return not self._closed and not self._buffer

    def write(self, data: bytes | memoryview) -> None:
        """Send; raises ClientConnectionError."""
        if self._closed or self.transport is None:
            raise ClientConnectionError(self._closed or "not connected")
        self.transport.write(data)

    async def drained(self) -> None:
        """Wait until the server has taken enough to go on; raises ClientConnectionError."""
        await self._space()
        if self._closed:
            raise ClientConnectionError(self._closed)

    async def reply(self, seconds: float) -> Reply:
        """The next reply, all of it within `seconds`; raises ClientConnectionError."""
        self._watch(seconds)
        while (reply := self._parse()) is None:
            if self._closed:
                raise ClientConnectionError(self._closed)
            try:
                await self._input()
            except TimeoutError:
                raise ClientConnectionError(f"no answer within {seconds:.0f} s", late=True) from None
        return reply

    def _parse(self) -> Reply | None:
        """Take one whole reply out of the buffer, if it is there."""
        lines: list[str] = []
        start = 0
        while (end := self._buffer.find(b"\n", start)) >= 0:
            text = self._buffer[start:end].decode("ascii", "replace").rstrip("\r")
            match = _LINE.fullmatch(text)
            if not match:
                raise ClientConnectionError(f"answered {text[:100]!r}")
            code, more, rest = match.groups()
            rest = rest or ""
            if not (rest.isprintable() and rest.isascii()):
                rest = "".join(c if c.isprintable() and c.isascii() else "?" for c in rest)
            lines.append(rest[:500])
            start = end + 1
            if more != "-":
                del self._buffer[:start]
                return Reply(int(code), tuple(lines))
            if len(lines) >= MAX_LINES:
                raise ClientConnectionError("endless answer")
        return None

    async def start_tls(self, context: ssl.SSLContext, seconds: float) -> None:
        """Start TLS; raise ClientConnectionError, also when plain text follows the reply to STARTTLS."""
        if not self.quiet or self.transport is None:
            raise ClientConnectionError(self._closed or "spoke in the clear after its answer to STARTTLS")
        try:
            transport = await self.loop.start_tls(
                self.transport, self, context, server_hostname="", ssl_handshake_timeout=seconds
            )
        except (OSError, ssl.SSLError, ConnectionError) as error:
            raise ClientConnectionError(f"no encryption: {error}") from error
        if transport is None:
            raise ClientConnectionError("no encryption: connection closed")
        self.transport = transport

    def abort(self) -> None:
        """Close at once."""
        self._closed = self._closed or "closed"
        if self.transport:
            self.transport.abort()
