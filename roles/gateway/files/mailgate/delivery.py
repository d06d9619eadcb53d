# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut-through delivery: sessions to next hops held from RCPT to the final answer, the queue for what fails.

The table, by what the next hops answered to the message:

* all accepted: 250.
* all refused it: their refusal, verbatim (a temporary one if any is).
* some accepted, or the answer of some is not known: those that failed go to the queue; 250 once it has them.

Where recipients are to get different shares of a message, a server is told of the recipients of one share at a time.

A 250 is never given unless every recipient's next hop or the queue has answered 250 first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailgate import dsn
from mailgate.address import Mailbox
from mailgate.call_ahead import TRY_LATER, CallAhead
from mailgate.config import Config
from mailgate.envelope import Envelope, Share
from mailgate.events import ANSWERS_LOST, Events
from mailgate.next_hop import NO_UTF8, HopError, HopSession
from mailgate.pool import Pool
from mailgate.queue import Waker
from mailgate.recipients import Recipients
from mailgate.reply import Reply
from mailgate.routes import NextHop, Route

ACCEPTED = Reply.of(250, "2.1.5 Recipient accepted")
DELIVERED = Reply.of(250, "2.0.0 Message accepted")
SEPARATELY = Reply.of(452, "4.5.3 Send to this recipient in a transaction of its own")
NOT_HANDED_OVER = Reply.of(451, "4.3.0 Message could not be handed over; try again later")


class Delivery:
    """What all transactions share: settings, answers about recipients, sessions to servers."""

    def __init__(
        self,
        config: Config,
        recipients: Recipients,
        events: Events,
        *,
        encrypt: ssl.SSLContext | None = None,
        share: float = 1.0,
    ) -> None:
        self.config = config
        self.recipients = recipients
        self.events = events
        self.pool = Pool(config, encrypt=encrypt, share=share)
        self.call_ahead = CallAhead(config, self.pool, recipients, events, share=share)
        self.queue_hop = NextHop(config.queue.host, config.queue.port)
        self.waker = Waker(self.pool, self.queue_hop, events)

    def close(self) -> None:
        """End idle sessions; those in use end with their transactions."""
        self.waker.stop()
        self.pool.close()


@dataclass
class _Group:
    """Recipients behind the same next hops and the session held for them; `refusal` is the hop's answer to MAIL."""

    hops: tuple[NextHop, ...]
    encrypt: bool
    session: HopSession | None = None
    refusal: Reply | None = None
    recipients: list[Mailbox] = field(default_factory=list)


@dataclass(frozen=True)
class _Job:
    """What a next hop answered to a share of the message, None if it is not known to have it."""

    share: Share
    recipients: list[Mailbox]
    reply: Reply | None


