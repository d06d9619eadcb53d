# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut-through delivery: sessions to next hops held from RCPT to the final answer, the queue for what fails.

The table, by what the next hops answered to the message:

* all accepted: 250.
* all refused it: their refusal, verbatim (a temporary one if any is).
* some accepted, or the answer of some is not known: those that failed go to the queue; 250 once it has them.

Where recipients are to get different variants of a message, a server is told of the recipients of one share at a time.

A 250 is never given unless every recipient's next hop or the queue has answered 250 first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailgate.client.pool import Pool
from mailgate.client.session import NO_UTF8, ClientSession, NextHopError
from mailgate.config import Config
from mailgate.delivery.queue_wakeup import QueueFlushTrigger
from mailgate.delivery.verify import TRY_LATER, RecipientVerifier
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.events import ANSWERS_LOST, Events
from mailgate.routes import NextHop, Route
from mailgate.smtp import dsn
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import Envelope, MessageVariant
from mailgate.smtp.reply import Reply

ACCEPTED = Reply.of(250, "2.1.5 Recipient accepted")
DELIVERED = Reply.of(250, "2.0.0 Message accepted")
SEPARATELY = Reply.of(452, "4.5.3 Send to this recipient in a transaction of its own")
NOT_HANDED_OVER = Reply.of(451, "4.3.0 Message could not be handed over; try again later")


class Delivery:
    """What all transactions share: settings, answers about recipients, sessions to servers."""

    def __init__(
        self,
        config: Config,
        recipients: VerificationCache,
        events: Events,
        *,
        encrypt: ssl.SSLContext | None = None,
        share: float = 1.0,
    ) -> None:
        self.config = config
        self.recipients = recipients
        self.events = events
        self.pool = Pool(config, encrypt=encrypt, share=share)
        self.verifier = RecipientVerifier(config, self.pool, recipients, events, share=share)
        self.queue_hop = NextHop(config.queue.host, config.queue.port)
        self.flush_trigger = QueueFlushTrigger(self.pool, self.queue_hop, events)

    def close(self) -> None:
        """End idle sessions; those in use end with their transactions."""
        self.flush_trigger.stop()
        self.pool.close()


@dataclass
class _Destination:
    """Recipients behind the same next hops and the session held for them; `refusal` is the hop's answer to MAIL."""

    hops: tuple[NextHop, ...]
    encrypt: bool
    session: ClientSession | None = None
    refusal: Reply | None = None
    recipients: list[Mailbox] = field(default_factory=list)


@dataclass(frozen=True)
class _Attempt:
    """What a next hop answered to a share of the message, None if it is not known to have it."""

    share: MessageVariant
    recipients: list[Mailbox]
    reply: Reply | None


