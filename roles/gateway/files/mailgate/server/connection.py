# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sender's connection as octets: lines and pieces in, replies out, one timer for all waiting.

It stands before aiosmtpd's SMTP class (see conversation.py) in place of the streams and the timer that are there: each
wait on a stream needs a task's timeout of its own, and the timer would close a connection during a hand-over.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from mailgate.smtp.connection import BaseConnection

# Input that is held while nobody reads it; beyond it the client has to wait.
MAX_HELD = 512 * 1024


# Takes a piece of input; returns what of it is no longer its own, once it has all it wants, and None before.
Taker = Callable[[bytes], bytes | None]


class LineTooLongError(Exception):
    """There are too many octets without a line end; they are still unread."""


class Connection(BaseConnection):
    """One connection; one task reads from it.

    As a mixin it answers all that the event loop calls and passes nothing on to the protocol that is behind it.
    """

    def __init__(self) -> None:
        BaseConnection.__init__(self)
        self._held = bytearray()
        # Who takes input as it comes, and when that must be over.
        self._taker: Taker | None = None
        self._idle_seconds = 0.0
        self._until = 0.0
        self._eof = False
        self._reading_paused = False

    # Of asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Give input to who takes it as it comes, or keep it until it is asked for."""
        if self._taker:
            self._pass_on(data)
            return
        self._held += data
        if len(self._held) > MAX_HELD and self.transport and not self._reading_paused:
            self.transport.pause_reading()
            self._reading_paused = True
        self._wake(self._waiter)

    def eof_received(self) -> bool | None:
        """A client may say all it has to say, close its side, and wait for the answers."""
        self._eof = True
        self._wake(self._waiter)
        return not self.encrypted

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes or goes."""
        self._eof = True
        BaseConnection.connection_lost(self, exc)

    # Reading

    @property
    def unread(self) -> bool:
        """Whether there is input that nobody has asked for yet."""
        return bool(self._held)

    async def line(self, limit: int, seconds: float) -> bytes:
        """The next line, with its LF.

        Raises LineTooLongError for more than `limit` octets without one, EOFError, and TimeoutError after `seconds`.
        """
        self._watch(seconds)
        start = 0
        while True:
            end = self._held.find(b"\n", start)
            if end >= 0:
                return self._take(end + 1)
            start = len(self._held)
            if start > limit:
                raise LineTooLongError
            await self._more()

    async def pour(self, taker: Taker, *, idle: float, total: float) -> None:
        """Give input to `taker` as it comes, without a turn of the event loop for each piece, until it returns a rest.

        Raises EOFError, and TimeoutError after `idle` seconds without input or `total` seconds in all.
        """
        self._idle_seconds, self._until = idle, self.loop.time() + total
        self._watch(min(idle, total))
        self._taker = taker
        try:
            if self._held:
                self._pass_on(self._take(len(self._held)))
            while self._taker is not None:
                await self._more()
        finally:
            self._taker = None

    def _pass_on(self, data: bytes) -> None:
        rest = self._taker(data) if self._taker else data
        if rest is None:
            self._deadline = min(self._until, self.loop.time() + self._idle_seconds)
            return
        self._taker = None
        self._held += rest
        self._wake(self._waiter)

    def drop_unread(self) -> int:
        """Throw away what has not been asked for; how many octets that were."""
        return len(self._take(len(self._held)))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        if self._reading_paused and len(self._held) < MAX_HELD // 2 and self.transport:
            self._reading_paused = False
            self.transport.resume_reading()
        return taken

    async def _more(self) -> None:
        """Wait for input."""
        if self._eof:
            raise EOFError("connection closed by the client")
        await self._input()

    # Of a stream reader, for the PROXY header

    async def read(self, n: int = MAX_HELD) -> bytes:
        """At most `n` octets, at least one; raises EOFError."""
        while not self._held:
            await self._more()
        return self._take(min(n, len(self._held)))

    async def readexactly(self, size: int) -> bytes:
        """`size` octets; raises EOFError."""
        while len(self._held) < size:
            await self._more()
        return self._take(size)

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Octets up to and with the separator; raises EOFError."""
        while (end := self._held.find(separator)) < 0:
            if len(self._held) > MAX_HELD:
                raise EOFError("no end of line")
            await self._more()
        return self._take(end + len(separator))

    # Writing

    def write(self, data: bytes) -> None:
        """Send."""
        if self.transport is None:
            raise ConnectionResetError("connection closed by the client")
        self.transport.write(data)

    async def drained(self, seconds: float) -> None:
        """Wait until the client has taken enough to go on; raises TimeoutError or ConnectionError."""
        async with asyncio.timeout(seconds):
            await self._space()
        if self.transport is None:
            raise ConnectionResetError("connection closed by the client")

    # Encryption

    @property
    def encrypted(self) -> bool:
        """Whether the connection is encrypted."""
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is not None

    async def start_tls(self, context: ssl.SSLContext, go_ahead: bytes, seconds: float) -> None:
        """Say `go_ahead` and encrypt; raises OSError. What the client sent before in the clear is thrown away."""
        transport: Any = self.transport
        if transport is None:
            raise ConnectionResetError("connection closed by the client")
        transport.pause_reading()
        self.drop_unread()
        transport.write(go_ahead)
        encrypted = await self.loop.start_tls(transport, self, context, server_side=True, ssl_handshake_timeout=seconds)
        if encrypted is None:
            raise ConnectionResetError("connection closed by the client")
        self._reading_paused = False
        self.transport = encrypted
