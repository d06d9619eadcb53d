# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that outlive the call that started them, and calls that are repeated while another one runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundTasks:
    """Tasks that are waited for or cancelled together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> list[asyncio.Task[Any]]:
        """Cancel all tasks; return those that were still running."""
        return [task for task in list(self._tasks) if task.cancel()]

    async def finish(self, seconds: float) -> int:
        """Wait for all tasks, also those started meanwhile; return how many were cancelled after `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._tasks and (remaining := deadline - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=remaining)
        cancelled = self.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        return len(cancelled)


class Repeated:
    """Context in which a function is called every `seconds`."""

    __slots__ = ("_call", "_seconds", "_timer")

    def __init__(self, call: Callable[[], object], seconds: float) -> None:
        self._call = call
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._again)

    def __exit__(self, *_error: object) -> None:
        if self._timer:
            self._timer.cancel()

    def _again(self) -> None:
        self.__enter__()
        self._call()