class Transaction:
    """One mail transaction, from MAIL to the answer to the message.

    `served` are the recipients whose server or queue has taken the message, `acknowledged` the duplicate log's keys
    of what the sender is told with a 250.
    """

    def __init__(self, delivery: Delivery, envelope: Envelope) -> None:
        self._delivery = delivery
        self._config = delivery.config
        self._pool = delivery.pool
        self.envelope = envelope
        self.sender = envelope.sender
        self._groups: dict[tuple[tuple[NextHop, ...], bool], _Destination] = {}
        self._queued: list[Mailbox] = []
        self._queue: ClientSession | None = None
        self.recipients: list[Mailbox] = []
        self.served: list[Mailbox] = []
        self.acknowledged: list[bytes] = []
        self.queued = 0

    async def add(self, recipient: Mailbox, route: Route, notify: str = "") -> Reply:
        """Ask the recipient's server and next hop; the reply is the one to RCPT. `notify`: NOTIFY, ORCPT (RFC 3461)."""
        remembered = self._delivery.recipients.find(recipient)
        if remembered and not remembered.known:
            return remembered.reply
        if notify:
            self.envelope.notify[recipient] = notify
        encrypt = self._config.tls.required(recipient.domain)
        if self._mixes(encrypt, route.next_hops):
            return SEPARATELY
        return await self._add(recipient, route, notify, encrypt=encrypt, known=remembered is not None)

    async def _add(self, recipient: Mailbox, route: Route, notify: str, *, encrypt: bool, known: bool) -> Reply:
        answers = self._delivery.recipients
        verifier = self._delivery.verifier
        if route.verify_at and not (known and answers.is_fresh(recipient)):
            known, refusal = await verifier.ask_home(
                self.envelope, recipient, route.verify_at, encrypt=encrypt, known=known
            )
            if refusal:
                return refusal
        group = self._groups.setdefault((route.next_hops, encrypt), _Destination(route.next_hops, encrypt))
        try:
            if notify and dsn.wants_success(notify) and self.sender.local and not encrypt:
                replies, extensions = await verifier.question(self.envelope, recipient, route.next_hops)
                if replies[-1].ok and "DSN" not in extensions:
                    # The queue sends the notice that the mail was relayed (RFC 3461 section 5.2.2).
                    self._store(recipient, route, replies[-1])
                    return await self.add_to_queue(recipient)
            reply = await self._ask(group, recipient, route)
        except NextHopError as error:
            self._delivery.events.emit("next_hop_down", next_hops=route.next_hops, recipient=recipient, reason=error)
            self._lose(group)
            return await self.add_to_queue(recipient) if known and not encrypt else TRY_LATER
        if reply.ok:
            group.recipients.append(recipient)
            self.recipients.append(recipient)
            if answers.catches_all(recipient) is None:
                verifier.try_catch_all(recipient.domain, route.verification_servers)
            return ACCEPTED
        return reply

    def _mixes(self, encrypt: bool, hops: tuple[NextHop, ...]) -> bool:
        """Whether mail that must be encrypted would have company: if that was served and it was not, only the queue
        could take it, and nothing makes the queue encrypt."""
        others = [group for key, group in self._groups.items() if group.recipients and key != (hops, encrypt)]
        if encrypt:
            return bool(others or self._queued)
        return any(group.encrypt for group in others)

    def _store(self, recipient: Mailbox, route: Route, reply: Reply) -> None:
        """Remember a next hop's answer, unless others know better."""
        if not route.verify_at:
            self._delivery.recipients.store(recipient, reply)

    async def add_to_queue(self, recipient: Mailbox, notify: str = "") -> Reply:
        """Accept a recipient for the queue, if that can be reached."""
        if not await self._reach_queue() or self._queue is None:
            return TRY_LATER
        if "SMTPUTF8" not in self._queue.extensions and not (recipient.ascii and self.sender.ascii):
            return NO_UTF8
        if notify:
            self.envelope.notify[recipient] = notify
        self._queued.append(recipient)
        self.recipients.append(recipient)
        return ACCEPTED

    async def leave_out(self, served: Iterable[Mailbox]) -> None:
        """Do not deliver to `served`: they have this message already."""
        out = set(served)
        self._queued = [mailbox for mailbox in self._queued if mailbox not in out]
        for group in self._groups.values():
            kept = [mailbox for mailbox in group.recipients if mailbox not in out]
            if len(kept) == len(group.recipients):
                continue
            group.recipients = kept
            if kept and group.session:
                # The server was told of all of them, so it is told anew.
                try:
                    async with asyncio.timeout(self._config.timeouts.next_hop_command):
                        replies = await group.session.begin(self.envelope, kept)
                except (NextHopError, TimeoutError):
                    self._lose(group)
                    continue
                if len(replies) <= len(kept) or not all(reply.ok for reply in replies):
                    self._lose(group)

    async def deliver(self, variants: Sequence[MessageVariant], deadline: float) -> Reply:
        """Hand the message over, until the loop's time `deadline`, and answer by the table above.

        VerificationCache that no share is for must have been left out.
        """
        groups = [group for group in self._groups.values() if group.recipients]
        before = len(self.served)
        if self._queued and not (reply := await self._to_queue(variants, self._queued, deadline)).ok:
            # No server has it yet, so the sender can be told; for good only by a recipient's own server.
            if len(self.served) > before:
                self._delivery.events.emit("delivered_in_part", failed=self._queued, reason=reply)
            return reply if reply.temporary else NOT_HANDED_OVER
        if len(groups) == 1:
            jobs = await self._send_variants(groups[0], variants, deadline)
        else:
            sent = await asyncio.gather(*(self._send_variants(group, variants, deadline) for group in groups))
            jobs = [job for found in sent for job in found]
        failed = [mailbox for job in jobs if job.reply is None or not job.reply.ok for mailbox in job.recipients]
        self.served += (mailbox for job in jobs for mailbox in job.recipients if mailbox not in failed)
        if not failed:
            return DELIVERED
        refusals = [job.reply for job in jobs if job.reply is not None and not job.reply.ok]
        if len(refusals) == len(jobs) and not self._queued:
            return next((reply for reply in refusals if reply.temporary), refusals[0])
        if any(group.encrypt for group in groups):
            return NOT_HANDED_OVER
        reply = await self._to_queue(variants, failed, deadline)
        if reply.ok:
            return DELIVERED
        # Some have it and the others would lose it: better twice than never.
        self._delivery.events.emit("delivered_in_part", failed=failed, reason=reply)
        return reply if reply.temporary else NOT_HANDED_OVER

    def close(self) -> None:
        """Let go of all sessions; a message that was not sent stays unsent."""
        for group in self._groups.values():
            if group.session:
                self._pool.release(group.session)
                group.session = None
        if self._queue:
            self._pool.release(self._queue)
            self._queue = None

    async def _ask(self, group: _Destination, recipient: Mailbox, route: Route) -> Reply:
        if group.refusal:
            return group.refusal
        # What one of several servers refuses after another has accepted must go somewhere: no queue, no second server.
        first = not group.recipients
        if first and any(other.recipients for other in self._groups.values()) and not await self._reach_queue():
            return SEPARATELY
        if group.session is None:
            verifier = self._delivery.verifier
            async with verifier.slot(group.hops):
                group.session, (mail, *replies) = await self._pool.begin(
                    self.envelope, [recipient], group.hops, encrypt=group.encrypt
                )
            if not mail.ok:
                group.refusal = mail
                self._drop(group)
                return mail
            reply = replies[0]
        else:
            reply = await group.session.rcpt(self.envelope, recipient)
        self._store(recipient, route, reply)
        return reply

    def _drop(self, group: _Destination, *, lost: bool = False) -> None:
        if group.session:
            if lost:
                self._pool.discard(group.session)
            else:
                self._pool.release(group.session)
            group.session = None

    def _lose(self, group: _Destination) -> None:
        """The group's session is gone; those it had accepted are known, so they are for the queue."""
        self._drop(group, lost=True)
        if not group.encrypt:
            self._queued += group.recipients
            group.recipients = []

    async def _reach_queue(self, *, fresh: bool = False) -> bool:
        if self._queue is None:
            try:
                self._queue = await self._pool.acquire(self._delivery.queue_hop, fresh=fresh)
            except NextHopError as error:
                self._delivery.events.emit("queue_down", reason=error)
                return False
        return True

    async def _send_variants(
        self, group: _Destination, variants: Sequence[MessageVariant], deadline: float
    ) -> list[_Attempt]:
        """What the group's next hop answers to each share that recipients behind it are to get."""
        if len(variants) == 1:
            return [_Attempt(variants[0], group.recipients, await self._send(group, variants[0].pieces, deadline))]
        jobs: list[_Attempt] = []
        for share in variants:
            recipients = share.of(group.recipients)
            if not recipients:
                continue
            # The session is held for all of them; it suits if they are all to get the same.
            suits = group.session is not None and len(recipients) == len(group.recipients)
            reply = None if suits else await self._name(group, recipients, share, deadline)
            if suits or reply is DELIVERED:
                reply = await self._send(group, share.pieces, deadline)
            jobs.append(_Attempt(share, recipients, reply))
        return jobs

    async def _name(
        self, group: _Destination, recipients: list[Mailbox], share: MessageVariant, deadline: float
    ) -> Reply | None:
        """Begin anew for these recipients only; DELIVERED if the next hop takes them, else as `_send`."""
        self.envelope.size = sum(len(piece) for piece in share.pieces)
        left = deadline - asyncio.get_running_loop().time() - self._config.timeouts.queue
        try:
            async with asyncio.timeout(min(left, self._config.timeouts.next_hop_command)):
                if group.session:
                    replies = await group.session.begin(self.envelope, recipients)
                else:
                    group.session, replies = await self._pool.begin(
                        self.envelope, recipients, group.hops, encrypt=group.encrypt
                    )
        except (NextHopError, TimeoutError) as error:
            self._drop(group, lost=True)
            self._delivery.events.emit("next_hop_lost", next_hops=group.hops, reason=str(error) or "too slow")
            return None
        return next((reply for reply in replies if not reply.ok), DELIVERED)

    async def _send(self, group: _Destination, pieces: list[bytes], deadline: float) -> Reply | None:
        """The next hop's answer to the message, or None: it is not known to have it."""
        left = deadline - asyncio.get_running_loop().time() - self._config.timeouts.queue
        try:
            if group.session is None:
                raise NextHopError("session lost")
            if self.envelope.text_utf8 and "SMTPUTF8" not in group.session.extensions:
                return NO_UTF8
            reply = await group.session.data(pieces, max(1, min(left, self._config.timeouts.next_hop_data)))
        except NextHopError as error:
            self._drop(group, lost=True)
            if error.doubtful:
                self._delivery.events.count(ANSWERS_LOST)
            self._delivery.events.emit("next_hop_lost", next_hops=group.hops, reason=error, doubtful=error.doubtful)
            return None
        except BaseException:
            self._drop(group, lost=True)
            raise
        self._drop(group)
        return reply

    async def _to_queue(self, variants: Sequence[MessageVariant], recipients: list[Mailbox], deadline: float) -> Reply:
        """The queue's answer to the message for `recipients`: 250, or why it does not take a share of it."""
        reply = DELIVERED
        for share in variants:
            if reply.ok and (own := share.of(recipients)):
                reply = await self._queue_variant(own, share.pieces, deadline)
        return reply

    async def _queue_variant(self, recipients: list[Mailbox], pieces: list[bytes], deadline: float) -> Reply:
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(1, min(left, self._config.timeouts.queue))):
                try:
                    reply = await self._queue_transaction(recipients, pieces)
                except NextHopError as error:
                    if error.doubtful:
                        raise
                    # The session was held for a while; the queue may have been restarted meanwhile.
                    self._drop_queue()
                    reply = await self._queue_transaction(recipients, pieces, fresh=True)
        except (NextHopError, TimeoutError) as error:
            self._delivery.events.emit("queue_down", reason=str(error) or "too slow")
            self._drop_queue()
            return NOT_HANDED_OVER
        if reply.ok:
            self.queued += len(recipients)
            self.served += recipients
            self._delivery.events.emit("queued", sender=self.sender, recipients=recipients)
            for group in self._groups.values():
                self._delivery.flush_trigger.watch(group.hops, {mailbox.domain for mailbox in recipients})
        else:
            self._delivery.events.emit("queue_refused", recipients=recipients, reply=reply)
        return reply

    def _drop_queue(self) -> None:
        if self._queue:
            self._pool.discard(self._queue)
            self._queue = None

    async def _queue_transaction(self, recipients: list[Mailbox], pieces: list[bytes], *, fresh: bool = False) -> Reply:
        if not await self._reach_queue(fresh=fresh) or self._queue is None:
            return NOT_HANDED_OVER
        if self.envelope.text_utf8 and "SMTPUTF8" not in self._queue.extensions:
            return NO_UTF8
        self.envelope.size = sum(len(piece) for piece in pieces)
        replies = await self._queue.begin(self.envelope, recipients)
        refusal = next((reply for reply in replies if not reply.ok), None)
        return refusal or await self._queue.data(pieces, self._config.timeouts.queue)
