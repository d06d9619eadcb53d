# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Positive replies to messages of one connection, until it is known whether the client has received them.

A reply is confirmed by the next command, unless that may have been sent before the reply. If the connection ends first,
the reply is lost only if that is certain. It was never sent, or TCP has no acknowledgment of it although the client had
closed its side before, or although there was time for one: TCP may delay it by 0.5 s (RFC 9293 section 3.8.6.3), and a
client may read the reply and reset the connection within that time.
"""

from __future__ import annotations

import asyncio
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
        closed: The client had closed its side before.
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
        """Return whether the client certainly has not received the reply, by what TCP has acknowledged at the end."""
        if self.acknowledged(acknowledgment):
            return False
        return self.sent_at is None or self.closed or now - self.sent_at >= DELAY_SECONDS


class Receipts:
    """Replies that no command has confirmed; calls `received` or `lost` with the keys of each."""

    def __init__(self, received: Callable[[Keys], object], lost: Callable[[Keys], object]) -> None:
        self._received = received
        self._lost = lost
        #: Replies that are not confirmed.
        self.open: list[_Receipt] = []
        self._confirmable = False

    def expect(self, keys: Keys, *, pipelined: bool) -> None:
        """Add a reply that is sent next; `pipelined` if a command behind the message has arrived already."""
        self.open.append(_Receipt(keys))
        self._confirmable = not pipelined

    def sent(self, transport: asyncio.WriteTransport | None, *, closed: bool) -> None:
        """Note that the last reply was written to `transport`; `closed` if the client had closed its side before."""
        # A transport whose write failed is closing.
        if self.open and transport is not None and not transport.is_closing():
            receipt = self.open[-1]
            receipt.sent_at, receipt.closed = asyncio.get_running_loop().time(), closed
            receipt.end = tcp.sent_position(transport)

    def command(self, *, pipelined: bool) -> None:
        """Note that a command has arrived; `pipelined` if there is further input behind it."""
        if not self.open:
            return
        if self._confirmable:
            self._close(self.open, ())
        self._confirmable = not pipelined

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
            acknowledgment = tcp.acknowledgment(transport)
            done = acknowledgment is None or acknowledgment.closed or loop.time() >= deadline
            if done or all(receipt.acknowledged(acknowledgment) for receipt in self.open):
                self.settle(acknowledgment)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.5)

    def _close(self, received: Iterable[_Receipt], lost: Iterable[_Receipt]) -> None:
        self.open = []
        for receipt in received:
            self._received(receipt.keys)
        for receipt in lost:
            self._lost(receipt.keys)