class Transaction:
    """One mail transaction, from MAIL to the answer to the message.

    `served` are the recipients whose server or queue has taken the message, `promised` the ledger's names of what the
    sender is told with a 250.
    """

    def __init__(self, delivery: Delivery, envelope: Envelope) -> None:
        self._delivery = delivery
        self._config = delivery.config
        self._pool = delivery.pool
        self.envelope = envelope
        self.sender = envelope.sender
        self._groups: dict[tuple[tuple[NextHop, ...], bool], _Group] = {}
        self._queued: list[Mailbox] = []
        self._queue: HopSession | None = None
        self.recipients: list[Mailbox] = []
        self.served: list[Mailbox] = []
        self.promised: list[bytes] = []
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
        call_ahead = self._delivery.call_ahead
        if route.ask and not (known and answers.fresh(recipient)):
            known, refusal = await call_ahead.ask_home(
                self.envelope, recipient, route.ask, encrypt=encrypt, known=known
            )
            if refusal:
                return refusal
        group = self._groups.setdefault((route.next_hops, encrypt), _Group(route.next_hops, encrypt))
        try:
            if notify and dsn.wants_success(notify) and self.sender.local and not encrypt:
                replies, extensions = await call_ahead.question(self.envelope, recipient, route.next_hops)
                if replies[-1].ok and "DSN" not in extensions:
                    # The queue sends the notice that the mail was relayed (RFC 3461 section 5.2.2).
                    self._learn(recipient, route, replies[-1])
                    return await self.add_to_queue(recipient)
            reply = await self._ask(group, recipient, route)
        except HopError as error:
            self._delivery.events.emit("next_hop_down", next_hops=route.next_hops, recipient=recipient, reason=error)
            self._lose(group)
            return await self.add_to_queue(recipient) if known and not encrypt else TRY_LATER
        if reply.ok:
            group.recipients.append(recipient)
            self.recipients.append(recipient)
            if answers.catches_all(recipient) is None:
                call_ahead.try_catch_all(recipient.domain, route.asked)
            return ACCEPTED
        return reply

    def _mixes(self, encrypt: bool, hops: tuple[NextHop, ...]) -> bool:
        """Whether mail that must be encrypted would have company: if that was served and it was not, only the queue
        could take it, and nothing makes the queue encrypt."""
        others = [group for key, group in self._groups.items() if group.recipients and key != (hops, encrypt)]
        if encrypt:
            return bool(others or self._queued)
        return any(group.encrypt for group in others)

    def _learn(self, recipient: Mailbox, route: Route, reply: Reply) -> None:
        """Remember a next hop's answer, unless others know better."""
        if not route.ask:
            self._delivery.recipients.learn(recipient, reply)

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
                except (HopError, TimeoutError):
                    self._lose(group)
                    continue
                if len(replies) <= len(kept) or not all(reply.ok for reply in replies):
                    self._lose(group)

    async def deliver(self, shares: Sequence[Share], deadline: float) -> Reply:
        """Hand the message over, until the loop's time `deadline`, and answer by the table above.

        Recipients that no share is for must have been left out.
        """
        groups = [group for group in self._groups.values() if group.recipients]
        before = len(self.served)
        if self._queued and not (reply := await self._to_queue(shares, self._queued, deadline)).ok:
            # No server has it yet, so the sender can be told; for good only by a recipient's own server.
            if len(self.served) > before:
                self._delivery.events.emit("delivered_in_part", failed=self._queued, reason=reply)
            return reply if reply.temporary else NOT_HANDED_OVER
        if len(groups) == 1:
            jobs = await self._send_shares(groups[0], shares, deadline)
        else:
            sent = await asyncio.gather(*(self._send_shares(group, shares, deadline) for group in groups))
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
        reply = await self._to_queue(shares, failed, deadline)
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

    async def _ask(self, group: _Group, recipient: Mailbox, route: Route) -> Reply:
        if group.refusal:
            return group.refusal
        # What one of several servers refuses after another has accepted must go somewhere: no queue, no second server.
        first = not group.recipients
        if first and any(other.recipients for other in self._groups.values()) and not await self._reach_queue():
            return SEPARATELY
        if group.session is None:
            call_ahead = self._delivery.call_ahead
            async with call_ahead.slot(group.hops):
                group.session, (mail, *replies) = await call_ahead.begin(
                    self.envelope, [recipient], group.hops, encrypt=group.encrypt
                )
            if not mail.ok:
                group.refusal = mail
                self._drop(group)
                return mail
            reply = replies[0]
        else:
            reply = await group.session.rcpt(self.envelope, recipient)
        self._learn(recipient, route, reply)
        return reply

    def _drop(self, group: _Group, *, lost: bool = False) -> None:
        if group.session:
            if lost:
                self._pool.discard(group.session)
            else:
                self._pool.release(group.session)
            group.session = None

    def _lose(self, group: _Group) -> None:
        """The group's session is gone; those it had accepted are known, so they are for the queue."""
        self._drop(group, lost=True)
        if not group.encrypt:
            self._queued += group.recipients
            group.recipients = []

    async def _reach_queue(self, *, fresh: bool = False) -> bool:
        if self._queue is None:
            try:
                self._queue = await self._pool.acquire(self._delivery.queue_hop, fresh=fresh)
            except HopError as error:
                self._delivery.events.emit("queue_down", reason=error)
                return False
        return True

    async def _send_shares(self, group: _Group, shares: Sequence[Share], deadline: float) -> list[_Job]:
        """What the group's next hop answers to each share that recipients behind it are to get."""
        if len(shares) == 1:
            return [_Job(shares[0], group.recipients, await self._send(group, shares[0].pieces, deadline))]
        jobs: list[_Job] = []
        for share in shares:
            recipients = share.of(group.recipients)
            if not recipients:
                continue
            # The session is held for all of them; it suits if they are all to get the same.
            suits = group.session is not None and len(recipients) == len(group.recipients)
            reply = None if suits else await self._name(group, recipients, share, deadline)
            if suits or reply is DELIVERED:
                reply = await self._send(group, share.pieces, deadline)
            jobs.append(_Job(share, recipients, reply))
        return jobs

    async def _name(self, group: _Group, recipients: list[Mailbox], share: Share, deadline: float) -> Reply | None:
        """Begin anew for these recipients only; DELIVERED if the next hop takes them, else as `_send`."""
        self.envelope.size = sum(len(piece) for piece in share.pieces)
        left = deadline - asyncio.get_running_loop().time() - self._config.timeouts.queue
        try:
            async with asyncio.timeout(min(left, self._config.timeouts.next_hop_command)):
                if group.session:
                    replies = await group.session.begin(self.envelope, recipients)
                else:
                    group.session, replies = await self._delivery.call_ahead.begin(
                        self.envelope, recipients, group.hops, encrypt=group.encrypt
                    )
        except (HopError, TimeoutError) as error:
            self._drop(group, lost=True)
            self._delivery.events.emit("next_hop_lost", next_hops=group.hops, reason=str(error) or "too slow")
            return None
        return next((reply for reply in replies if not reply.ok), DELIVERED)

    async def _send(self, group: _Group, pieces: list[bytes], deadline: float) -> Reply | None:
        """The next hop's answer to the message, or None: it is not known to have it."""
        left = deadline - asyncio.get_running_loop().time() - self._config.timeouts.queue
        try:
            if group.session is None:
                raise HopError("session lost")
            if self.envelope.text_utf8 and "SMTPUTF8" not in group.session.extensions:
                return NO_UTF8
            reply = await group.session.data(pieces, max(1, min(left, self._config.timeouts.next_hop_data)))
        except HopError as error:
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

    async def _to_queue(self, shares: Sequence[Share], recipients: list[Mailbox], deadline: float) -> Reply:
        """The queue's answer to the message for `recipients`: 250, or why it does not take a share of it."""
        reply = DELIVERED
        for share in shares:
            if reply.ok and (own := share.of(recipients)):
                reply = await self._queue_share(own, share.pieces, deadline)
        return reply

    async def _queue_share(self, recipients: list[Mailbox], pieces: list[bytes], deadline: float) -> Reply:
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(1, min(left, self._config.timeouts.queue))):
                try:
                    reply = await self._queue_transaction(recipients, pieces)
                except HopError as error:
                    if error.doubtful:
                        raise
                    # The session was held for a while; the queue may have been restarted meanwhile.
                    self._drop_queue()
                    reply = await self._queue_transaction(recipients, pieces, fresh=True)
        except (HopError, TimeoutError) as error:
            self._delivery.events.emit("queue_down", reason=str(error) or "too slow")
            self._drop_queue()
            return NOT_HANDED_OVER
        if reply.ok:
            self.queued += len(recipients)
            self.served += recipients
            self._delivery.events.emit("queued", sender=self.sender, recipients=recipients)
            for group in self._groups.values():
                self._delivery.waker.watch(group.hops, {mailbox.domain for mailbox in recipients})
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
