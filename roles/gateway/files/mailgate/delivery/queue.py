# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a transaction that goes to the queue, for recipients whose next hops are unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import replace

from mailgate.client.session import NO_UTF8, NextHopError
from mailgate.delivery.context import NOT_DELIVERED, Delivery, SessionHolder
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import Envelope, MessageVariant
from mailgate.smtp.queue_ids import queue_id_of
from mailgate.smtp.reply import Reply

# The next hop cannot have the message unconverted, and the queue can be configured to convert it.
_NO_CONVERSION = Reply.of(451, "4.6.3 8BITMIME required but not offered by the queue")


class QueueDestination(SessionHolder):
    """Recipients accepted for the queue, and the session held for them."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(delivery)
        self.recipients: list[Mailbox] = []

    def add(self, recipients: Iterable[Mailbox]) -> None:
        """Add recipients."""
        self.recipients += recipients

    def exclude(self, excluded: Collection[Mailbox]) -> None:
        """Remove recipients."""
        self.recipients = [mailbox for mailbox in self.recipients if mailbox not in excluded]

    async def connect(self, message_id: str | None, *, fresh: bool = False) -> bool:
        """Open a session for the transaction `message_id` if there is none; return whether there is one."""
        if self._session is None:
            try:
                self._session = await self._delivery.pool.acquire(self._delivery.queue_hop, fresh=fresh)
            except NextHopError as error:
                self._delivery.events.emit("queue_down", id=message_id, reason=error)
                return False
        return True

    @property
    def supports_utf8(self) -> bool:
        """Whether the queue offers SMTPUTF8."""
        return self._session is not None and "SMTPUTF8" in self._session.extensions

    async def deliver(
        self,
        envelope: Envelope,
        variant: MessageVariant,
        recipients: list[Mailbox],
        deadline: float,
        *,
        needs_utf8: bool,
    ) -> Reply:
        """Send one variant to the queue for `recipients`, until loop time `deadline`; return its reply."""
        timeout = self._delivery.config.timeouts.queue
        started = asyncio.get_running_loop().time()
        remaining = deadline - started
        envelope = replace(envelope, size=variant.size)
        try:
            async with asyncio.timeout(max(1, min(remaining, timeout))):
                try:
                    reply = await self._send(envelope, variant, recipients, needs_utf8=needs_utf8)
                except NextHopError as error:
                    if error.doubtful:
                        raise
                    # The session was held for a while; the queue may have been restarted meanwhile.
                    self._discard()
                    reply = await self._send(envelope, variant, recipients, needs_utf8=needs_utf8, fresh=True)
        except (NextHopError, TimeoutError) as error:
            self._delivery.events.emit("queue_down", id=envelope.id, reason=str(error) or "timed out")
            self._discard()
            return NOT_DELIVERED
        if reply.ok:
            self._delivery.events.emit(
                "queued",
                id=envelope.id,
                sender=envelope.sender,
                recipients=recipients,
                reply=reply,
                queue_id=queue_id_of(reply),
                seconds=round(asyncio.get_running_loop().time() - started, 3),
            )
        else:
            self._delivery.events.emit("queue_refused", id=envelope.id, recipients=recipients, reply=reply)
        return reply

    async def _send(
        self,
        envelope: Envelope,
        variant: MessageVariant,
        recipients: list[Mailbox],
        *,
        needs_utf8: bool,
        fresh: bool = False,
    ) -> Reply:
        if not await self.connect(envelope.id, fresh=fresh) or self._session is None:
            return NOT_DELIVERED
        if needs_utf8 and not self.supports_utf8:
            return NO_UTF8
        if not self._session.accepts(envelope, variant):
            return _NO_CONVERSION
        replies = await self._session.begin(envelope, recipients)
        refusal = next((reply for reply in replies if not reply.ok), None)
        return refusal or await self._session.data(variant.pieces, self._delivery.config.timeouts.queue)
