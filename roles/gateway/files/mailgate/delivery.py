# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut-through delivery: sessions to next hops held from RCPT to the final answer, the queue for what fails.

The table, by what the next hops answered to the message:

* all accepted: 250.
* all refused it: their refusal, verbatim (a temporary one if any is).
* some accepted, or the answer of some is not known: those that failed go to the queue; 250 once it has them.

A 250 is never given unless every recipient's next hop or the queue has answered 250 first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from mailgate.address import Mailbox
from mailgate.config import Config
from mailgate.events import Events
from mailgate.next_hop import HopError, HopSession
from mailgate.recipients import Recipients
from mailgate.reply import Reply
from mailgate.routes import NextHop, Route

ACCEPTED = Reply.of(250, "2.1.5 Recipient accepted")
DELIVERED = Reply.of(250, "2.0.0 Message accepted")
TRY_LATER = Reply.of(450, "4.4.1 The recipient's server cannot be reached and the recipient is not known here yet")
SEPARATELY = Reply.of(452, "4.5.3 Send to this recipient in a transaction of its own")
NOT_HANDED_OVER = Reply.of(451, "4.3.0 Message could not be handed over; try again later")

# After a server took long to fail, others do not wait for it as well.
DOWN_SECONDS = 10
SLOW_FAILURE_SECONDS = 1


class Delivery:
    """What all transactions share: settings, answers about recipients, outgoing connections."""

    def __init__(self, config: Config, recipients: Recipients, events: Events) -> None:
        self.config = config
        self.recipients = recipients
        self.events = events
        self._slots = asyncio.Semaphore(config.limits.max_outbound_connections)
        self._down_until: dict[NextHop, float] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def open_first(self, hops: Iterable[NextHop]) -> HopSession:
        """A session with the first of `hops` that gives one; raises HopError with the last one's reason."""
        reason = HopError("no next hop")
        loop = asyncio.get_running_loop()
        for hop in hops:
            if self._down_until.get(hop, 0) > loop.time():
                reason = HopError(f"{hop}: did not answer a moment ago")
                continue
            started = loop.time()
            try:
                session = await self.open(hop.address, hop.port)
            except HopError as error:
                reason = error
                if loop.time() - started > SLOW_FAILURE_SECONDS:
                    self._down_until[hop] = loop.time() + DOWN_SECONDS
                continue
            self._down_until.pop(hop, None)
            return session
        raise reason

    async def open(self, host: str, port: int) -> HopSession:
        """A session within the limit of outgoing connections; close it with `close`."""
        timeouts = self.config.timeouts
        try:
            async with asyncio.timeout(timeouts.connect):
                await self._slots.acquire()
        except TimeoutError:
            raise HopError("all outgoing connections are in use") from None
        try:
            return await HopSession.open(
                host,
                port,
                helo=self.config.hostname,
                connect_seconds=timeouts.connect,
                command_seconds=timeouts.next_hop_command,
            )
        except BaseException:
            self._slots.release()
            raise

    def close(self, session: HopSession, *, politely: bool = True) -> None:
        """End a session, in the background."""
        if politely:
            self._spawn(self._quit(session))
        else:
            session.abort()
            self._slots.release()

    async def _quit(self, session: HopSession) -> None:
        try:
            await session.quit()
        finally:
            self._slots.release()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


@dataclass
class _Group:
    """Recipients behind the same next hops and the session held for them; `refusal` is the hop's answer to MAIL."""

    hops: tuple[NextHop, ...]
    session: HopSession | None = None
    refusal: Reply | None = None
    recipients: list[Mailbox] = field(default_factory=list)


