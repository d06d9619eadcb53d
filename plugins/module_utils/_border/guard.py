# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""When the guard checks the rules, and when it gives up. Pure: times in seconds come in, decisions go out."""

from __future__ import annotations

from collections import deque
from enum import Enum

SETTLING = 180.0
"""After its start, for example at boot, other programs still load their rules."""
POLL_SETTLING = 2.0
POLL_EVENTS = 10.0
"""With events from the kernel. Address sets have none."""
POLL_LEGACY = 5.0
DEBOUNCE = 0.2
"""A program that reloads its rules makes many changes."""
GAP = 1.0
"""The shortest time between two checks that events cause."""
LOAD_SETTLING, LOAD = 0.1, 0.01
"""The greatest part of the time that regular checks take on a router with many rules."""

REPAIRS, WINDOW = 20, 600.0
"""More repairs in this time are a conflict with another program."""
FAILURES = 5
"""Repairs in a row that do not put the rules in place."""
RETRY = 5.0


class Next(Enum):
    """What follows a repair."""

    WATCH = "watch"
    CONFLICT = "conflict"
    USELESS = "useless"


class Guard:
    """The guard's schedule and the limits of its repairs."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._checked = now
        self._due = now
        self._repairs: deque[float] = deque()
        self._failures = 0

    def event(self, now: float) -> None:
        """Note that some program changed rules."""
        self._due = min(self._due, max(now + DEBOUNCE, self._checked + GAP))

    def wait(self, now: float) -> float:
        """Return the time until the next check, 0 if it is due."""
        return max(0.0, self._due - now)

    def checked(self, now: float, duration: float, events: bool) -> None:
        """Note a check that ended now, and set the time of the next one.

        Args:
            now: The time.
            duration: The time that the check took.
            events: Whether the kernel reports changes of the rules.
        """
        settling = now - self._started < SETTLING
        poll = POLL_SETTLING if settling else POLL_EVENTS if events else POLL_LEGACY
        self._checked = now
        self._due = now + max(poll, duration / (LOAD_SETTLING if settling else LOAD))

    def soon(self, now: float, seconds: float = GAP) -> None:
        """Check again after some seconds."""
        self._due = now + seconds

    def repaired(self, now: float, in_place: bool) -> Next:
        """Note a repair, and return whether to go on."""
        self._repairs.append(now)
        while now - self._repairs[0] > WINDOW:
            self._repairs.popleft()
        self._failures = 0 if in_place else self._failures + 1
        if self._failures >= FAILURES:
            return Next.USELESS
        if not in_place:
            self.soon(now, RETRY * self._failures)
        return Next.CONFLICT if len(self._repairs) >= REPAIRS else Next.WATCH
