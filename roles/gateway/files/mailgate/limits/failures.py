# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of a store: each is counted, and they are logged together once a minute."""

from __future__ import annotations

import time

from mailgate.events import Events

REPORT_SECONDS = 60.0


class Failures:
    """Counts the failures of a store.

    Args:
        events: Log and counters.
        kind: Kind of the event, and name of the counter.
    """

    def __init__(self, events: Events, kind: str) -> None:
        self._events = events
        self._kind = kind
        self._number = 0
        self._reported = -REPORT_SECONDS

    def __call__(self, reason: str) -> None:
        """Note a failure."""
        self._events.count(self._kind)
        self._number += 1
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._events.emit(self._kind, reason=reason, number=self._number)
            self._number = 0
