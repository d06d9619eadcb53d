# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut-through delivery: sessions with next hops are held from RCPT to the reply to the message.

The reply to the client, by the replies of the next hops to the message:

* all accepted it: 250.
* all refused it: the refusal, verbatim (a temporary one if there is any).
* some accepted it, or the reply of some is unknown: the queue gets it for the others; 250 once it has accepted it.

If recipients receive different variants of the message, each next hop gets one transaction per variant.

A 250 is never sent before each recipient's next hop or the queue has replied 250.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

from mailgate.client.session import NO_UTF8, NextHopError
from mailgate.delivery.context import DELIVERED, NOT_DELIVERED, Delivery
from mailgate.delivery.destination import Attempt, Destination
from mailgate.delivery.queue import QueueDestination
from mailgate.delivery.verify import UNVERIFIED, cached_refusal
from mailgate.routes import NextHop, Route
from mailgate.smtp import dsn
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import Envelope, MessageVariant
from mailgate.smtp.reply import Reply

ACCEPTED = Reply.of(250, "2.1.5 Recipient accepted")
SEPARATE_TRANSACTION = Reply.of(452, "4.5.3 Recipient requires a separate transaction; retry this recipient")


class Transaction:
    """One mail transaction, from MAIL to the reply to the message; only its own methods change its state."""

    def __init__(self, delivery: Delivery, envelope: Envelope) -> None:
        self._delivery = delivery
        self._envelope = envelope
        self._destinations: dict[tuple[tuple[NextHop, ...], bool], Destination] = {}
        self._queue = QueueDestination(delivery)
        self._recipients: list[Mailbox] = []
        self._delivered: list[Mailbox] = []
        self._queued = 0

    @property
    def id(self) -> str | None:
        """Id of the transaction in events."""
        return self._envelope.id

    @property
    def envelope(self) -> Envelope:
        """Sender and ESMTP parameters."""
        return self._envelope

    @property
    def sender(self) -> Mailbox:
        """The reverse path."""
        return self._envelope.sender

    @property
    def recipients(self) -> tuple[Mailbox, ...]:
        """Recipients that were accepted."""
        return tuple(self._recipients)

    @property
    def delivered(self) -> tuple[Mailbox, ...]:
        """Recipients whose next hop or queue has accepted the message, now or in an earlier transaction."""
        return tuple(self._delivered)

    @property
    def queued(self) -> int:
        """Number of recipients that the queue has accepted."""
        return self._queued

    # At RCPT

    async def add(self, recipient: Mailbox, route: Route, notify: str = "") -> Reply:
        """Verify a recipient with its verification server and next hop; return the reply to RCPT.

        Args:
            recipient: The recipient.
            route: Its next hops and verification servers.
            notify: NOTIFY and ORCPT as received (RFC 3461).
        """
        cached = self._delivery.verification_cache.find(recipient)
        if cached is None and (shared := self._delivery.shared_results):
            cached = await shared.find(recipient, route.verification_servers)
        if cached and not cached.known:
            return cached_refusal(recipient)
        self._set_notify(recipient, notify)
        encrypt = self._delivery.config.tls.required(recipient.domain)
        if self._requires_separation(encrypt, route.next_hops):
            return SEPARATE_TRANSACTION
        return await self._add(recipient, route, notify, encrypt=encrypt, known=cached is not None)

    async def _add(self, recipient: Mailbox, route: Route, notify: str, *, encrypt: bool, known: bool) -> Reply:
        cache, verifier = self._delivery.verification_cache, self._delivery.verifier
        if route.verify_at and not (known and cache.is_fresh(recipient)):
            known, refusal = await verifier.verify(
                self._envelope, recipient, route.verify_at, encrypt=encrypt, known=known
            )
            if refusal:
                return refusal
        key = (route.next_hops, encrypt)
        destination = self._destinations.get(key)
        if destination is None:
            destination = self._destinations[key] = Destination(self._delivery, route.next_hops, encrypt=encrypt)
        try:
            if notify and dsn.wants_success(notify) and self.sender.local and not encrypt:
                replies, extensions = await verifier.probe(self._envelope, recipient, route.next_hops)
                if replies[-1].ok and "DSN" not in extensions:
                    # The queue sends the "relayed" notification (RFC 3461 section 5.2.2).
                    self._cache(recipient, route, replies[-1])
                    return await self.add_to_queue(recipient, verified="server")
            reply = await self._add_to_destination(destination, recipient, route, known=known)
        except NextHopError as error:
            self._delivery.events.emit(
                "next_hop_down", id=self.id, next_hops=route.next_hops, recipient=recipient, reason=error
            )
            self._fail_over(destination)
            return await self.add_to_queue(recipient, verified="cache") if known and not encrypt else UNVERIFIED
        if not reply.ok:
            return reply
        self._accept(recipient, "server", route.next_hops)
        if cache.catches_all(recipient) is None:
            verifier.detect_catch_all(recipient.domain, route.verification_servers)
        return ACCEPTED

    async def _add_to_destination(
        self, destination: Destination, recipient: Mailbox, route: Route, *, known: bool
    ) -> Reply:
        # If one server accepts the message and another refuses it, the queue must take the rest. So a second server
        # requires the queue.
        second = not destination.recipients and any(other.recipients for other in self._destinations.values())
        if second and not destination.refusal and not await self._queue.connect(self.id):
            return SEPARATE_TRANSACTION
        reply = await destination.add(self._envelope, recipient, known=known)
        if not destination.refusal:
            self._cache(recipient, route, reply)
        return reply

    async def add_to_queue(self, recipient: Mailbox, notify: str = "", *, verified: str = "queue") -> Reply:
        """Accept a recipient for the queue if the queue is reachable; return the reply to RCPT.

        Args:
            recipient: The recipient.
            notify: NOTIFY and ORCPT as received (RFC 3461).
            verified: What verified the recipient, for the event.
        """
        if not await self._queue.connect(self.id):
            return UNVERIFIED
        if not self._queue.supports_utf8 and not (recipient.ascii and (self.sender.ascii or not self._envelope.utf8)):
            return NO_UTF8
        self._set_notify(recipient, notify)
        self._queue.add([recipient])
        self._accept(recipient, verified)
        return ACCEPTED

    def _accept(self, recipient: Mailbox, verified: str, next_hops: tuple[NextHop, ...] | None = None) -> None:
        self._recipients.append(recipient)
        self._delivery.events.emit("recipient", id=self.id, recipient=recipient, verified=verified, next_hops=next_hops)

    def _set_notify(self, recipient: Mailbox, notify: str) -> None:
        if notify:
            self._envelope = replace(self._envelope, notify={**self._envelope.notify, recipient: notify})

    def _requires_separation(self, encrypt: bool, hops: tuple[NextHop, ...]) -> bool:
        """Return whether a recipient that requires TLS would share the transaction with others.

        If others had the message and it had not, only the queue could take it, and the queue does not enforce TLS.
        """
        others = [other for key, other in self._destinations.items() if other.recipients and key != (hops, encrypt)]
        if encrypt:
            return bool(others or self._queue.recipients)
        return any(other.encrypt for other in others)

    def _cache(self, recipient: Mailbox, route: Route, reply: Reply) -> None:
        """Cache a next hop's reply to RCPT, unless there are verification servers, whose replies are authoritative."""
        if not route.verify_at:
            self._delivery.verifier.remember(self._envelope, recipient, reply, route.next_hops)

    # The message

    def give_way(self) -> None:
        """Release the sessions with next hops if other transactions wait for one; `deliver` begins again.

        For a message whose scan takes long: a few dozen of them would hold all sessions with a server.
        """
        if self._delivery.pool.contended:
            for destination in self._destinations.values():
                destination.give_way()

    async def exclude(self, recipients: Collection[Mailbox], *, delivered: bool = False) -> None:
        """Do not deliver to `recipients`; `delivered` if they have received this message before."""
        excluded = set(recipients)
        if delivered:
            self._delivered += recipients
        self._queue.exclude(excluded)
        for destination in self._destinations.values():
            if not await destination.exclude(self._envelope, excluded):
                self._fail_over(destination)

    async def deliver(self, variants: Sequence[MessageVariant], deadline: float, *, needs_utf8: bool = False) -> Reply:
        """Deliver the message until loop time `deadline`; return the reply by the table above.

        Args:
            variants: Variants of the message; recipients without one have been excluded.
            deadline: Loop time.
            needs_utf8: The header section requires SMTPUTF8.
        """
        destinations = [destination for destination in self._destinations.values() if destination.recipients]
        delivered_before = len(self._delivered)
        for_queue = self._queue.recipients
        if for_queue and not (reply := await self._deliver_to_queue(variants, for_queue, deadline, needs_utf8)).ok:
            # No next hop has it yet, so the client can retry. Only a recipient's own server may refuse permanently.
            if len(self._delivered) > delivered_before:
                self._delivery.events.emit("delivered_in_part", id=self.id, failed=for_queue, reason=reply)
            return reply if reply.temporary else NOT_DELIVERED
        attempts = await self._deliver_to_next_hops(destinations, variants, deadline, needs_utf8)
        failed = self._record(attempts)
        if not failed:
            return DELIVERED
        refusals = [attempt.reply for attempt in attempts if attempt.reply and not attempt.accepted]
        if len(refusals) == len(attempts) and not for_queue:
            return next((reply for reply in refusals if reply.temporary), refusals[0])
        if any(destination.encrypt for destination in destinations):
            return NOT_DELIVERED
        reply = await self._deliver_to_queue(variants, failed, deadline, needs_utf8)
        if reply.ok:
            return DELIVERED
        # Some recipients have it and the others would lose it: a duplicate is better than a loss.
        self._delivery.events.emit("delivered_in_part", id=self.id, failed=failed, reason=reply)
        return reply if reply.temporary else NOT_DELIVERED

    async def _deliver_to_next_hops(
        self,
        destinations: Sequence[Destination],
        variants: Sequence[MessageVariant],
        deadline: float,
        needs_utf8: bool,
    ) -> list[Attempt]:
        """Deliver to all destinations at the same time."""
        deliveries = [
            destination.deliver(self._envelope, variants, deadline, needs_utf8=needs_utf8)
            for destination in destinations
        ]
        if len(deliveries) == 1:
            return await deliveries[0]
        # None of them outlives the transaction, even if one raises an exception.
        results = await asyncio.gather(*deliveries, return_exceptions=True)
        attempts = [attempt for result in results if not isinstance(result, BaseException) for attempt in result]
        error = next((result for result in results if isinstance(result, BaseException)), None)
        if error:
            self._record(attempts)
            raise error
        return attempts

    def _record(self, attempts: Sequence[Attempt]) -> list[Mailbox]:
        """Record who has received the message; return the others."""
        failed = [mailbox for attempt in attempts if not attempt.accepted for mailbox in attempt.recipients]
        self._delivered += (m for attempt in attempts for m in attempt.recipients if m not in failed)
        return failed

    async def _deliver_to_queue(
        self, variants: Sequence[MessageVariant], recipients: list[Mailbox], deadline: float, needs_utf8: bool
    ) -> Reply:
        """Deliver all variants to the queue; return DELIVERED, or the reply that refuses one of them."""
        for variant in variants:
            own = variant.of(recipients)
            if not own:
                continue
            reply = await self._queue.deliver(self._envelope, variant, own, deadline, needs_utf8=needs_utf8)
            if not reply.ok:
                return reply
            self._queued += len(own)
            self._delivered += own
            for destination in self._destinations.values():
                self._delivery.flush_trigger.watch(destination.hops, {mailbox.domain for mailbox in own})
        return DELIVERED

    def _fail_over(self, destination: Destination) -> None:
        """Give the recipients of a destination whose session broke to the queue; they have been verified."""
        self._queue.add(destination.fail())

    def close(self) -> None:
        """Release all sessions; a message that was not sent is not delivered."""
        for destination in self._destinations.values():
            destination.close()
        self._queue.close()
