# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Positive replies to messages of one connection, until it is known whether the client has received them.

A reply is confirmed by the next command, unless that may have been sent before the reply. If the connection ends first,
the reply is lost only if that is certain. It was never sent, or TCP has no acknowledgment of it although the client has
closed its side, which acknowledges what it had received, or although there was time for one: TCP may delay it by 0.5 s
(RFC 9293 section 3.8.6.3), and a client may read the reply and reset the connection within that time.

What the event loop reports does not suffice for that: uvloop before 0.23 sends at the end of the loop's iteration,
and learns of a connection that has ended before only then.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailgate.smtp import tcp
from mailgate.smtp.tcp import Acknowledgment

DELAY_SECONDS = 1.0

Keys = tuple[bytes, ...]


@dataclass(slots=True)
class _Receipt:
    """A reply.

    Attributes:
        keys: Its keys in the duplicate log.
        sent_at: Loop time when it was sent; None if it was not.
        end: Position of its end in the TCP stream; None if unknown.
        closed: The client closed its side before it had received the reply.
    """

    keys: Keys
    sent_at: float | None = None
    end: int | None = None
    closed: bool = False

    def acknowledged(self, acknowledgment: Acknowledgment | None) -> bool:
        """Return whether TCP has acknowledged the reply, or it is unknown whether it has."""
        if self.sent_at is None or self.end is None or acknowledgment is None:
            return self.sent_at is not None
        return acknowledgment.position >= self.end

    def lost(self, acknowledgment: Acknowledgment | None, now: float) -> bool:
        """Return whether the client certainly has not received the reply, by what TCP knows at the end."""
        if self.acknowledged(acknowledgment):
            return False
        if self.sent_at is None or self.end is None or acknowledgment is None:
            return True
        closed = self.closed or acknowledgment.half_closed
        return closed or acknowledgment.sent < self.end or now - self.sent_at >= DELAY_SECONDS


class Receipts:
    """Replies that no command has confirmed; calls `received` or `lost` with the keys of each."""

    def __init__(self, received: Callable[[Keys], object], lost: Callable[[Keys], object]) -> None:
        self._received = received
        self._lost = lost
        #: Replies that are not confirmed.
        self.open: list[_Receipt] = []
        self._confirmable = False
        # Under TLS, until all replies are acknowledged: the event loops close the socket before they report the end.
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, keys: Keys, *, pipelined: bool) -> None:
        """Add a reply that is sent next; `pipelined` if a command behind the message has arrived already."""
        self.open.append(_Receipt(keys))
        self._confirmable = not pipelined

    def sent(
        self,
        transport: asyncio.WriteTransport | None,
        *,
        closed: bool,
        encrypted: asyncio.WriteTransport | None = None,
    ) -> None:
        """Note that the last reply was written.

        Args:
            transport: The transport of TCP.
            closed: The client had closed its side before.
            encrypted: The transport of TLS if that is active.
        """
        # A transport whose write failed is closing; one of TLS does not learn of it at once.
        if not self.open or transport is None or transport.is_closing() or (encrypted and encrypted.is_closing()):
            return
        receipt = self.open[-1]
        receipt.sent_at, receipt.closed = asyncio.get_running_loop().time(), receipt.closed or closed
        receipt.end = tcp.sent_position(transport)
        if encrypted is not None and receipt.end is not None:
            # What is not encrypted yet follows all that is.
            receipt.end += encrypted.get_write_buffer_size() > 0
            self._socket = self._socket or tcp.copy_of_socket(transport)
            if self._socket and not self._timer:
                self._timer = asyncio.get_running_loop().call_later(DELAY_SECONDS, self._check)

    def client_closed(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that the client has closed its side; with that it has acknowledged all that it had received."""
        if self.open:
            acknowledgment = self._acknowledgment(transport)
            for receipt in self.open:
                receipt.closed = receipt.closed or not receipt.acknowledged(acknowledgment)

    def command(self, *, pipelined: bool) -> None:
        """Note that a command has arrived; `pipelined` if there is further input behind it."""
        if not self.open:
            return
        if self._confirmable:
            self._close(self.open, ())
        self._confirmable = not pipelined

    def ended(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that the connection has ended, by what TCP knows now."""
        if self.open:
            self.settle(self._acknowledgment(transport))

    def settle(self, acknowledgment: Acknowledgment | None) -> None:
        """Note that the connection has ended, at which time the client had acknowledged so much; None if unknown."""
        if self.open:
            now = asyncio.get_running_loop().time()
            lost = [receipt for receipt in self.open if receipt.lost(acknowledgment, now)]
            self._close([receipt for receipt in self.open if receipt not in lost], lost)

    async def wait(self, transport: asyncio.BaseTransport | None, seconds: float) -> None:
        """Wait until TCP has acknowledged all replies, has closed the connection, or for `seconds`."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + seconds, 0.01
        while self.open:
            acknowledgment = self._acknowledgment(transport)
            done = acknowledgment is None or acknowledgment.closed or loop.time() >= deadline
            if done or all(receipt.acknowledged(acknowledgment) for receipt in self.open):
                self.settle(acknowledgment)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.5)

    def _check(self) -> None:
        """Close the copy of the socket of an idle client once it has received the replies: files are limited."""
        acknowledgment = tcp.socket_acknowledgment(self._socket)
        if all(receipt.acknowledged(acknowledgment) for receipt in self.open):
            self.settle(acknowledgment)
        else:
            self._timer = asyncio.get_running_loop().call_later(DELAY_SECONDS, self._check)

    def _acknowledgment(self, transport: asyncio.BaseTransport | None) -> Acknowledgment | None:
        return tcp.socket_acknowledgment(self._socket) if self._socket else tcp.acknowledgment(transport)

    def _close(self, received: Iterable[_Receipt], lost: Iterable[_Receipt]) -> None:
        self.open = []
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._socket:
            self._socket.close()
            self._socket = None
        for receipt in received:
            self._received(receipt.keys)
        for receipt in lost:
            self._lost(receipt.keys)
