# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions about recipients beside the mail: which servers take anybody, and who is still known.

None of them holds anybody up: they are few at a time for each server, and what they find is for the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from mailgate.address import AddressError, Mailbox, parse_mailbox
from mailgate.config import Config
from mailgate.envelope import Envelope
from mailgate.events import Events
from mailgate.next_hop import HopError
from mailgate.pool import Pool
from mailgate.recipients import Recipients
from mailgate.reply import Reply
from mailgate.routes import NextHop, Route

NOBODY = Envelope(Mailbox("", ""))
MAX_REFRESHED = 500
SECONDS_BETWEEN = 0.2


@dataclass
class _Slot:
    """Questions that one route's servers may still be asked now, and how many wait to ask."""

    free: asyncio.Semaphore
    waiting: int = 0


class CallAhead:
    """Asks servers, within the limit of questions for each."""

    def __init__(self, config: Config, pool: Pool, recipients: Recipients, events: Events, *, share: float) -> None:
        self._most = max(1, round(config.limits.max_call_aheads_per_next_hop * share))
        self._pool = pool
        self._recipients = recipients
        self._events = events
        self._seconds = config.timeouts.connect
        self._slots: dict[tuple[NextHop, ...], _Slot] = {}
        self._trying: set[str] = set()

    @contextlib.asynccontextmanager
    async def slot(self, hops: tuple[NextHop, ...]) -> AsyncIterator[None]:
        """Held while the servers `hops` are asked about a recipient.

        Raises HopError behind too many others, or when none is free in time: who has mail for other servers needs the
        connections that would wait here.
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
            raise HopError(f"{hops[0]}: too many questions at a time")
        slot.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await slot.free.acquire()
        except TimeoutError:
            raise HopError(f"{hops[0]}: busy with other questions") from None
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
                self._recipients.learn_catch_all(domain, reply)
                if reply.ok:
                    self._events.emit("catch_all", domain=domain, next_hops=hops)
        finally:
            self._trying.discard(domain)

    async def ask(self, mailbox: Mailbox, hops: tuple[NextHop, ...]) -> Reply | None:
        """A server's answer about a recipient, in a transaction that gets no message; None if there is none."""
        try:
            async with self.slot(hops):
                return await self._ask(mailbox, hops)
        except HopError:
            return None

    async def _ask(self, mailbox: Mailbox, hops: tuple[NextHop, ...]) -> Reply | None:
        for hop in hops:
            if self._pool.down(hop):
                continue
            started = asyncio.get_running_loop().time()
            try:
                # Mail goes first.
                session = await self._pool.acquire(hop, wait=False)
            except HopError:
                continue
            try:
                replies = await session.begin(NOBODY, [mailbox])
            except HopError as error:
                self._pool.discard(session)
                self._pool.failed(hop, started, error)
                continue
            except BaseException:
                self._pool.discard(session)
                raise
            self._pool.release(session)
            return replies[1] if len(replies) > 1 else None
        return None

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
            reply = await self.ask(mailbox, route.next_hops)
            if reply:
                self._recipients.learn(mailbox, reply)
                asked += 1
            await asyncio.sleep(SECONDS_BETWEEN)
        return asked
