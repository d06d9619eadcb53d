# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate index`: adds new events to the index. When it is slow, fails or is stopped, mail and events go on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mailgate.event_index.store import EventStore, StoreError
from mailgate.event_index.terms import Event
from mailgate.event_spool import Segment, read_lines, segments
from mailgate.failure_log import FailureLog
from mailgate.state import EVENTS

log = logging.getLogger("mailgate")

POLL_SECONDS = 1.0
PRUNE_SECONDS = 600.0
# After a failure; doubled by each further one.
RETRY_SECONDS = 10.0
MAX_RETRY_SECONDS = 60.0
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

    def __init__(self, state_dir: Path, store: EventStore, clock: Callable[[], float] = time.time) -> None:
        self._directory = state_dir / EVENTS
        self._store = store
        self._clock = clock
        self._positions: dict[str, int] = {}
        # Of the files at the last look: size, and how much of it the store was last known to have.
        self._sizes: dict[str, int] = {}
        self._indexed: dict[str, int] = {}
        self._pruned_at = float("-inf")
        self.skipped = 0
        self.removed_bytes = 0

    def step(self) -> int:
        """Add what is new, and remove what is old; return the number of events added.

        Raises:
            StoreError: The store failed.
            OSError: The files of events cannot be read.
        """
        added = 0
        now = self._clock()
        present = segments(self._directory)
        # Before the store is asked, which may fail.
        self._note_removed(present)
        if abs(now - self._pruned_at) >= PRUNE_SECONDS:
            self._pruned_at = now
            self._store.prune(now)
        self._positions = {each.name: self._positions[each.name] for each in present if each.name in self._positions}
        for segment in present:
            if segment.name not in self._positions:
                if self._store.is_removed(segment.day):
                    self._indexed[segment.name] = segment.size
                    continue
                self._move(segment.name, self._store.position(segment.day, segment.name))
            while segment.size > self._positions[segment.name]:
                number = self._add(segment.day, segment.name)
                if number < 0:
                    break
                added += number
        return added

    def sum_up(self) -> bool:
        """Add up a day that is over, when there is nothing to index; return whether there was one; see `step`."""
        try:
            return self._store.sum_up(self._clock())
        except StoreError:
            # As in `_add`.
            self._positions.clear()
            raise

    def _move(self, name: str, position: int) -> None:
        self._positions[name] = self._indexed[name] = position

    def _note_removed(self, present: Sequence[Segment]) -> None:
        """Report files that are gone although the store does not have all of them."""
        names = {each.name for each in present}
        gone = self._sizes.keys() - names
        if removed := sum(max(0, self._sizes[name] - self._indexed.get(name, 0)) for name in gone):
            self.removed_bytes += removed
            log.error(
                "events were removed before they were indexed, because they reached events.max_bytes or events.days:"
                " %d bytes, %d since the start",
                removed,
                self.removed_bytes,
            )
        self._sizes = {each.name: each.size for each in present}
        self._indexed = {name: position for name, position in self._indexed.items() if name in names}

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
        try:
            added = self._store.add(day, events, name, start, position)
        except StoreError:
            # Another position if the file of the day is built again.
            self._positions.clear()
            raise
        if not added:
            # Another process was here.
            self._move(name, self._store.position(day, name))
            return 0
        self._move(name, position)
        self.skipped += len(lines) - len(events)
        return len(events)


def follow(follower: Follower, stopped: Callable[[float], bool]) -> None:
    """Run until `stopped`, which waits for so many seconds at most, returns True."""
    failures = FailureLog("cannot index events")
    pause = 0.0
    while not stopped(pause):
        try:
            worked = follower.step() or follower.sum_up()
        except (StoreError, OSError) as error:
            failures.failed(error)
            pause = min(max(RETRY_SECONDS, 2 * pause), MAX_RETRY_SECONDS)
        else:
            failures.worked()
            pause = 0.0 if worked else POLL_SECONDS


def unindexed(state_dir: Path, store: EventStore, max_bytes: int) -> tuple[list[Event], int]:
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


def bytes_behind(state_dir: Path, store: EventStore) -> int:
    """Return the size of the events that are not in the index yet."""
    positions: dict[str, dict[str, int]] = {}
    behind = 0
    for segment in segments(state_dir / EVENTS):
        if segment.day not in positions:
            positions[segment.day] = store.positions(segment.day)
        if not store.is_removed(segment.day):
            behind += max(0, segment.size - positions[segment.day].get(segment.name, 0))
    return behind
