# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of indexed events in a PostgreSQL, for all gateways; the schema is in files/event_database of the role.

Events are found of all gateways. Counted are those of one, so that the reports of all gateways can be added up.
"""

from __future__ import annotations

import calendar
import json
import math
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mailgate.event_index.database import Database
from mailgate.event_index.facts import DIMENSIONS, facts_of
from mailgate.event_index.query import Query
from mailgate.event_index.shard import MAX_EVENTS, MAX_TIME, hours_of, pack, time_of, unpack
from mailgate.event_index.store import MAX_KEYS, SETTLE_SECONDS
from mailgate.event_index.terms import Event, term, terms_of
from mailgate.event_settings import EventDatabase
from mailgate.event_spool import day_of, expired

# Bits of an event's number below the seconds of its time: of the gateway, and of the gateway's counter.
_GATEWAY_BITS = 6
_COUNTER_BITS = 24
_SHIFT = _GATEWAY_BITS + _COUNTER_BITS
_MAX_SECONDS = (1 << 33) - 1
_MAX_HOUR = (1 << 31) - 1
_DAY = 86400
_DAY_HOURS = 24
# Alternatives of a criterion of which the rarest is searched for are counted up to this number.
_COUNTED = 2000
# Events of a search that are read at once, at least.
_PAGE = 100


class PostgresStore:
    """Store in the PostgreSQL of `[event_database]`.

    Args:
        settings: Section `[event_database]`.
        gateway: Host name of this gateway.
        days: Age in days at which events are removed, by whole months.
        timeout: Seconds to wait for an answer; the settings' by default.
        read_only: Only read.
    """

    def __init__(
        self,
        settings: EventDatabase,
        gateway: str,
        *,
        days: int = 3650,
        timeout: float | None = None,
        read_only: bool = False,
    ) -> None:
        self._database = Database(settings, timeout=timeout, searches=read_only)
        self._gateway = gateway
        self._days = days
        self._months: set[str] = set()
        # The day before which none is left to add up.
        self._summed_until = ""
        # What a reader has asked for: of each day the positions, and the first day that is not removed.
        self._read_only = read_only
        self._snapshot: tuple[dict[str, dict[str, int]], str] | None = None

    def close(self) -> None:
        """See EventStore."""
        self._database.close()

    # Writing

    def is_removed(self, day: str) -> bool:
        """See EventStore."""
        return day < self._progress(day)[1]

    def position(self, day: str, name: str) -> int:
        """See EventStore."""
        return self.positions(day).get(name, 0)

    def positions(self, day: str) -> dict[str, int]:
        """See EventStore; a reader gets what was stored when it asked first."""
        return self._progress(day)[0].get(day, {})

    def _progress(self, day: str) -> tuple[dict[str, dict[str, int]], str]:
        """Return positions by day and file, and the first day that is not removed; to a writer only those of `day`."""
        if self._snapshot:
            return self._snapshot
        rows = self._database.run(
            "SELECT r.before, p.day, p.name, p.position FROM removed r LEFT JOIN (positions p JOIN gateways g"
            " ON g.number = p.gateway AND g.name = :gateway) ON CAST(:day AS text) IN ('', p.day)",
            gateway=self._gateway,
            day="" if self._read_only else day,
        )
        found: dict[str, dict[str, int]] = {}
        for _before, each, name, position in rows:
            if each is not None:
                found.setdefault(str(each), {})[str(name)] = int(position)
        progress = found, str(rows[0][0])
        if self._read_only:
            self._snapshot = progress
        return progress

    def add(self, day: str, events: Sequence[tuple[Event, bytes]], name: str, start: int, end: int) -> bool:
        """See EventStore."""
        moments = [_moment(event, day) for event, _line in events]
        with self._database.transaction():
            # Locks out another process of this gateway until the end of the transaction.
            number, counter = self._take_numbers(len(events))
            if not self._move(number, day, name, start, end):
                self._database.run("ROLLBACK")
                return False
            self._create_months({_month(moment) for moment in moments})
            numbers = [_number(moment, number, counter + each) for each, moment in enumerate(moments)]
            self._database.copy("events", _event_lines(numbers, events))
            self._database.copy("terms", _term_lines(numbers, events))
            self._count_facts(number, moments, events)
            self._forget_sums(number, moments)
        return True

    def _take_numbers(self, wanted: int) -> tuple[int, int]:
        """Return the number of this gateway, and the counter's value for the first of so many events."""
        statement = (
            "UPDATE gateways SET counter = counter + :wanted WHERE name = :name RETURNING number, counter - :wanted"
        )
        for _attempt in range(2):
            rows = self._database.run(statement, wanted=wanted, name=self._gateway)
            if rows:
                break
            self._database.run("LOCK TABLE gateways IN SHARE ROW EXCLUSIVE MODE")
            self._database.run(
                "INSERT INTO gateways (number, name) SELECT coalesce(max(number) + 1, 0), :name FROM gateways"
                " ON CONFLICT (name) DO NOTHING",
                name=self._gateway,
            )
        return int(rows[0][0]), int(rows[0][1])

    def _move(self, number: int, day: str, name: str, start: int, end: int) -> bool:
        """Note that a file has been read up to `end`; return whether it had been up to `start`."""
        values = {"gateway": number, "day": day, "name": name}
        if start:
            moved = self._database.run(
                "UPDATE positions SET position = :end WHERE gateway = :gateway AND day = :day AND name = :name"
                " AND position = :start RETURNING 1",
                **values,
                start=start,
                end=end,
            )
        else:
            moved = self._database.run(
                "INSERT INTO positions VALUES (:gateway, :day, :name, :end) ON CONFLICT DO NOTHING RETURNING 1",
                **values,
                end=end,
            )
        return bool(moved)

    def _create_months(self, months: set[str]) -> None:
        if missing := sorted(months - self._months):
            self._database.run("SELECT create_months(CAST(:months AS text[]))", months=missing)
            # Another gateway may drop one.
            self._months = months

    def _count_facts(self, gateway: int, moments: Sequence[int], events: Sequence[tuple[Event, bytes]]) -> None:
        facts: Counter[tuple[str, int, str]] = Counter()
        for moment, (event, _line) in zip(moments, events, strict=True):
            for dimension, key, number in facts_of(event):
                # PostgreSQL has no NUL in texts.
                facts[dimension, moment // 3600, key.replace("\0", "\N{REPLACEMENT CHARACTER}")] += number
        if facts:
            # As JSON: the library writes arrays in which the text NULL would be no text.
            rows = [
                {"dimension": dimension, "hour": hour, "key": key, "number": number}
                for (dimension, hour, key), number in sorted(facts.items())
            ]
            self._database.run(
                "INSERT INTO facts (dimension, hour, key, gateway, number)"
                " SELECT dimension, hour, key, :gateway, number FROM json_to_recordset(CAST(:rows AS json))"
                " AS new(dimension text, hour integer, key text, number bigint)"
                " ON CONFLICT (dimension, hour, key, gateway) DO UPDATE SET number = facts.number + excluded.number",
                gateway=gateway,
                rows=json.dumps(rows, ensure_ascii=False),
            )

    def _forget_sums(self, gateway: int, moments: Sequence[int]) -> None:
        """Remove the sums of days that have new facts."""
        days = sorted({moment // _DAY for moment in moments})
        values = {"gateway": gateway, "days": days}
        where = "WHERE gateway = :gateway AND day = ANY(CAST(:days AS integer[]))"
        if self._database.run(f"DELETE FROM summed_days {where} RETURNING 1", **values):  # noqa: S608
            self._database.run(f"DELETE FROM day_sums {where}", **values)  # noqa: S608
            self._summed_until = ""

    def sum_up(self, now: float) -> bool:
        """See EventStore."""
        last = day_of(now - SETTLE_SECONDS)
        if last == self._summed_until:
            return False
        with self._database.transaction():
            # Locks out another process of this gateway, as `add` does.
            number, _counter = self._take_numbers(0)
            rows = self._database.run(
                "SELECT hour / 24 FROM facts WHERE dimension = 'event' AND gateway = :gateway"
                " AND hour < CAST(:until AS integer)"
                " AND NOT EXISTS (SELECT 1 FROM summed_days s WHERE s.gateway = :gateway AND s.day = hour / 24)"
                " ORDER BY hour DESC LIMIT 1",
                gateway=number,
                until=calendar.timegm(time.strptime(last, "%Y%m%d")) // 3600,
            )
            if not rows:
                self._summed_until = last
                return False
            self._sum_up(number, int(rows[0][0]))
        return True

    def _sum_up(self, gateway: int, day: int) -> None:
        self._database.run(
            "INSERT INTO day_sums SELECT CAST(:day AS integer), :gateway, dimension, key, sum(number) FROM facts"
            " WHERE dimension = ANY(CAST(:dimensions AS text[])) AND gateway = :gateway"
            " AND hour >= CAST(:first AS integer) AND hour < CAST(:last AS integer) GROUP BY dimension, key",
            day=day,
            gateway=gateway,
            dimensions=list(DIMENSIONS),
            first=day * _DAY_HOURS,
            last=(day + 1) * _DAY_HOURS,
        )
        self._database.run("INSERT INTO summed_days VALUES (:gateway, :day)", gateway=gateway, day=day)

    def prune(self, now: float) -> None:
        """See EventStore."""
        # The next month, too, so that its first event need not wait for locks.
        self._create_months({_month(int(now)), _month(int(now) + 31 * _DAY)})
        first = day_of(now - self._days * _DAY)[:6]
        months = [str(month) for (month,) in self._database.run("SELECT months()")]
        if any(month < first for month in months) and expired(self.days(), self._days, now):
            self._database.run("SELECT drop_months(:first)", first=first)

    # Reading

    def days(self) -> list[str]:
        """See EventStore."""
        rows = self._database.run(
            "SELECT DISTINCT day FROM positions p JOIN gateways g ON g.number = p.gateway WHERE g.name = :gateway"
            " ORDER BY day DESC",
            gateway=self._gateway,
        )
        return [str(day) for (day,) in rows]

    def find(self, query: Query) -> list[Event]:
        """See EventStore."""
        first, last = _bound(query.since), _bound(query.until) | ((1 << _SHIFT) - 1)
        hashes = query.hashes
        if len(hashes) > 1:
            hashes = sorted(hashes, key=lambda each: self._count(each, first, last))
        page = max(query.limit, _PAGE)
        found: list[Event] = []
        while len(found) < query.limit:
            rows = self._page(hashes, first, last, page)
            events = self._events([seq for (seq,) in rows])
            found += (event for event in events if query.since <= time_of(event) < query.until)
            if len(rows) < page:
                break
            last = int(rows[-1][0]) - 1
        return sorted(found, key=time_of, reverse=True)[: query.limit]

    def _page(self, hashes: Sequence[Sequence[int]], first: int, last: int, page: int) -> list[list[int]]:
        """Return the newest numbers of events with one of each list of terms; one with several may be repeated."""
        values: dict[str, object] = {"first": first, "last": last, "page": page}
        conditions = ""
        for index, alternatives in enumerate(hashes[1:]):
            values[f"others{index}"] = list(alternatives)
            # A subquery is evaluated for each row; a join is planned by estimates, which are wrong for rare terms.
            conditions += (
                f" AND (SELECT true FROM terms o WHERE o.term = ANY(CAST(:others{index} AS bigint[]))"  # noqa: S608
                " AND o.seq = t.seq LIMIT 1)"
            )
        parts = []
        for index, each in enumerate(hashes[0]):
            values[f"term{index}"] = each
            parts.append(
                f"(SELECT seq FROM terms t WHERE term = CAST(:term{index} AS bigint)"  # noqa: S608
                f" AND seq BETWEEN CAST(:first AS bigint) AND CAST(:last AS bigint){conditions}"
                " ORDER BY seq DESC LIMIT :page)"
            )
        return self._database.run(
            f"SELECT seq FROM ({' UNION ALL '.join(parts)}) AS found ORDER BY seq DESC LIMIT :page",  # noqa: S608
            **values,
        )

    def _count(self, alternatives: Sequence[int], first: int, last: int) -> int:
        rows = self._database.run(
            "SELECT count(*) FROM (SELECT 1 FROM terms WHERE term = ANY(CAST(:terms AS bigint[]))"
            " AND seq BETWEEN CAST(:first AS bigint) AND CAST(:last AS bigint) LIMIT :counted) AS found",
            terms=list(alternatives),
            first=first,
            last=last,
            counted=_COUNTED,
        )
        return int(rows[0][0])

    def _events(self, numbers: Iterable[int]) -> list[Event]:
        """Return events by their numbers; those of other gateways have a field `gateway`."""
        wanted = list(dict.fromkeys(numbers))
        if not wanted:
            return []
        rows = self._database.run(
            "SELECT seq, body FROM events WHERE seq = ANY(CAST(:wanted AS bigint[])) ORDER BY seq DESC", wanted=wanted
        )
        names = {int(number): str(name) for number, name in self._database.run("SELECT number, name FROM gateways")}
        return [event for seq, body in rows if (event := self._event(seq, body, names)) is not None]

    def _event(self, seq: int, body: bytes, names: dict[int, str]) -> Event | None:
        try:
            event = unpack(body)
        except (ValueError, zlib.error):
            return None
        gateway = names.get(seq >> _COUNTER_BITS & ((1 << _GATEWAY_BITS) - 1), "")
        return event if gateway == self._gateway else {**event, "gateway": gateway}

    def of(self, number: str) -> list[Event]:
        """See EventStore."""
        rows = self._database.run(
            "SELECT seq FROM terms WHERE term = CAST(:term AS bigint) ORDER BY seq LIMIT :limit",
            term=term("number", number),
            limit=MAX_EVENTS,
        )
        events = self._events(seq for (seq,) in rows)
        events.reverse()
        return sorted(events, key=time_of)

    def hourly(self, dimension: str, since: float, until: float) -> Iterator[tuple[int, str, int]]:
        """See EventStore."""
        first, last = _hours(since, until)
        rows = self._database.run(
            "SELECT hour, key, number FROM facts WHERE dimension = :dimension AND hour >= CAST(:first AS integer)"
            " AND hour < CAST(:last AS integer)"
            " AND gateway = (SELECT g.number FROM gateways g WHERE g.name = :gateway) ORDER BY hour DESC, key",
            dimension=dimension,
            gateway=self._gateway,
            first=first,
            last=last,
        )
        yield from ((int(hour), str(key), int(number)) for hour, key, number in rows)

    def sums(self, dimension: str, since: float, until: float, limit: int = MAX_KEYS) -> Counter[str]:
        """See EventStore."""
        days = max(1, math.ceil((min(until, MAX_TIME) - since) / _DAY))
        first, last = _hours(since, until)
        rows = self._database.run(
            _SUMS,
            dimension=dimension,
            gateway=self._gateway,
            first=first,
            last=last,
            first_day=-(-first // _DAY_HOURS),
            last_day=last // _DAY_HOURS,
            limit=limit,
            all=limit * days,
        )
        return Counter({str(key): int(number) for key, number in rows})


# Days that are added up by their sums, the gaps between them by their facts. Each subquery is evaluated for its day or
# gap (LIMIT and OFFSET prevent other plans): a plan by estimates may read all facts.
_SUMS = """
WITH own AS (SELECT g.number FROM gateways g WHERE g.name = :gateway), days AS (
    SELECT day FROM summed_days WHERE gateway = (SELECT number FROM own)
    AND day >= CAST(:first_day AS integer) AND day < CAST(:last_day AS integer)
), bounds AS (
    SELECT day * 24 AS start, day * 24 + 24 AS stop FROM days
    UNION ALL SELECT CAST(:last AS integer), CAST(:last AS integer)
), gaps AS (
    SELECT coalesce(lag(stop) OVER (ORDER BY start, stop), CAST(:first AS integer)) AS since, start AS until FROM bounds
)
SELECT key, CAST(sum(number) AS bigint) FROM (
    SELECT s.key, s.number FROM days CROSS JOIN LATERAL (
        SELECT key, number FROM day_sums WHERE day_sums.day = days.day AND dimension = :dimension
        AND gateway = (SELECT number FROM own) ORDER BY number DESC LIMIT :limit
    ) s
    UNION ALL
    SELECT f.key, f.number FROM gaps CROSS JOIN LATERAL (
        SELECT key, number FROM facts WHERE hour >= gaps.since AND hour < gaps.until AND dimension = :dimension
        AND gateway = (SELECT number FROM own) OFFSET 0
    ) f
) AS found GROUP BY key ORDER BY 2 DESC LIMIT :all
"""


def _hours(since: float, until: float) -> tuple[int, int]:
    """Return the hours of a time as `hours_of`, none outside of the range of the column."""
    first, last = (min(max(0.0, each), 3600.0 * _MAX_HOUR) for each in (since, until))
    return hours_of(first, last)


def _moment(event: Event, day: str) -> int:
    """Return an event's time in whole seconds, not more than a day from the day of its file.

    Both are by the same clock. An invalid time must not make a partition of its own.
    """
    start = calendar.timegm(time.strptime(day, "%Y%m%d"))
    return max(0, min(max(int(time_of(event)), start - _DAY), start + 2 * _DAY - 1))


def _month(moment: int) -> str:
    return day_of(moment)[:6]


def _number(moment: int, gateway: int, counter: int) -> int:
    """Return the number of an event."""
    return moment << _SHIFT | gateway << _COUNTER_BITS | counter & ((1 << _COUNTER_BITS) - 1)


def _bound(moment: float) -> int:
    """Return the smallest number that an event of a time can have."""
    return int(min(max(moment, 0.0), _MAX_SECONDS)) << _SHIFT


def _event_lines(numbers: Sequence[int], events: Sequence[tuple[Event, bytes]]) -> Iterator[bytes]:
    for number, (_event, line) in zip(numbers, events, strict=True):
        yield b"%d\t\\\\x%b\n" % (number, pack(line).hex().encode("ascii"))


def _term_lines(numbers: Sequence[int], events: Sequence[tuple[Event, bytes]]) -> Iterator[bytes]:
    # Sorted, so that neighbours are on the same page of the index.
    pairs = sorted(
        (each, number) for number, (event, _line) in zip(numbers, events, strict=True) for each in terms_of(event)
    )
    for pair in pairs:
        yield b"%d\t%d\n" % pair
