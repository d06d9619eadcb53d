# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of events in the log, so that a flood of one kind does not hide or crowd out the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class EventLimit:
    """Lines of one kind of event per interval and worker: in all, and about one client."""

    total: int
    per_client: int


# Only what a client or an outage can repeat at will. An event about a message is never suppressed: each costs its
# sender a transaction, which has limits of its own.
LIMITS: Mapping[str, EventLimit] = {
    "abandoned": EventLimit(100, 20),
    "banned": EventLimit(20, 2),
    "command_refused": EventLimit(20, 5),
    "connection": EventLimit(200, 50),
    "connection_closed": EventLimit(5, 2),
    "connection_refused": EventLimit(5, 2),
    "early_talker": EventLimit(5, 2),
    "next_hop_down": EventLimit(20, 20),
    "no_encryption": EventLimit(5, 2),
    "pipelining": EventLimit(5, 2),
    "queue_down": EventLimit(5, 5),
    "recipient_refused": EventLimit(50, 10),
    "relay_refused": EventLimit(20, 5),
    "rule_log_only": EventLimit(50, 10),
    "verification_server_down": EventLimit(20, 20),
    "verification_server_refused": EventLimit(20, 20),
}


class EventLimiter:
    """Counts events per interval; decides which are logged and how many were not."""

    def __init__(self, clock: Callable[[], float], limits: Mapping[str, EventLimit] | None = None) -> None:
        self._clock = clock
        self._limits = LIMITS if limits is None else limits
        self._end = 0.0
        self._logged: Counter[str] = Counter()
        self._by_client: Counter[tuple[str, object]] = Counter()
        self._suppressed: Counter[str] = Counter()
        #: Number of events of this interval that were not logged.
        self.suppressed = 0

    def allows(self, event: str, client: object = None) -> bool:
        """Count an event; return whether to log it."""
        limit = self._limits.get(event)
        if limit is None:
            return True
        if self._logged[event] >= limit.total or self._by_client[event, client] >= limit.per_client:
            self._suppressed[event] += 1
            self.suppressed += 1
            return False
        self._logged[event] += 1
        if client is not None:
            self._by_client[event, client] += 1
        return True

    @property
    def over(self) -> bool:
        """Whether the interval has ended."""
        return self._clock() >= self._end

    def restart(self) -> dict[str, int]:
        """Begin a new interval; return how many events of each kind the last one suppressed."""
        suppressed = dict(self._suppressed)
        for counter in (self._logged, self._by_client, self._suppressed):
            counter.clear()
        self.suppressed = 0
        self._end = self._clock() + INTERVAL_SECONDS
        return suppressed
