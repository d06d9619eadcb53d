# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queue flush: when a server that was down responds again, ETRN makes the queue retry its mail now (RFC 1985)."""

from __future__ import annotations

import asyncio

from mailgate.background import BackgroundTasks
from mailgate.client.pool import Pool
from mailgate.client.session import NextHopError
from mailgate.events import Events
from mailgate.routes import NextHop

FIRST_SECONDS = 5
LAST_SECONDS = 300
# Afterwards the queue's own retries suffice.
GIVE_UP_SECONDS = 6 * 3600
MAX_DOMAINS = 50


class QueueFlushTrigger:
    """Poll servers that mail was queued for, with increasing intervals, and flush the queue when one responds."""

    def __init__(self, pool: Pool, queue: NextHop, events: Events) -> None:
        self._pool = pool
        self._queue = queue
        self._events = events
        self._domains: dict[tuple[NextHop, ...], set[str]] = {}
        self._background = BackgroundTasks()

    def watch(self, hops: tuple[NextHop, ...], domains: set[str]) -> None:
        """Watch `hops`, the servers of `domains`, whose mail is in the queue."""
        if hops in self._domains:
            if len(self._domains[hops]) < MAX_DOMAINS:
                self._domains[hops] |= domains
            return
        self._domains[hops] = set(domains)
        task = self._background.spawn(self._wait(hops))
        task.add_done_callback(lambda _task: self._domains.pop(hops, None))

    def stop(self) -> None:
        """Stop watching."""
        self._background.cancel()

    async def _wait(self, hops: tuple[NextHop, ...]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GIVE_UP_SECONDS
        pause = FIRST_SECONDS
        while loop.time() < deadline:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_SECONDS)
            if await self._responds(hops):
                await self._flush(sorted(self._domains[hops]))
                return

    async def _responds(self, hops: tuple[NextHop, ...]) -> bool:
        for hop in hops:
            try:
                session = await self._pool.acquire(hop, fresh=True)
            except NextHopError:
                continue
            self._pool.release(session)
            return True
        return False

    async def _flush(self, domains: list[str]) -> None:
        try:
            session = await self._pool.acquire(self._queue)
        except NextHopError:
            return
        try:
            for domain in domains:
                reply = await session.command(f"ETRN {domain}")
                self._events.emit("queue_woken", domain=domain, reply=reply)
        except NextHopError:
            self._pool.discard(session)
        except BaseException:
            self._pool.discard(session)
            raise
        else:
            self._pool.release(session)
