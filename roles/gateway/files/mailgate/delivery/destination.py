# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a transaction that goes to one next hop: its session is held from RCPT to the reply to the message."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mailgate.client.session import NO_EIGHT_BIT, NO_UTF8, NextHopError
from mailgate.delivery.context import Delivery, SessionHolder
from mailgate.events import ANSWERS_LOST
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import Envelope, MessageVariant
from mailgate.smtp.queue_ids import queue_id_of
from mailgate.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class Attempt:
    """A next hop's reply to the message for `recipients`, None if it may not have received it."""

    recipients: list[Mailbox]
    reply: Reply | None

    @property
    def accepted(self) -> bool:
        """Whether the next hop accepted the message."""
        return self.reply is not None and self.reply.ok


class Destination(SessionHolder):
    """Recipients behind the same next hops.

    Attributes:
        hops: The next hops in order of preference.
        encrypt: TLS is required.
        recipients: The recipients that the next hop accepted.
        refusal: The next hop's reply if it refused MAIL.
    """

    def __init__(self, delivery: Delivery, hops: tuple[NextHop, ...], *, encrypt: bool) -> None:
        super().__init__(delivery)
        self._timeouts = delivery.config.timeouts
        self.hops = hops
        self.encrypt = encrypt
        self.recipients: list[Mailbox] = []
        self.refusal: Reply | None = None
        self._gave_way = False

    # At RCPT

    async def add(self, envelope: Envelope, recipient: Mailbox, *, known: bool = False) -> Reply:
        """Name a recipient to the next hop; return its reply to RCPT, or to MAIL if that was refused.

        Mail for recipients that are in the cache does not wait behind others, which may be guesses. For the same
        reason, the session is not held while the next hop has accepted no recipient.

        Args:
            envelope: Sender and parameters.
            recipient: The recipient.
            known: The cache has it as known.

        Raises:
            NextHopError: None of the next hops responds.
        """
        if self.refusal:
            return self.refusal
        if self._session is None:
            slot = contextlib.nullcontext() if known else self._delivery.verifier.probe_slot(self.hops)
            async with slot:
                self._session, (mail, *replies) = await self._delivery.pool.begin(
                    envelope, [recipient], self.hops, encrypt=self.encrypt
                )
            if not mail.ok:
                self.refusal = mail
                self.close()
                return mail
            reply = replies[0]
        else:
            reply = await self._session.rcpt(envelope, recipient)
        if reply.ok:
            self.recipients.append(recipient)
        elif not self.recipients:
            self.close()
        return reply

    async def exclude(self, envelope: Envelope, excluded: Collection[Mailbox]) -> bool:
        """Remove recipients and begin again without them; return False if the next hop does not accept the rest."""
        kept = [mailbox for mailbox in self.recipients if mailbox not in excluded]
        if len(kept) == len(self.recipients):
            return True
        self.recipients = kept
        if not kept or self._session is None:
            return True
        try:
            async with asyncio.timeout(self._timeouts.next_hop_command):
                replies = await self._session.begin(envelope, kept)
        except (NextHopError, TimeoutError):
            return False
        return len(replies) > len(kept) and all(reply.ok for reply in replies)

    def fail(self) -> list[Mailbox]:
        """Close the broken session; return and remove the recipients that the queue takes over.

        A message that requires TLS never goes to the queue, which does not enforce it.
        """
        self._discard()
        if self.encrypt:
            return []
        failed, self.recipients = self.recipients, []
        return failed

    def give_way(self) -> None:
        """Release the session for others; `deliver` begins again."""
        if self._session:
            self._gave_way = True
            self.close()

    # The message

    async def deliver(
        self, envelope: Envelope, variants: Sequence[MessageVariant], deadline: float, *, needs_utf8: bool
    ) -> list[Attempt]:
        """Send each variant to its recipients, until loop time `deadline`; return the replies."""
        if len(variants) == 1 and not self._gave_way:
            reply = await self._send(envelope, variants[0], self.recipients, deadline, needs_utf8=needs_utf8)
            return [Attempt(self.recipients, reply)]
        attempts: list[Attempt] = []
        for variant in variants:
            recipients = variant.of(self.recipients)
            if not recipients:
                continue
            # The open transaction names all recipients, so it is used if all of them receive the same variant.
            accepted = self._session is not None and len(recipients) == len(self.recipients)
            reply = None
            if not accepted:
                reply = await self._begin(replace(envelope, size=variant.size), recipients, deadline)
                accepted = reply is not None and reply.ok
                if not accepted and len(recipients) > 1:
                    # It may be about one of them only; the queue asks for each.
                    reply = None
            if accepted:
                reply = await self._send(envelope, variant, recipients, deadline, needs_utf8=needs_utf8)
            attempts.append(Attempt(recipients, reply))
        return attempts

    async def _begin(self, envelope: Envelope, recipients: list[Mailbox], deadline: float) -> Reply | None:
        """Begin again for these recipients only; return the first refusal, else a positive reply, None on failure."""
        try:
            async with asyncio.timeout(min(self._remaining(deadline), self._timeouts.next_hop_command)):
                if self._session:
                    replies = await self._session.begin(envelope, recipients)
                else:
                    self._session, replies = await self._delivery.pool.begin(
                        envelope, recipients, self.hops, encrypt=self.encrypt
                    )
        except (NextHopError, TimeoutError) as error:
            self._discard()
            self._delivery.events.emit(
                "next_hop_lost", id=envelope.id, next_hops=self.hops, reason=str(error) or "timed out"
            )
            return None
        return next((reply for reply in replies if not reply.ok), replies[0])

    async def _send(
        self,
        envelope: Envelope,
        variant: MessageVariant,
        recipients: list[Mailbox],
        deadline: float,
        *,
        needs_utf8: bool,
    ) -> Reply | None:
        """Send the message; return the next hop's reply, or None if it may not have received it.

        The open transaction names `recipients`.
        """
        started = asyncio.get_running_loop().time()
        try:
            if self._session is None:
                raise NextHopError("session lost")
            if needs_utf8 and "SMTPUTF8" not in self._session.extensions:
                return NO_UTF8
            if not self._session.accepts(envelope, variant):
                return self._unconverted(envelope)
            seconds = max(1, min(self._remaining(deadline), self._timeouts.next_hop_data))
            reply = await self._session.data(variant.pieces, seconds)
        except NextHopError as error:
            self._discard()
            if error.doubtful:
                self._delivery.events.count(ANSWERS_LOST)
            self._delivery.events.emit(
                "next_hop_lost", id=envelope.id, next_hops=self.hops, reason=error, doubtful=error.doubtful
            )
            return None
        except BaseException:
            self._discard()
            raise
        next_hop = self._session.name
        self.close()
        self._delivery.events.emit(
            "delivered" if reply.ok else "hop_refused",
            id=envelope.id,
            next_hop=next_hop,
            recipients=recipients,
            reply=reply,
            queue_id=queue_id_of(reply),
            seconds=round(asyncio.get_running_loop().time() - started, 3),
        )
        return reply

    def _unconverted(self, envelope: Envelope) -> Reply | None:
        """Leave an 8-bit message to the queue, which converts it (RFC 6152 section 3), unless TLS is required."""
        if self.encrypt:
            return NO_EIGHT_BIT
        self._delivery.events.emit("conversion_needed", id=envelope.id, next_hops=self.hops, recipients=self.recipients)
        self.close()
        return None

    def _remaining(self, deadline: float) -> float:
        """Return the seconds until `deadline`, less those that the queue may need."""
        return deadline - asyncio.get_running_loop().time() - self._timeouts.queue