class Transaction:
    """One mail transaction, from MAIL to the answer to the message."""

    def __init__(self, delivery: Delivery, sender: Mailbox, *, size: int, eight_bit: bool) -> None:
        self._delivery = delivery
        self._config = delivery.config
        self.sender = sender
        self._size = size
        self._eight_bit = eight_bit
        self._groups: dict[tuple[NextHop, ...], _Group] = {}
        self._queued: list[Mailbox] = []
        self._queue: HopSession | None = None
        self.recipients: list[Mailbox] = []
        self.queued = 0

    async def add(self, recipient: Mailbox, route: Route) -> Reply:
        """Ask the recipient's next hop; the reply is the one to RCPT."""
        remembered = self._delivery.recipients.find(recipient)
        if remembered and not remembered.known:
            return remembered.reply
        group = self._groups.setdefault(route.next_hops, _Group(route.next_hops))
        try:
            reply = await self._ask(group, recipient)
        except HopError as error:
            self._delivery.events.emit("next_hop_down", next_hops=route.next_hops, recipient=recipient, reason=error)
            self._lose(group)
            return await self.add_to_queue(recipient) if remembered else TRY_LATER
        if reply.ok:
            group.recipients.append(recipient)
            self.recipients.append(recipient)
            return ACCEPTED
        return reply

    async def add_to_queue(self, recipient: Mailbox) -> Reply:
        """Accept a recipient for the queue, if that can be reached."""
        if not await self._reach_queue():
            return TRY_LATER
        self._queued.append(recipient)
        self.recipients.append(recipient)
        return ACCEPTED

    async def deliver(self, pieces: list[bytes], deadline: float) -> Reply:
        """Hand the message over, until the loop's time `deadline`, and answer by the table above."""
        groups = [group for group in self._groups.values() if group.recipients]
        if self._queued and not (reply := await self._to_queue(self._queued, pieces, deadline)).ok:
            # Nobody has it yet, so the sender can be told; for good only by a recipient's own server.
            return reply if reply.temporary else NOT_HANDED_OVER
        results = await asyncio.gather(*(self._send(group, pieces, deadline) for group in groups))
        failed = [
            mailbox
            for group, reply in zip(groups, results, strict=True)
            if reply is None or not reply.ok
            for mailbox in group.recipients
        ]
        if not failed:
            return DELIVERED
        refusals = [reply for reply in results if reply is not None and not reply.ok]
        if len(refusals) == len(results) and not self._queued:
            return next((reply for reply in refusals if reply.temporary), refusals[0])
        reply = await self._to_queue(failed, pieces, deadline)
        if reply.ok:
            return DELIVERED
        # Some have it and the others would lose it: better twice than never.
        self._delivery.events.emit("delivered_in_part", failed=failed, reason=reply)
        return reply if reply.temporary else NOT_HANDED_OVER

    def close(self) -> None:
        """Let go of all sessions; a message that was not sent stays unsent."""
        for group in self._groups.values():
            if group.session:
                self._delivery.close(group.session)
                group.session = None
        if self._queue:
            self._delivery.close(self._queue)
            self._queue = None

    async def _ask(self, group: _Group, recipient: Mailbox) -> Reply:
        if group.refusal:
            return group.refusal
        if group.session is None:
            group.session = await self._delivery.open_first(group.hops)
            reply = await group.session.mail(self.sender, size=self._size, eight_bit=self._eight_bit)
            if not reply.ok:
                group.refusal = reply
                self._drop(group, politely=True)
                return reply
        # What one of several servers refuses after another has accepted must go somewhere: no queue, no second server.
        first = not group.recipients
        if first and any(other.recipients for other in self._groups.values()) and not await self._reach_queue():
            return SEPARATELY
        reply = await group.session.rcpt(recipient)
        self._delivery.recipients.learn(recipient, reply)
        return reply

    def _drop(self, group: _Group, *, politely: bool) -> None:
        if group.session:
            self._delivery.close(group.session, politely=politely)
            group.session = None

    def _lose(self, group: _Group) -> None:
        """The group's session is gone; those it had accepted are known, so they are for the queue."""
        self._drop(group, politely=False)
        self._queued += group.recipients
        group.recipients = []

    async def _reach_queue(self) -> bool:
        if self._queue is None:
            try:
                self._queue = await self._delivery.open(self._config.queue.host, self._config.queue.port)
            except HopError as error:
                self._delivery.events.emit("queue_down", reason=error)
                return False
        return True

    async def _send(self, group: _Group, pieces: list[bytes], deadline: float) -> Reply | None:
        """The next hop's answer to the message, or None: it is not known to have it."""
        left = deadline - asyncio.get_running_loop().time() - self._config.timeouts.queue
        try:
            if group.session is None:
                raise HopError("session lost")
            reply = await group.session.data(pieces, max(1, min(left, self._config.timeouts.next_hop_data)))
        except HopError as error:
            self._drop(group, politely=False)
            self._delivery.events.emit("next_hop_lost", next_hops=group.hops, reason=error, doubtful=error.doubtful)
            return None
        self._drop(group, politely=True)
        return reply

    async def _to_queue(self, recipients: list[Mailbox], pieces: list[bytes], deadline: float) -> Reply:
        """The queue's answer to the message for `recipients`: 250, or why it does not take it."""
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
                    reply = await self._queue_transaction(recipients, pieces)
        except (HopError, TimeoutError) as error:
            self._delivery.events.emit("queue_down", reason=str(error) or "too slow")
            self._drop_queue()
            return NOT_HANDED_OVER
        if reply.ok:
            self.queued += len(recipients)
            self._delivery.events.emit("queued", sender=self.sender, recipients=recipients)
        else:
            self._delivery.events.emit("queue_refused", recipients=recipients, reply=reply)
        return reply

    def _drop_queue(self) -> None:
        if self._queue:
            self._delivery.close(self._queue, politely=False)
            self._queue = None

    async def _queue_transaction(self, recipients: list[Mailbox], pieces: list[bytes]) -> Reply:
        if not await self._reach_queue() or self._queue is None:
            return NOT_HANDED_OVER
        size = sum(len(piece) for piece in pieces)
        reply = await self._queue.mail(self.sender, size=size, eight_bit=self._eight_bit)
        for recipient in recipients:
            if not reply.ok:
                return reply
            reply = await self._queue.rcpt(recipient)
        return await self._queue.data(pieces, self._config.timeouts.queue) if reply.ok else reply
