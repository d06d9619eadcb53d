# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Buffered client connection: line and bulk reads, writes, one shared timeout timer.

It replaces the streams and the timer of aiosmtpd's SMTP class (see protocol.py): each wait on a stream needs a timeout
of its own, and aiosmtpd's timer would close a connection during a delivery.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from mailgate.smtp.connection import BaseConnection

_CLOSED_BY_CLIENT = "connection closed by the client"
# Maximum unread input; beyond it reading from the client is paused.
MAX_BUFFERED = 512 * 1024


# Consumes a chunk of input. Returns None, or once it is complete the rest of the chunk.
Consumer = Callable[[bytes], bytes | None]


class Connection(BaseConnection):
    """One connection. It passes lines to `line_received` without a task, or one task reads from it.

    As a mixin it handles all callbacks of the event loop and passes none to the protocol class behind it.
    """

    #: Longest line that `line_received` gets as a whole.
    line_limit = 1024

    def __init__(self) -> None:
        BaseConnection.__init__(self)
        self._buffer = bytearray()
        # Streaming consumer and its deadline.
        self._consumer: Consumer | None = None
        self._idle_seconds = 0.0
        self._consumer_deadline = 0.0
        # Lines are passed on as they arrive, each within a time.
        self._listening = False
        self._line_seconds = 0.0
        self._eof = False
        self._reading_paused = False
        #: The transport of TCP if TLS is active, which `transport` is then.
        self._below_tls: asyncio.Transport | None = None

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Pass input to the consumer or as lines, or buffer it."""
        if self._consumer:
            self._consume(data)
            return
        if self._listening and not self._buffer and data.find(b"\n") == len(data) - 1:
            # Nearly always: one whole line.
            self._pass_line(data)
            return
        self._buffer += data
        if self._listening:
            self._pass_lines()
        if len(self._buffer) > MAX_BUFFERED and self.transport and not self._reading_paused:
            self.transport.pause_reading()
            self._reading_paused = True
        self._wake(self._read_waiter)

    def eof_received(self) -> bool | None:
        """Keep the connection open: the client may close its side and wait for the replies."""
        self._eof = True
        if self._listening:
            self._stop_listening(EOFError(_CLOSED_BY_CLIENT))
        else:
            self._wake(self._read_waiter)
        return not self.encrypted

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the waiting task."""
        self._eof, self._listening = True, False
        BaseConnection.connection_lost(self, exc)
        self._below_tls = None

    # Reading

    @property
    def unread(self) -> bool:
        """Whether there is unread input."""
        return bool(self._buffer)

    def listen(self, seconds: float) -> None:
        """Pass each line to `line_received` as it arrives, until it returns False; then call `listening_ended`."""
        self._listening, self._line_seconds = True, seconds
        self._set_timeout(seconds)
        if self._buffer:
            self._pass_lines()
        if self._eof and self._listening:
            self._stop_listening(EOFError(_CLOSED_BY_CLIENT))

    def line_received(self, line: bytes) -> bool:
        """Handle a line with its LF; return whether the next one may be handled at once."""
        raise NotImplementedError

    def line_overrun(self) -> None:
        """Handle unread input that is longer than `line_limit` and has no LF."""
        raise NotImplementedError

    def listening_ended(self, error: Exception | None) -> None:
        """Go on after the last line that was to be handled.

        Args:
            error: What handling a line has raised. EOFError: the client has closed the connection. TimeoutError: a line
                was not complete in time.
        """
        raise NotImplementedError

    def _pass_lines(self) -> None:
        """Pass complete lines on as long as they are wanted."""
        buffer = self._buffer
        while self._listening and (end := buffer.find(b"\n")) >= 0:
            self._pass_line(self._take(end + 1))
        if self._listening and len(buffer) > self.line_limit:
            try:
                self.line_overrun()
            except Exception as error:
                self._stop_listening(error)

    def _pass_line(self, line: bytes) -> None:
        try:
            proceeds = self.line_received(line)
        except Exception as error:
            self._stop_listening(error)
            return
        if proceeds:
            # The time for the next line.
            self._deadline = self.loop.time() + self._line_seconds
        else:
            self._stop_listening(None)

    def _stop_listening(self, error: Exception | None) -> None:
        self._listening = False
        self.listening_ended(error)

    def _expire(self) -> None:
        if self._listening:
            self._stop_listening(TimeoutError())
        else:
            super()._expire()

    async def speaks_within(self, seconds: float) -> bool:
        """Wait for input; return whether there was any within `seconds`. Raise EOFError."""
        self._set_timeout(seconds)
        try:
            while not self._buffer:
                await self._more()
        except TimeoutError:
            return False
        return True

    async def stream(self, consumer: Consumer, *, idle: float, total: float) -> None:
        """Pass input to `consumer` as it arrives, without waking the reader task for every chunk, until it is complete.

        Raises:
            EOFError: The client has closed the connection.
            TimeoutError: There was no input for `idle` seconds, or the whole took more than `total` seconds.
        """
        self._idle_seconds, self._consumer_deadline = idle, self.loop.time() + total
        self._set_timeout(min(idle, total))
        self._consumer = consumer
        try:
            if self._buffer:
                self._consume(self._take(len(self._buffer)))
            while self._consumer is not None:
                await self._more()
        finally:
            self._consumer = None

    def _consume(self, data: bytes) -> None:
        rest = self._consumer(data) if self._consumer else data
        if rest is None:
            self._deadline = min(self._consumer_deadline, self.loop.time() + self._idle_seconds)
            return
        self._consumer = None
        self._buffer += rest
        self._wake(self._read_waiter)

    def discard_unread(self) -> int:
        """Discard unread input; return its size in bytes."""
        return len(self._take(len(self._buffer)))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        if self._reading_paused and len(self._buffer) < MAX_BUFFERED // 2 and self.transport:
            self._reading_paused = False
            self.transport.resume_reading()
        return taken

    def _more(self) -> asyncio.Future[None]:
        """Return what is done when there is more input, as `_input`; raise EOFError, too."""
        if self._eof:
            raise EOFError(_CLOSED_BY_CLIENT)
        return self._input()

    # asyncio.StreamReader, as used to read the PROXY header

    async def read(self, n: int = MAX_BUFFERED) -> bytes:
        """Return at least one and at most `n` bytes; raise EOFError."""
        while not self._buffer:
            await self._more()
        return self._take(min(n, len(self._buffer)))

    async def readexactly(self, size: int) -> bytes:
        """Return `size` bytes; raise EOFError."""
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Return the bytes up to and including the separator; raise EOFError."""
        while (end := self._buffer.find(separator)) < 0:
            if len(self._buffer) > MAX_BUFFERED:
                raise EOFError("line too long")
            await self._more()
        return self._take(end + len(separator))

    # Writing

    def write(self, data: bytes) -> None:
        """Send data; raise ConnectionError."""
        if self.transport is None:
            raise ConnectionResetError(_CLOSED_BY_CLIENT)
        self.transport.write(data)

    async def drain_writes(self, seconds: float) -> None:
        """Wait until the transport accepts more data; raise TimeoutError or ConnectionError."""
        async with asyncio.timeout(seconds):
            await self._wait_for_drain()
        if self.transport is None:
            raise ConnectionResetError(_CLOSED_BY_CLIENT)

    # TLS

    @property
    def encrypted(self) -> bool:
        """Whether TLS is active."""
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is not None

    @property
    def tcp_transport(self) -> asyncio.Transport | None:
        """The transport of TCP, also if TLS is active."""
        return self._below_tls or self.transport

    async def start_tls(self, context: ssl.SSLContext, go_ahead: bytes, seconds: float) -> None:
        """Send `go_ahead` and start TLS; raise OSError. Plain text that the client sent before is discarded."""
        transport: Any = self.transport
        if transport is None:
            raise ConnectionResetError(_CLOSED_BY_CLIENT)
        transport.pause_reading()
        self.discard_unread()
        transport.write(go_ahead)
        encrypted = await self.loop.start_tls(transport, self, context, server_side=True, ssl_handshake_timeout=seconds)
        # uvloop ends the handshake without an error if the connection was aborted meanwhile.
        if encrypted is None or transport.is_closing():
            raise ConnectionResetError("connection closed")
        self._reading_paused = False
        self.transport, self._below_tls = encrypted, transport
