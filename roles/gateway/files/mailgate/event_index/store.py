# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of indexed events: an interface, and the store in the state directory, one SQLite file per day."""

from __future__ import annotations

import contextlib
import math
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from mailgate.errors import Failure
from mailgate.event_index.query import Query
from mailgate.event_index.shard import MAX_TIME, Shard, time_of
from mailgate.event_index.terms import Event, term
from mailgate.event_spool import expired
from mailgate.state import EVENT_INDEX, create_directory

T = TypeVar("T")

_NAME = re.compile(r"(\d{8})\.sqlite")
# Files that a reader has open.
MAX_OPEN = 32
# A day is added up this long after its end: events are written, and indexed, after their time.
SETTLE_SECONDS = 3600
# Keys of a dimension that are read of a day by default, the most frequent.
MAX_KEYS = 20_000
_NOT_DAMAGE = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InternalError,
    sqlite3.NotSupportedError,
    sqlite3.OperationalError,
    sqlite3.ProgrammingError,
)
_SUFFIXES = ("", "-wal", "-shm")
_DAMAGED = ".damaged"
# Days at or before the one in this file were removed for their size; their files of events are not read again.
_FLOOR = "removed_until"


class StoreError(Failure):
    """The store cannot be read or written; the message says why."""


class EventStore(Protocol):
    """Store of events; every method raises StoreError on failure."""

    def position(self, day: str, name: str) -> int:
        """Return how far a file of events has been added, in bytes."""

    def positions(self, day: str) -> dict[str, int]:
        """Return how far each file of events of a day has been added, in bytes."""

    def is_removed(self, day: str) -> bool:
        """Return whether a day was removed for good, so that its files are not added again."""

    def add(self, day: str, events: Sequence[tuple[Event, bytes]], name: str, start: int, end: int) -> bool:
        """Add events of a day (YYYYMMDD, UTC) with their lines, the bytes `start` to `end` of the file `name`.

        Events and position are stored together or not at all.

        Returns:
            Whether they were added: not if the file had not been added up to `start`.
        """

    def days(self) -> list[str]:
        """Return the indexed days (YYYYMMDD, UTC), newest first."""

    def find(self, query: Query) -> list[Event]:
        """Return the events that meet the criteria, newest first."""

    def of(self, number: str) -> list[Event]:
        """Return the events with an id, queue id or Message-ID, by time."""

    def hourly(self, dimension: str, since: float, until: float) -> Iterator[tuple[int, str, int]]:
        """Yield hour (since 1970), key and number of a dimension of `facts`."""

    def sums(self, dimension: str, since: float, until: float, limit: int = MAX_KEYS) -> Counter[str]:
        """Return the sum of each key of a dimension of `facts`; of more than `limit` in a day, rare ones miss."""

    def sum_up(self, now: float) -> bool:
        """Add up the facts of a day that is over, so that reports read less; return whether there was one to do."""

    def prune(self, now: float) -> None:
        """Remove days that are too old, and the oldest until the rest is small enough."""

    def close(self) -> None:
        """Close the store."""


