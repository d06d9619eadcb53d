# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base class for client and server connections: flow control and one reusable timeout timer."""

from __future__ import annotations

import asyncio
from typing import cast


class BaseConnection(asyncio.Protocol):
    """One connection, used by a single task at a time.

    All waiting shares one deadline and one timer. The timer is rescheduled only when it fires: that is rare, and a
    timer for each reply would cost more than the reply.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self._writing_paused = False
        self._read_waiter: asyncio.Future[None] | None = None
        self._write_waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the waiting task."""
        self.transport = None
        self._wake(self._read_waiter)
        self._wake(self._write_waiter)
        if self._timer:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Pause writing: the transport's buffer is full."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Resume writing: the transport's buffer has drained."""
        self._writing_paused = False
        self._wake(self._write_waiter)

    @staticmethod
    def _wake(future: asyncio.Future[None] | None) -> None:
        if future and not future.done():
            future.set_result(None)

    def _input(self) -> asyncio.Future[None]:
        """Return what is done at the next input, the end of the connection or the deadline.

        It is no coroutine, since each of these that waits takes part in all that wakes the task.

        Raises:
            TimeoutError: The deadline is over.
        """
        if self._deadline <= self.loop.time():
            raise TimeoutError
        self._read_waiter = self.loop.create_future()
        return self._read_waiter

    async def _wait_for_drain(self) -> None:
        """Wait until the transport accepts more data or the connection ends."""
        while self._writing_paused and self.transport is not None:
            self._write_waiter = self.loop.create_future()
            await self._write_waiter

    def _set_timeout(self, seconds: float) -> None:
        """Set the deadline for input to `seconds` from now."""
        self._deadline = self.loop.time() + seconds
        if self._timer and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self.loop.time() >= self._deadline:
            self._expire()
        elif self.transport is not None:
            self._timer = self.loop.call_at(self._deadline, self._on_timer)

    def _expire(self) -> None:
        """Wake the waiting task: the deadline is over."""
        self._wake(self._read_waiter)
