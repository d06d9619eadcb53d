# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Index of one day: an SQLite file, which is removed as a whole when it is too old.

| table | content |
|---|---|
| `events` | each event, compressed, in the order in which it was read |
| `terms` | by term, the events that have it |
| `batches` | first and last event and time of each transaction, to find the events of a time |
| `facts` | what reports count, per hour |
| `sums`, `summed` | the same of the whole day, and the last event that is counted in it; made when the day is over |
| `progress` | how far each file of events has been read; written with the events, so each is indexed once |
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mailgate.event_index.facts import facts_of
from mailgate.event_index.query import Query
from mailgate.event_index.terms import Event, terms_of
from mailgate.state import open_read_only

VERSION = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS terms (term INTEGER, seq INTEGER, PRIMARY KEY (term, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (first INTEGER PRIMARY KEY, last INTEGER, start REAL, end REAL);
CREATE TABLE IF NOT EXISTS facts (
    hour INTEGER, dimension TEXT, key TEXT, number INTEGER, PRIMARY KEY (hour, dimension, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sums (
    dimension TEXT, number INTEGER, key TEXT, PRIMARY KEY (dimension, number DESC, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS summed (seq INTEGER);
CREATE TABLE IF NOT EXISTS progress (name TEXT PRIMARY KEY, position INTEGER) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
# The hours of a range that have facts, each found by a step in the primary key: a range of hours would make SQLite read
# all dimensions.
_OF_HOURS = """
WITH RECURSIVE bounds(since, until) AS (VALUES (?, ?)), hours(each) AS (
    SELECT min(hour) FROM facts WHERE hour >= (SELECT since FROM bounds) AND hour < (SELECT until FROM bounds)
    UNION ALL
    SELECT (SELECT min(hour) FROM facts WHERE hour > each AND hour < (SELECT until FROM bounds))
    FROM hours WHERE each IS NOT NULL
)
"""
_FACTS = "FROM hours CROSS JOIN facts ON hour = each AND dimension = ?"
# A file of an earlier version has no sums.
_SUMMED = """
SELECT (SELECT seq FROM summed) = (SELECT max(seq) FROM events)
AND (SELECT min(hour) FROM facts) >= ? AND (SELECT max(hour) FROM facts) < ?
"""
_CACHE_KIB = 16 * 1024
# Alternatives of a criterion of which the rarest is searched for are counted up to this number.
_COUNTED = 2000
# Events of one id that are read.
MAX_EVENTS = 10_000
# In the year 5138.
MAX_TIME = 1e11
# What events have in common; changing it makes a new VERSION necessary.
_DICTIONARY = b"".join(
    (
        b'"event": "connection", "messages": 1, "refused": 0, "errors": 0, "event": "hop_refused", ',
        b'"event": "recipient_refused", "rule": "event": "relay_refused", "reply": "550 5.7.1 Relaying denied"}',
        b'"reply": "550 5.1.1 "event": "queued", "event": "delivered", "next_hop": "[198.18."verified": "cache"}',
        b'"event": "recipient", "verified": "server", "next_hops": "queue_id": "message_id": "<"subject": ',
        b'"queued": 1, "delivered": 1, "seconds": 0.0{"v": 1, "time": 17, "event": "message", "id": "19", ',
        b'"session": "19", "client": "198.18.", "helo": "mail.", "sender": "", ',
        b'"recipients": ["@univ.example"], "size": ',
        b'"reply": "250 2.0.0 Message accepted as 19',
    )
)


def pack(line: bytes) -> bytes:
    """Return a line compressed."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, zdict=_DICTIONARY)
    return packer.compress(line) + packer.flush()


def unpack(body: bytes) -> Event:
    """Return the event of a compressed line; raise ValueError or zlib.error."""
    found = json.loads(zlib.decompressobj(-15, zdict=_DICTIONARY).decompress(body))
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


class Shard:
    """The index of one day; all methods raise sqlite3.Error on failure."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        if read_only:
            self._database = open_read_only(path)
            return
        self._database = sqlite3.connect(path, timeout=10, isolation_level=None)
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            # After a power failure, the last events are read again: they are in the files.
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            version = int(self._database.execute("PRAGMA user_version").fetchone()[0])
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"{path} is of another version")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Writing

    def position(self, name: str) -> int:
        """Return how far a file of events has been read, in bytes."""
        row = self._database.execute("SELECT position FROM progress WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def positions(self) -> dict[str, int]:
        """Return how far each file of events has been read, in bytes."""
        return {str(name): int(position) for name, position in self._database.execute("SELECT * FROM progress")}

    def add(self, events: Sequence[tuple[Event, bytes]], name: str, start: int, end: int) -> bool:
        """Add parsed events with their lines, and note that the file `name` has been read up to `end`.

        Returns:
            Whether they were added: not if the file had not been read up to `start`.
        """
        database = self._database
        facts: Counter[tuple[int, str, str]] = Counter()
        terms: list[tuple[int, int]] = []
        with database:
            database.execute("BEGIN IMMEDIATE")
            if self.position(name) != start:
                return False
            first = int(database.execute("SELECT coalesce(max(seq), 0) + 1 FROM events").fetchone()[0])
            for seq, (event, _line) in enumerate(events, first):
                terms += [(each, seq) for each in terms_of(event)]
                hour = int(time_of(event) // 3600)
                for dimension, key, number in facts_of(event):
                    facts[hour, dimension, key] += number
            database.executemany(
                "INSERT INTO events VALUES (?, ?)",
                ((seq, pack(line)) for seq, (_event, line) in enumerate(events, first)),
            )
            # Sorted, so that neighbours are on the same page.
            terms.sort()
            database.executemany("INSERT OR IGNORE INTO terms VALUES (?, ?)", terms)
            database.executemany(
                "INSERT INTO facts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number",
                ((*key, number) for key, number in sorted(facts.items())),
            )
            if events:
                times = [time_of(event) for event, _line in events]
                database.execute(
                    "INSERT INTO batches VALUES (?, ?, ?, ?)", (first, first + len(events) - 1, min(times), max(times))
                )
            database.execute(
                "INSERT INTO progress VALUES (?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
                (name, end),
            )
        return True

    def sum_up(self) -> bool:
        """Add up the facts of the day; return whether there was anything new."""
        database = self._database
        with database:
            database.execute("BEGIN IMMEDIATE")
            last, summed = database.execute("SELECT (SELECT max(seq) FROM events), (SELECT seq FROM summed)").fetchone()
            if last == summed:
                return False
            database.execute("DELETE FROM sums")
            database.execute("INSERT INTO sums SELECT dimension, sum(number), key FROM facts GROUP BY dimension, key")
            database.execute("DELETE FROM summed")
            database.execute("INSERT INTO summed VALUES (?)", (last,))
        return True

    # Reading

    def find(self, query: Query) -> Iterator[Event]:
        """Yield the events that meet the criteria, newest first."""
        first, last = self._range(query)
        if last < first:
            return
        hashes = sorted(query.hashes, key=lambda each: self._count(each, first, last))
        conditions = " AND ".join(
            f"EXISTS (SELECT 1 FROM terms o WHERE o.term IN ({_marks(each)}) AND o.seq = t.seq)"  # noqa: S608
            for each in hashes[1:]
        )
        # One sorted list for each alternative; sqlite merges them.
        lists = " UNION ALL ".join(
            f"SELECT t.seq AS seq FROM terms t WHERE t.term = ? AND t.seq BETWEEN {first} AND {last}"  # noqa: S608
            + (f" AND {conditions}" if conditions else "")
            for _each in hashes[0]
        )
        others = [each for alternatives in hashes[1:] for each in alternatives]
        values = [value for each in hashes[0] for value in (each, *others)]
        seen = 0
        last_seq = -1
        for (seq,) in self._database.execute(f"{lists} ORDER BY seq DESC", values):
            if seq == last_seq:
                continue
            last_seq = seq
            event = self._event(seq)
            if event is not None and query.since <= time_of(event) < query.until:
                yield event
                seen += 1
                if seen >= query.limit:
                    return

    def _range(self, query: Query) -> tuple[int, int]:
        """Return the first and last event that may be of the query's time."""
        row = self._database.execute(
            "SELECT min(first), max(last) FROM batches WHERE end >= ? AND start < ?", (query.since, query.until)
        ).fetchone()
        return (int(row[0]), int(row[1])) if row and row[0] is not None else (1, 0)

    def _count(self, alternatives: Sequence[int], first: int, last: int) -> int:
        row = self._database.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM terms WHERE term IN ({_marks(alternatives)})"  # noqa: S608
            f" AND seq BETWEEN {first} AND {last} LIMIT {_COUNTED})",
            alternatives,
        ).fetchone()
        return int(row[0])

    def with_term(self, term: int) -> list[Event]:
        """Return the events that have a term, in the order in which they were written."""
        rows = self._database.execute(
            "SELECT seq FROM terms WHERE term = ? ORDER BY seq LIMIT ?", (term, MAX_EVENTS)
        ).fetchall()
        return [event for (seq,) in rows if (event := self._event(seq)) is not None]

    def _event(self, seq: int) -> Event | None:
        row = self._database.execute("SELECT body FROM events WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            return None
        try:
            return unpack(row[0])
        except (ValueError, zlib.error):
            return None

    def hourly(self, dimension: str, since: float, until: float) -> Iterator[tuple[int, str, int]]:
        """Yield hour (since 1970), key and number of a dimension, of the hours that overlap `since` to `until`."""
        yield from self._database.execute(
            f"{_OF_HOURS} SELECT hour, key, number {_FACTS}", (*hours_of(since, until), dimension)
        )

    def sums(self, dimension: str, since: float, until: float, limit: int) -> Iterator[tuple[str, int]]:
        """Yield key and sum of a dimension in these hours, the largest first."""
        hours = hours_of(since, until)
        if self._is_summed(hours):
            yield from self._database.execute(
                "SELECT key, number FROM sums WHERE dimension = ? ORDER BY number DESC LIMIT ?", (dimension, limit)
            )
            return
        yield from self._database.execute(
            f"{_OF_HOURS} SELECT key, sum(number) {_FACTS} GROUP BY key ORDER BY 2 DESC LIMIT ?",
            (*hours, dimension, limit),
        )

    def _is_summed(self, hours: tuple[int, int]) -> bool:
        """Return whether the sums of the day are complete and all of its facts are of these hours."""
        try:
            row = self._database.execute(_SUMMED, hours).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            raise
        return bool(row[0])


def time_of(event: Event) -> float:
    """Return the time of an event in seconds since 1970, 0 if it has none."""
    when = event.get("time")
    return float(when) if isinstance(when, int | float) and 0 <= when < MAX_TIME else 0.0


def hours_of(since: float, until: float) -> tuple[int, int]:
    """Return the first hour (since 1970) that overlaps `since` to `until`, and that behind the last one."""
    return int(since // 3600), -int(-until // 3600)


def _marks(values: Iterable[object]) -> str:
    return ",".join("?" for _value in values)
