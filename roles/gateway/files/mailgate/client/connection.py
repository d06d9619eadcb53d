# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client side of an SMTP connection: writes data and reads replies, each with a timeout."""

from __future__ import annotations

import asyncio
import re
import ssl
from functools import lru_cache

from mailgate.smtp import tcp
from mailgate.smtp.connection import BaseConnection
from mailgate.smtp.reply import Reply

MAX_LINES = 100
MAX_REPLY_BYTES = 64 * 1024
# A longer line is truncated.
MAX_LINE_CHARACTERS = 500

# Maximum size of a line to cache.
_CACHED_SIZE = 200

_LINE = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?")


class ClientConnectionError(Exception):
    """The connection is unusable: closed, timed out (`timed_out`), or the server does not speak SMTP (`broken`)."""

    def __init__(self, text: str, *, timed_out: bool = False, broken: bool = False) -> None:
        super().__init__(text)
        self.timed_out = timed_out
        self.broken = broken


class ClientConnection(BaseConnection):
    """One connection."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()
        self._handle = -1
        self._close_reason = ""
        # The last input was sent before the server had received all of our output.
        self._early = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, and its socket's descriptor."""
        super().connection_made(transport)
        self._handle = tcp.handle_of(transport)

    def data_received(self, data: bytes) -> None:
        """Buffer input and wake the waiting task."""
        self._buffer += data
        # All that a server sends after it has received our last byte acknowledges that byte.
        self._early = self.transport is not None and (
            self.transport.get_write_buffer_size() > 0 or tcp.outstanding(self._handle) > 0
        )
        if len(self._buffer) > MAX_REPLY_BYTES:
            self._close_reason = "reply too long"
            self.abort()
        self._wake(self._read_waiter)

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the reason and wake the waiting task."""
        self._close_reason = self._close_reason or str(exc or "connection closed by the server")
        super().connection_lost(exc)

    # Used by the session

    @property
    def quiet(self) -> bool:
        """Whether the connection is open and no input is waiting to be read."""
        return not self._close_reason and not self._buffer

    def check_answered(self) -> None:
        """Raise ClientConnectionError if the last reply preceded our last output, or if further input follows it."""
        # A server may announce that it closes the connection (421) at any time.
        if self._buffer and not self._buffer.startswith(b"421"):
            raise ClientConnectionError(f"unexpected reply {self._first_line()!r}", broken=True)
        if self._early:
            raise ClientConnectionError("reply sent before the end of the command or message", broken=True)

    def check_silent(self) -> None:
        """Raise ClientConnectionError if the server has sent something that no command asked for."""
        if self._buffer:
            raise ClientConnectionError(f"unexpected reply {self._first_line()!r}", broken=True)

    def _first_line(self) -> str:
        return self._buffer.partition(b"\n")[0][:100].decode("ascii", "replace").rstrip("\r")

    def write(self, data: bytes | memoryview) -> None:
        """Send data; raise ClientConnectionError."""
        if self._close_reason or self.transport is None:
            raise ClientConnectionError(self._close_reason or "not connected")
        self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the transport accepts more data; raise ClientConnectionError."""
        await self._wait_for_drain()
        if self._close_reason:
            raise ClientConnectionError(self._close_reason)

    async def read_reply(self, seconds: float) -> Reply:
        """Return the next reply; raise ClientConnectionError if it is not complete within `seconds`."""
        self._set_timeout(seconds)
        while (reply := self._parse_reply()) is None:
            if self._close_reason:
                raise ClientConnectionError(self._close_reason)
            try:
                await self._input()
            except TimeoutError:
                raise ClientConnectionError(f"timed out: no reply within {seconds:.0f} s", timed_out=True) from None
        return reply

    def _parse_reply(self) -> Reply | None:
        """Remove one complete reply from the buffer and return it, or return None."""
        lines: list[str] = []
        start, first = 0, ""
        while (end := self._buffer.find(b"\n", start)) >= 0:
            code, more, line = (_cached_line if end - start <= _CACHED_SIZE else _parse_line)(
                bytes(self._buffer[start:end])
            )
            if start and code != first:
                raise ClientConnectionError(f"reply with different codes {first} and {code}", broken=True)
            first = code
            lines.append(line)
            start = end + 1
            if not more:
                del self._buffer[:start]
                return Reply(int(code), tuple(lines))
            if len(lines) >= MAX_LINES:
                raise ClientConnectionError("reply too long")
        return None

    async def start_tls(self, context: ssl.SSLContext, seconds: float) -> None:
        """Start TLS; raise ClientConnectionError, also if plain text follows the reply to STARTTLS."""
        if not self.quiet or self.transport is None:
            raise ClientConnectionError(self._close_reason or "plain text received before the TLS handshake")
        try:
            transport = await self.loop.start_tls(
                self.transport, self, context, server_hostname="", ssl_handshake_timeout=seconds
            )
        except (OSError, ssl.SSLError, ConnectionError) as error:
            raise ClientConnectionError(f"TLS handshake failed: {error}") from error
        if transport is None:
            raise ClientConnectionError("TLS handshake failed: connection closed")
        self.transport = transport

    def abort(self) -> None:
        """Close immediately."""
        self._close_reason = self._close_reason or "closed"
        if self.transport:
            self.transport.abort()


def _parse_line(data: bytes) -> tuple[str, bool, str]:
    """Return the code in a line of a reply, whether further lines follow, and its text; raise ClientConnectionError."""
    text = data.decode("ascii", "replace").rstrip("\r")
    match = _LINE.fullmatch(text)
    if not match:
        raise ClientConnectionError(f"invalid reply {text[:100]!r}", broken=True)
    code, separator, line = match.groups(default="")
    if not (line.isprintable() and line.isascii()):
        line = "".join(c if c.isprintable() and c.isascii() else "?" for c in line)
    return code, separator == "-", line[:MAX_LINE_CHARACTERS]


# A server has a few replies for nearly all commands.
_cached_line = lru_cache(maxsize=256)(_parse_line)
