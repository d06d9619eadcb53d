# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waking the queue: when a server that was down answers again, the queue is told to try its mail now (RFC 1985)."""

from __future__ import annotations

import asyncio

from mailgate.client.pool import Pool
from mailgate.client.session import NextHopError
from mailgate.events import Events
from mailgate.routes import NextHop

FIRST_SECONDS = 5
LAST_SECONDS = 300
# Then the queue's own retries are enough.
GIVE_UP_SECONDS = 6 * 3600
MAX_DOMAINS = 50


class QueueFlushTrigger:
    """Looks at servers that mail was queued for, ever more rarely, and wakes the queue when one is back."""

    def __init__(self, pool: Pool, queue: NextHop, events: Events) -> None:
        self._pool = pool
        self._queue = queue
        self._events = events
        self._domains: dict[tuple[NextHop, ...], set[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, hops: tuple[NextHop, ...], domains: set[str]) -> None:
        """Mail for `domains`, whose servers are `hops`, is in the queue."""
        if hops in self._domains:
            if len(self._domains[hops]) < MAX_DOMAINS:
                self._domains[hops] |= domains
            return
        self._domains[hops] = set(domains)
        task = asyncio.get_running_loop().create_task(self._wait(hops))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()

    async def _wait(self, hops: tuple[NextHop, ...]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + GIVE_UP_SECONDS
        pause = FIRST_SECONDS
        try:
            while loop.time() < until:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_SECONDS)
                if await self._answers(hops):
                    await self._wake(sorted(self._domains[hops]))
                    return
        finally:
            del self._domains[hops]

    async def _answers(self, hops: tuple[NextHop, ...]) -> bool:
        for hop in hops:
            try:
                session = await self._pool.acquire(hop, fresh=True)
            except NextHopError:
                continue
            self._pool.release(session)
            return True
        return False

    async def _wake(self, domains: list[str]) -> None:
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
        else:
            self._pool.release(session)
