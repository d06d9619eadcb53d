# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our end of a connection is to senders and to servers alike: one task that waits, for input or for room."""

from __future__ import annotations

import asyncio
from typing import cast


class BaseConnection(asyncio.Protocol):
    """One connection, used by a single task at a time.

    All its waiting has one deadline and one timer, which is moved only when it has run out: that is seldom, and a timer
    for each reply would cost more than the reply.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self._writing_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes or goes."""
        self.transport = None
        self._wake(self._waiter)
        self._wake(self._room)
        if self._timer:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Called when the other end takes too little."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Called when it takes more again."""
        self._writing_paused = False
        self._wake(self._room)

    @staticmethod
    def _wake(future: asyncio.Future[None] | None) -> None:
        if future and not future.done():
            future.set_result(None)

    async def _input(self) -> None:
        """Wait for something to come, or for the connection's end; raises TimeoutError at the deadline."""
        if self._deadline <= self.loop.time():
            raise TimeoutError
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _space(self) -> None:
        """Wait until the other end has taken enough to go on, or the connection's end."""
        while self._writing_paused and self.transport is not None:
            self._room = self.loop.create_future()
            await self._room

    def _watch(self, seconds: float) -> None:
        """Let waiting for input end after `seconds`."""
        self._deadline = self.loop.time() + seconds
        if self._timer and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._deadline, self._run_out)

    def _run_out(self) -> None:
        self._timer = None
        if self.loop.time() >= self._deadline:
            self._wake(self._waiter)
        elif self.transport is not None:
            self._timer = self.loop.call_at(self._deadline, self._run_out)