class DailyStore:
    """Store in `state_dir/event_index`.

    Args:
        state_dir: The state directory.
        days: Age in days at which events are removed.
        max_bytes: Size of all files.
        read_only: Only read; a damaged day is skipped.
        note: Receives a line for each day that is damaged.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        days: int = 3650,
        max_bytes: int = 1 << 60,
        read_only: bool = False,
        note: Callable[[str], object] = lambda _line: None,
    ) -> None:
        self._directory = state_dir / EVENT_INDEX
        self._days = days
        self._max_bytes = max_bytes
        self._note = note
        self._open: dict[str, Shard] = {}
        # Files that are being read: a report asks each of them for a dozen sums.
        self._readers: dict[Path, Shard] = {}
        # Days that are added up, and the day before which none is left.
        self._summed: set[str] = set()
        self._summed_until = ""
        if not read_only:
            try:
                create_directory(self._directory)
            except OSError as error:
                raise StoreError(f"{self._directory}: {error.strerror or error}") from error

    # Writing

    def is_removed(self, day: str) -> bool:
        """See EventStore; a day is removed for good for its size."""
        try:
            return day <= (self._directory / _FLOOR).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return False

    def position(self, day: str, name: str) -> int:
        """See EventStore."""
        return self._on(day, lambda shard: shard.position(name))

    def add(self, day: str, events: Sequence[tuple[Event, bytes]], name: str, start: int, end: int) -> bool:
        """See EventStore."""
        self._summed.discard(day)
        if day < self._summed_until:
            self._summed_until = ""
        return self._on(day, lambda shard: shard.add(events, name, start, end))

    def sum_up(self, now: float) -> bool:
        """See EventStore."""
        last = _day(now - SETTLE_SECONDS)
        if last == self._summed_until:
            return False
        for day in self.days():
            if day < last and day not in self._summed:
                done = self._on(day, Shard.sum_up)
                self._summed.add(day)
                if done:
                    return True
        self._summed_until = last
        return False

    def _on(self, day: str, work: Callable[[Shard], T]) -> T:
        """Do something with the file of a day; set a damaged one aside, so that it is built again.

        Raises:
            StoreError: It failed; the next attempt may work.
        """
        path = self._directory / f"{day}.sqlite"
        try:
            shard = self._open.get(day)
            if shard is None:
                self._close_all_but(day)
                shard = self._open[day] = Shard(path)
            return work(shard)
        except sqlite3.Error as error:
            self._close(day)
            # Its subclasses are about a statement or the system; the class itself is about the file.
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _NOT_DAMAGE):
                self._note(f"{path} is damaged and is built again: {error}")
                self._set_aside(path)
            raise StoreError(f"{path}: {error}") from error

    def _close_all_but(self, day: str) -> None:
        for other in [each for each in self._open if each != day]:
            self._close(other)

    def _close(self, day: str) -> None:
        shard = self._open.pop(day, None)
        if shard:
            with contextlib.suppress(sqlite3.Error):
                shard.close()

    def _set_aside(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.replace(path.with_name(path.name + _DAMAGED))
            for suffix in _SUFFIXES[1:]:
                path.with_name(path.name + suffix).unlink(missing_ok=True)

    def prune(self, now: float) -> None:
        """See EventStore."""
        try:
            sizes = self._sizes()
            old = expired(sizes, self._days, now)
            total = sum(sizes.values())
            for day in sorted(sizes):
                if day not in old and (total <= self._max_bytes or len(sizes) == 1):
                    continue
                self._close(day)
                total -= sizes.pop(day)
                for suffix in (*_SUFFIXES, _DAMAGED):
                    (self._directory / f"{day}.sqlite{suffix}").unlink(missing_ok=True)
                if day not in old:
                    # Afterwards, when a full disk has room for it.
                    self._set_floor(day)
        except OSError as error:
            raise StoreError(f"{self._directory}: {error.strerror or error}") from error

    def _set_floor(self, day: str) -> None:
        new = self._directory / f".{_FLOOR}.new"
        new.write_text(day, encoding="ascii")
        new.replace(self._directory / _FLOOR)

    def _sizes(self) -> dict[str, int]:
        """Return the size of each day in bytes."""
        sizes: dict[str, int] = {}
        for path in self._directory.iterdir():
            day = path.name[:8]
            if path.name.startswith(f"{day}.sqlite") and day.isdigit():
                with contextlib.suppress(FileNotFoundError):
                    sizes[day] = sizes.get(day, 0) + path.stat().st_size
        return sizes

    def close(self) -> None:
        """See EventStore."""
        self._close_all_but("")
        self._close_readers()

    def _close_readers(self) -> None:
        while self._readers:
            _path, shard = self._readers.popitem()
            with contextlib.suppress(sqlite3.Error):
                shard.close()

    # Reading

    def days(self) -> list[str]:
        """See EventStore."""
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self._directory}: {error.strerror or error}") from error
        return sorted((match[1] for name in names if (match := _NAME.fullmatch(name))), reverse=True)

    def positions(self, day: str) -> dict[str, int]:
        """See EventStore; nothing if that is unknown."""
        path = self._directory / f"{day}.sqlite"
        if not path.exists():
            return {}
        try:
            shard = Shard(path, read_only=True)
            try:
                return shard.positions()
            finally:
                shard.close()
        except sqlite3.Error:
            return {}

    def _shards(self, since: float = 0, until: float = math.inf) -> Iterator[Shard]:
        """Yield the files that can be read and may have events of a time, newest first."""
        # An event is written a moment after its time, so it may be in the file of the next day.
        first, last = _day(since), _day(until + 86400)
        for day in self.days():
            if not first <= day <= last:
                continue
            path = self._directory / f"{day}.sqlite"
            try:
                yield self._reader(path)
            except sqlite3.Error as error:
                self._note(f"{path}: skipped: {error}")

    def _reader(self, path: Path) -> Shard:
        """Return a file opened to be read; files are open until the store is closed, not more than MAX_OPEN."""
        if path not in self._readers:
            if len(self._readers) >= MAX_OPEN:
                self._close_readers()
            self._readers[path] = Shard(path, read_only=True)
        return self._readers[path]

    def _read(self, work: Callable[[Shard], Iterator[T]], since: float = 0, until: float = math.inf) -> Iterator[T]:
        """Yield what `work` yields of each day of a time; the rest of a damaged day is skipped with a note."""
        for shard in self._shards(since, until):
            try:
                yield from work(shard)
            except sqlite3.Error as error:
                self._note(f"{shard.path}: skipped: {error}")

    def find(self, query: Query) -> list[Event]:
        """See EventStore."""
        found: list[Event] = []
        for event in self._read(lambda shard: shard.find(query)):
            found.append(event)
            if len(found) >= query.limit:
                break
        return sorted(found, key=time_of, reverse=True)

    def of(self, number: str) -> list[Event]:
        """See EventStore."""
        wanted = term("number", number)
        return sorted(self._read(lambda shard: iter(shard.with_term(wanted))), key=time_of)

    def hourly(self, dimension: str, since: float, until: float) -> Iterator[tuple[int, str, int]]:
        """See EventStore."""
        return self._read(lambda shard: shard.hourly(dimension, since, until), since, until)

    def sums(self, dimension: str, since: float, until: float, limit: int = MAX_KEYS) -> Counter[str]:
        """See EventStore."""
        found: Counter[str] = Counter()
        for key, number in self._read(lambda shard: shard.sums(dimension, since, until, limit), since, until):
            found[key] += number
        return found


def _day(moment: float) -> str:
    """Return the day (YYYYMMDD, UTC) of a time in seconds since 1970; the last one if it is too large."""
    if not 0 <= moment < MAX_TIME:
        return "0" if moment < 0 else "99999999"
    return time.strftime("%Y%m%d", time.gmtime(moment))
