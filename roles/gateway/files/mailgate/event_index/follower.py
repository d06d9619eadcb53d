# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate index`: adds new events to the index. When it is slow, fails or is stopped, mail and events go on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from mailgate.event_index.store import DailyStore, StoreError
from mailgate.event_index.terms import Event
from mailgate.event_spool import read_lines, segments
from mailgate.failure_log import FailureLog
from mailgate.state import EVENTS

log = logging.getLogger("mailgate")

POLL_SECONDS = 1.0
PRUNE_SECONDS = 600.0
# After a failure.
RETRY_SECONDS = 10.0
# Bytes of events in one transaction.
BATCH_BYTES = 1 << 20


def parse(line: bytes) -> Event | None:
    """Return the event in a line, None if it is not one."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


class Follower:
    """Reads the files of events and adds what is new to a store.

    Args:
        state_dir: The state directory.
        store: The store.
        clock: Time in seconds since 1970.
    """

    def __init__(self, state_dir: Path, store: DailyStore, clock: Callable[[], float] = time.time) -> None:
        self._directory = state_dir / EVENTS
        self._store = store
        self._clock = clock
        self._positions: dict[str, int] = {}
        self._pruned_at = float("-inf")
        self.skipped = 0

    def step(self) -> int:
        """Add what is new, and remove what is old; return the number of events added.

        Raises:
            StoreError: The store failed.
            OSError: The files of events cannot be read.
        """
        added = 0
        now = self._clock()
        if abs(now - self._pruned_at) >= PRUNE_SECONDS:
            self._pruned_at = now
            self._store.prune(now)
        present = segments(self._directory)
        self._positions = {each.name: self._positions[each.name] for each in present if each.name in self._positions}
        for segment in present:
            if segment.name not in self._positions:
                if self._store.is_removed(segment.day):
                    continue
                self._positions[segment.name] = self._store.position(segment.day, segment.name)
            while segment.size > self._positions[segment.name]:
                number = self._add(segment.day, segment.name)
                if number < 0:
                    break
                added += number
        return added

    def _add(self, day: str, name: str) -> int:
        """Add the next lines of a file; return the number of events, -1 if there is no complete line."""
        start = self._positions[name]
        try:
            lines, position = read_lines(self._directory / name, start, BATCH_BYTES)
        except FileNotFoundError:
            return -1
        if position == start:
            return -1
        events = [(event, line) for line in lines if (event := parse(line)) is not None]
        self.skipped += len(lines) - len(events)
        try:
            self._store.add(day, events, name, position)
        except StoreError:
            # Another position if the file of the day is built again.
            self._positions.clear()
            raise
        self._positions[name] = position
        return len(events)


def follow(follower: Follower, stopped: Callable[[float], bool]) -> None:
    """Run until `stopped`, which waits for so many seconds at most, returns True."""
    failures = FailureLog("cannot index events")
    pause = 0.0
    while not stopped(pause):
        try:
            added = follower.step()
        except (StoreError, OSError) as error:
            failures.failed(error)
            pause = RETRY_SECONDS
        else:
            failures.worked()
            pause = 0.0 if added else POLL_SECONDS


def unindexed(state_dir: Path, store: DailyStore, max_bytes: int) -> tuple[list[Event], int]:
    """Return events that are not in the index yet, and how many bytes beyond `max_bytes` were not read."""
    found: list[Event] = []
    left = 0
    positions: dict[str, int] = {}
    day = ""
    for segment in segments(state_dir / EVENTS):
        if segment.day != day:
            day = segment.day
            positions = store.positions(day)
        position = positions.get(segment.name, 0)
        if segment.size <= position or store.is_removed(segment.day):
            continue
        while position < segment.size and max_bytes > 0:
            lines, end = read_lines(state_dir / EVENTS / segment.name, position, BATCH_BYTES)
            if end == position:
                break
            found += (event for line in lines if (event := parse(line)) is not None)
            max_bytes -= end - position
            position = end
        left += max(0, segment.size - position) if max_bytes <= 0 else 0
    return found, left


def bytes_behind(state_dir: Path, store: DailyStore) -> int:
    """Return the size of the events that are not in the index yet."""
    positions: dict[str, dict[str, int]] = {}
    behind = 0
    for segment in segments(state_dir / EVENTS):
        if segment.day not in positions:
            positions[segment.day] = store.positions(segment.day)
        if not store.is_removed(segment.day):
            behind += max(0, segment.size - positions[segment.day].get(segment.name, 0))
    return behind
