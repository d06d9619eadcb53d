# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions about recipients: to home servers behind a hub, and beside the mail which servers take anybody and who is
still known.

They are few at a time for each server. Those beside the mail hold nobody up: what they find is for the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from mailgate.client.pool import Pool
from mailgate.client.session import NextHopError
from mailgate.config import Config
from mailgate.delivery.verify_cache import VerificationCache, says_of_mail
from mailgate.events import Events
from mailgate.routes import NextHop, Route
from mailgate.smtp.address import AddressError, Mailbox, parse_mailbox
from mailgate.smtp.envelope import Envelope
from mailgate.smtp.reply import Reply

TRY_LATER = Reply.of(450, "4.4.1 The recipient's server cannot be reached and the recipient is not known here yet")

NOBODY = Envelope(Mailbox("", ""))
MAX_REFRESHED = 500
SECONDS_BETWEEN = 0.2


@dataclass
class _Slot:
    """Questions that one route's servers may still be asked now, and how many wait to ask."""

    free: asyncio.Semaphore
    waiting: int = 0


class RecipientVerifier:
    """Asks servers, within the limit of questions for each."""

    def __init__(
        self, config: Config, pool: Pool, recipients: VerificationCache, events: Events, *, share: float
    ) -> None:
        self._most = max(1, round(config.limits.max_verifications_per_next_hop * share))
        self._pool = pool
        self._recipients = recipients
        self._events = events
        self._seconds = config.timeouts.connect
        self._slots: dict[tuple[NextHop, ...], _Slot] = {}
        self._trying: set[str] = set()

    @contextlib.asynccontextmanager
    async def slot(self, hops: tuple[NextHop, ...]) -> AsyncIterator[None]:
        """Held while the servers `hops` are asked about a recipient.

        Raises NextHopError behind too many others, or when none is free in time: who has mail for other servers
        needs the connections that would wait here.
        """
        slot = self._slots.setdefault(hops, _Slot(asyncio.Semaphore(self._most)))
        if slot.free.locked():
            await self._wait(slot, hops)
        else:
            await slot.free.acquire()
        try:
            yield
        finally:
            slot.free.release()

    async def _wait(self, slot: _Slot, hops: tuple[NextHop, ...]) -> None:
        if slot.waiting >= self._pool.most_waiting:
            raise NextHopError(f"{hops[0]}: too many questions at a time")
        slot.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await slot.free.acquire()
        except TimeoutError:
            raise NextHopError(f"{hops[0]}: busy with other questions") from None
        finally:
            slot.waiting -= 1

    def try_catch_all(self, domain: str, hops: tuple[NextHop, ...]) -> None:
        """Find out in the background whether the server takes a recipient that cannot exist."""
        if domain not in self._trying:
            self._trying.add(domain)
            self._pool.spawn(self._try(domain, hops))

    async def _try(self, domain: str, hops: tuple[NextHop, ...]) -> None:
        try:
            reply = await self.ask(Mailbox(f"mailgate-{secrets.token_hex(12)}", domain), hops)
            if reply:
                self._recipients.store_catch_all(domain, reply)
                if reply.ok:
                    self._events.emit("catch_all", domain=domain, next_hops=hops)
        finally:
            self._trying.discard(domain)

    async def ask(self, mailbox: Mailbox, hops: tuple[NextHop, ...]) -> Reply | None:
        """A server's answer about a recipient, when nobody waits for it; None if there is none."""
        try:
            # Mail goes first.
            replies, _extensions = await self.question(NOBODY, mailbox, hops, wait=False)
        except NextHopError:
            return None
        return replies[1] if len(replies) > 1 else None

    async def ask_home(
        self, envelope: Envelope, recipient: Mailbox, servers: tuple[NextHop, ...], *, encrypt: bool, known: bool
    ) -> tuple[bool, Reply | None]:
        """Ask the servers behind a hub; whether the recipient is known now, and the refusal that the sender is told.

        `known`: from before, so that it suffices that nobody says otherwise. A server that does not speak with a
        gateway leaves the answer to the hub.
        """
        question = Envelope(envelope.sender, size=envelope.size, utf8=envelope.utf8)
        try:
            replies, _extensions = await self.question(question, recipient, servers, encrypt=encrypt)
        except NextHopError as error:
            if error.refusal is None or error.refusal.temporary:
                self._events.emit("home_server_down", ask=servers, recipient=recipient, reason=error)
                return known, None if known else TRY_LATER
            reply, at_rcpt = error.refusal, False
        else:
            reply, at_rcpt = replies[-1], len(replies) > 1
        if at_rcpt:
            self._recipients.store(recipient, reply)
        if reply.ok:
            return True, None
        if reply.temporary:
            return known, None if known else reply
        if says_of_mail(reply, at_rcpt=at_rcpt):
            return False, reply
        self._events.emit("home_server_refuses", ask=servers, recipient=recipient, reply=reply)
        return known, None

    async def question(
        self,
        envelope: Envelope,
        recipient: Mailbox,
        servers: tuple[NextHop, ...],
        *,
        encrypt: bool = False,
        wait: bool = True,
    ) -> tuple[list[Reply], Collection[str]]:
        """The replies to MAIL and RCPT in a transaction that gets no message, and the server's extensions.

        There is no reply to RCPT when MAIL is refused. Raises NextHopError.
        """
        async with self.slot(servers):
            session, replies = await self._pool.begin(envelope, [recipient], servers, encrypt=encrypt, wait=wait)
            if session is None:
                return replies, ()
            extensions = session.extensions
            self._pool.release(session)
        return replies, extensions

    async def refresh(self, find: Callable[[str], Route | None]) -> int:
        """Ask again about known recipients whose time is nearly over; returns how many were asked about."""
        try:
            aging = self._recipients.aging(MAX_REFRESHED)
        except sqlite3.Error:
            return 0
        asked = 0
        for key in aging:
            try:
                mailbox = parse_mailbox(key, utf8=True)
            except AddressError:
                continue
            route = find(mailbox.domain)
            if route is None:
                continue
            reply = await self.ask(mailbox, route.verification_servers)
            if reply:
                self._recipients.store(mailbox, reply)
                asked += 1
            await asyncio.sleep(SECONDS_BETWEEN)
        return asked
