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
    """Functions that are called every `seconds`, each during a context; all have one timer.

    A timer for each context would be made and cancelled for nearly every message.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # The open contexts, and the loop time since which each is open.
        self._open: dict[_During, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def during(self, call: Callable[[], object]) -> _During:
        """Return a context in which `call` is called; the first time, after `seconds` to twice as many."""
        return _During(self, call)

    def begin(self, context: _During) -> None:
        """Begin to make a context's calls."""
        loop = asyncio.get_running_loop()
        self._open[context] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._again)

    def end(self, context: _During) -> None:
        """End a context's calls."""
        self._open.pop(context, None)

    def _again(self) -> None:
        self._timer = None
        if not self._open:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._again)
        latest = loop.time() - self._seconds
        for context in [context for context, began in self._open.items() if began <= latest]:
            context.call()


class _During:
    """A context in which a function is called."""

    __slots__ = ("_repeated", "call")

    def __init__(self, repeated: Repeated, call: Callable[[], object]) -> None:
        self._repeated = repeated
        self.call = call

    def __enter__(self) -> None:
        self._repeated.begin(self)

    def __exit__(self, *_error: object) -> None:
        self._repeated.end(self)
