# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events: a JSON line each in the state directory and on standard output (the journal), and counters on disk.

`event_kinds` has the schema. A line is written before `emit` returns, hence before the reply that it reports is sent.
"""

from __future__ import annotations

import json
import math
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from mailgate.event_kinds import FIELDS, KINDS, SCHEMA_VERSION
from mailgate.event_limiter import EventLimiter
from mailgate.event_privacy import AddressHasher
from mailgate.event_spool import Spool
from mailgate.failure_log import FailureLog
from mailgate.metrics.recorder import Recorder
from mailgate.state import COUNTERS, StateFile

# Columns of the report; other events are only logged.
PROCESSED = "processed"
RELAY_REFUSED = "relay_refused"
VIRUS_FOUND = "virus_found"
# Not in the report: messages whose reply was lost from a next hop or to a client (RFC 1047), and duplicates that were
# not delivered again.
ANSWERS_LOST = "answers_lost"
CLIENT_ANSWERS_LOST = "client_answers_lost"
RESENT = "resent"

KEEP_DAYS = 800

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counts (
    minute INTEGER NOT NULL, -- minutes since 1970, UTC
    event TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (minute, event)
) WITHOUT ROWID
"""


def totals(database: sqlite3.Connection, since: float, until: float) -> dict[str, int]:
    """Return the sum of each event from `since` to `until` (seconds since 1970), by minutes that overlap that time."""
    rows = database.execute(
        "SELECT event, SUM(number) FROM counts WHERE minute >= ? AND minute < ? GROUP BY event",
        (int(since // 60), math.ceil(until / 60)),
    )
    return {str(event): int(number) for event, number in rows}


class Counters:
    """Number of events per minute, in `state_dir/events.sqlite`; safe to use from several processes.

    Events are written by `write`, which `later` schedules after the first one: a database transaction for each message
    and each refusal would be a large part of its cost.
    """

    FILE = COUNTERS

    def __init__(
        self,
        state_dir: Path,
        clock: Callable[[], float] = time.time,
        *,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._clock = clock
        self._later = later
        self._due = False
        self._new: Counter[tuple[int, str]] = Counter()
        self._failures = FailureLog("cannot write the counters")
        self._file = StateFile(state_dir / self.FILE, _SCHEMA, self._remove_old)
        try:
            self._file.use()
        except sqlite3.Error as error:
            self._failures.failed(error)

    def _remove_old(self, database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM counts WHERE minute < ?", (int(self._clock()) // 60 - KEEP_DAYS * 1440,))

    def add(self, event: str, number: int = 1) -> None:
        """Count an event."""
        if self._later and not self._due:
            self._due = True
            self._later(self.write)
        self._new[int(self._clock()) // 60, event] += number

    def write(self) -> None:
        """Write the counted events to disk, or keep them for the next call if that fails; never raises."""
        self._due = False
        if not self._new:
            return
        try:
            with self._file.use() as database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany(
                    "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number",
                    [(minute, event, number) for (minute, event), number in self._new.items()],
                )
        except sqlite3.Error as error:
            self._failures.failed(error)
        else:
            self._failures.worked()
            self._new.clear()

    def close(self) -> None:
        """Write the counted events and close the database."""
        self.write()
        self._file.close()


# To look for circles takes a quarter of the time; without it, one is a RecursionError.
_encode = json.JSONEncoder(default=str, check_circular=False).encode
_NOT_IN_JOURNAL = frozenset(name for name, kind in KINDS.items() if not kind.journal)
_WITH_ADDRESSES = frozenset(
    name for name, kind in KINDS.items() if any(FIELDS[field].address for field in (*kind.fields, *kind.optional))
)


class Events:
    """Log events and count those of the report.

    Attributes:
        metrics: Counts events for Prometheus, and takes durations of stages; None if nobody asks for them.
    """

    def __init__(
        self,
        counters: Counters | None,
        out: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """Log to `out`, and to the files of `keep_in`.

        Args:
            counters: Counters of the report.
            out: File for the lines, standard output by default.
            clock: Time of the limits on lines.
            wall_clock: Time of the events, in seconds since 1970.
            later: Runs a function at the end of an interval of the limits; without it, the next event does.
        """
        self._counters = counters
        self._out = out or sys.stdout
        self._limiter = EventLimiter(clock)
        self._wall_clock = wall_clock
        self._later = later
        self._muted = False
        self._hidden = _NOT_IN_JOURNAL
        self._spool: Spool | None = None
        self._hasher: AddressHasher | None = None
        self._spool_failures = FailureLog("cannot write the files of events")
        self.metrics: Recorder | None = None

    def keep_in(
        self, spool: Spool | None, hasher: AddressHasher | None = None, *, addresses_in_journal: bool = True
    ) -> None:
        """Write events to `spool` from now on, with hashed addresses if there is a `hasher`.

        Args:
            spool: Files of events; None for the journal only.
            hasher: Hashes addresses.
            addresses_in_journal: Kinds that have addresses are in the journal too.
        """
        if self._spool:
            self._spool.close()
        self._spool, self._hasher, self._muted = spool, hasher, False
        self._hidden = _NOT_IN_JOURNAL if addresses_in_journal else _NOT_IN_JOURNAL | _WITH_ADDRESSES

    def mute(self) -> None:
        """Write no events until `keep_in` is called."""
        self.keep_in(None)
        self._muted = True

    def emit(self, event: str, **fields: object) -> None:
        """Log one event, within the limits of its kind; never raises, since a full log or disk must not stop mail.

        Args:
            event: A kind of `event_kinds`.
            fields: Its fields; those that are None are omitted.
        """
        if self.metrics is not None:
            self.metrics.record(event, fields)
        limiter = self._limiter
        if limiter.over:
            self.report_suppressed()
        first = not limiter.suppressed
        if limiter.allows(event, fields.get("client")):
            self._write({"event": event, **{k: v for k, v in fields.items() if v is not None}})
        elif first and self._later:
            self._later(self.report_suppressed)

    def report_suppressed(self) -> None:
        """Log how many events of each kind were suppressed, and begin a new interval."""
        for event, number in self._limiter.restart().items():
            self._write({"event": event, "suppressed": number})

    def _write(self, fields: dict[str, object]) -> None:
        shown = fields["event"] not in self._hidden
        spool = self._spool
        if self._muted or not (shown or spool):
            return
        if self._hasher:
            fields = self._hasher.fields(fields)
        try:
            # Only ASCII, with control characters escaped: any field is part of one line.
            line = _encode(fields)
        except (ValueError, TypeError, RecursionError):
            return
        if spool:
            stamped = f'{{"v": {SCHEMA_VERSION}, "time": {self._wall_clock():.3f}, {line[1:]}\n'
            if not spool.append(stamped.encode("ascii")):
                self._spool_failed(spool)
            elif spool.lost:
                self._spool_works(spool)
        if shown:
            self._print(line)

    def _print(self, line: str) -> None:
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except (OSError, ValueError):
            pass

    def _spool_failed(self, spool: Spool) -> None:
        self._spool_failures.failed(OSError(spool.reason))
        if spool.lost == 1:
            self._print(_encode({"event": "state_failed", "name": "events", "reason": spool.reason}))

    def _spool_works(self, spool: Spool) -> None:
        lost, spool.lost = spool.lost, 0
        self._spool_failures.worked()
        self._write({"event": "state_restored", "name": "events", "lost": lost})

    def count(self, event: str, number: int = 1) -> None:
        """Add to a counter of the report."""
        if self._counters:
            self._counters.add(event, number)
        if self.metrics is not None:
            self.metrics.count(event, number)

    def close(self) -> None:
        """Log how many events were suppressed, and close the file."""
        self.report_suppressed()
        self.keep_in(None)
