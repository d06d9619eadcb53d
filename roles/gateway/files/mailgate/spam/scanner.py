# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""rspamd as the service uses it: with a limit of scans, and without waiting for it while it is down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from mailgate.events import Events
from mailgate.spam.rspamd import Headers, RspamdError, Score, address_of, check
from mailgate.spam_settings import Rspamd

# Failures in a row, after which rspamd is not asked for some seconds. One message that it cannot read stops nothing.
MAX_FAILURES = 3
DOWN_SECONDS = 10.0
REPORT_SECONDS = 60.0


@dataclass(frozen=True)
class NotScanned:
    """There is no score.

    Attributes:
        reason: In words, for a header field.
        failed: Whether rspamd is the cause.
    """

    reason: str
    failed: bool = False


FAILED = NotScanned("rspamd unavailable", failed=True)


class SpamScanner:
    """Scans of a worker.

    Args:
        settings: Settings.
        events: Log and counters.
        share: This worker's share of the simultaneous scans.
        clock: Time in seconds.
    """

    def __init__(
        self, settings: Rspamd, events: Events, share: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._events = events
        self._clock = clock
        self._failures = 0
        self._down_until = float("-inf")
        self._unreported = 0
        self._reported = float("-inf")
        self._concurrency = 0
        self.use(settings, share)

    def use(self, settings: Rspamd, share: float = 1.0) -> None:
        """Apply new settings."""
        self.settings = settings
        self._address = address_of(settings.socket)
        if (concurrency := max(1, round(settings.concurrency * share))) != self._concurrency:
            self._concurrency, self._slots = concurrency, asyncio.Semaphore(concurrency)

    async def scan(self, content: bytes, headers: Headers, deadline: float) -> Score | NotScanned:
        """Return the score of a message, or why it has none; never raises.

        Args:
            content: The message.
            headers: What is known of its transaction.
            deadline: Time of the event loop.
        """
        if len(content) > self.settings.max_size:
            return NotScanned(f"message exceeds {self.settings.max_size} bytes")
        now = self._clock()
        if now < self._down_until:
            return self._failed("not asked after failures")
        if self._failures >= MAX_FAILURES:
            # This message finds out whether it works again; others do not wait for it.
            self._down_until = now + DOWN_SECONDS
        slots = self._slots
        try:
            async with asyncio.timeout_at(deadline):
                await slots.acquire()
        except TimeoutError:
            return self._failed("too many simultaneous scans")
        try:
            score = await check(self._address, content, headers, deadline)
        except RspamdError as error:
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                self._down_until = self._clock() + DOWN_SECONDS
            return self._failed(str(error))
        finally:
            slots.release()
        self._failures, self._down_until = 0, float("-inf")
        return score

    def _failed(self, reason: str) -> NotScanned:
        """Log a failure, once a minute."""
        self._unreported += 1
        now = self._clock()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._events.emit("rspamd_failed", reason=reason, number=self._unreported)
            self._unreported = 0
        return FAILED
