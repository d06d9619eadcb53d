# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report of a period says, as data: from the counters, the index and the quarantine."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mailgate.config import Config
from mailgate.content.quarantine import Quarantine, QuarantineError
from mailgate.event_index.facts import bucket_seconds, percentile
from mailgate.event_index.store import EventStore
from mailgate.events import PROCESSED, RELAY_REFUSED, VIRUS_FOUND, Counters, totals
from mailgate.state import open_read_only

TOTALS = (PROCESSED, RELAY_REFUSED, VIRUS_FOUND)
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
VERDICTS = ("accepted", "queued", "refused", "deferred")
# Columns of a domain; the last two count recipients that were refused at RCPT.
DOMAIN_COLUMNS = (*VERDICTS, "refused_recipients", "deferred_recipients")


@dataclass
class Period:
    """Start and end, and the totals of the counters in it."""

    since: datetime
    until: datetime
    totals: dict[str, int]


@dataclass
class Report:
    """A period, the one before, and what the index has about it.

    Attributes:
        days: Messages by local day (YYYY-MM-DD) and verdict.
        domains: Messages by recipients' domain and column.
        lists: Number by name of `viruses`, `rules`, `networks` (of all clients), `refused_networks` and `recipients`.
        delays: Number of accepted messages by bucket of the delay.
        quarantine: `messages`, `bytes`, and `oldest` in seconds since 1970; None if it cannot be read.
    """

    period: Period
    before: Period
    days: dict[str, Counter[str]] = field(default_factory=dict)
    domains: dict[str, Counter[str]] = field(default_factory=dict)
    lists: dict[str, Counter[str]] = field(default_factory=dict)
    delays: Counter[int] = field(default_factory=Counter)
    quarantine: dict[str, float] | None = None

    @property
    def percentiles(self) -> dict[str, float | None]:
        """Delays in seconds by name of the percentile, None without messages."""
        return {name: percentile(self.delays, share) for name, share in PERCENTILES.items()}


LISTS = {
    "viruses": "virus",
    "rules": "rule",
    "recipients": "recipient",
    "networks": "network",
    "refused_networks": "network_refused",
}


def collect(config: Config, store: EventStore, since: datetime, until: datetime) -> Report:
    """Return the report; raise sqlite3.Error if the counters are damaged."""
    before = since - (until - since)
    report = Report(_period(config, since, until), _period(config, before, since))
    start, end = since.timestamp(), until.timestamp()
    for hour, verdict, number in store.hourly("message", start, end):
        day = datetime.fromtimestamp(hour * 3600).astimezone().strftime("%Y-%m-%d")
        report.days.setdefault(day, Counter())[verdict] += number
    for key, number in store.sums("domain", start, end).items():
        domain, _space, column = key.rpartition(" ")
        report.domains.setdefault(domain, Counter())[column] += number
    report.lists = {name: store.sums(dimension, start, end) for name, dimension in LISTS.items()}
    for bucket, number in store.sums("delay", start, end).items():
        report.delays[int(bucket)] += number
    report.quarantine = _quarantine(config)
    return report


def _period(config: Config, since: datetime, until: datetime) -> Period:
    path = config.state_dir / Counters.FILE
    if not path.exists():
        return Period(since, until, dict.fromkeys(TOTALS, 0))
    database: sqlite3.Connection = open_read_only(path)
    try:
        # Counters are per minute; the current minute counts as a whole, so that the latest events are included.
        numbers = totals(database, since.timestamp(), until.timestamp())
    finally:
        database.close()
    return Period(since, until, {name: numbers.get(name, 0) for name in TOTALS})


def _quarantine(config: Config) -> dict[str, float] | None:
    number, size, oldest = 0, 0, 0.0
    try:
        for entry in Quarantine(config.state_dir, config.quarantine).entries():
            number, size, oldest = number + 1, size + entry.size, oldest or entry.time
    except QuarantineError:
        return None
    return {"messages": number, "bytes": size, **({"oldest": oldest} if number else {})}


def as_json(report: Report, top: int) -> Mapping[str, object]:
    """Return the report as an object of JSON; lists have their `top` largest entries."""
    return {
        "since": report.period.since.isoformat(),
        "until": report.period.until.isoformat(),
        **report.period.totals,
        "before": {
            "since": report.before.since.isoformat(),
            "until": report.before.until.isoformat(),
            **report.before.totals,
        },
        "days": {day: dict(numbers) for day, numbers in sorted(report.days.items())},
        "domains": {domain: dict(numbers) for domain, numbers in sorted(report.domains.items())},
        **{name: dict(numbers.most_common(top)) for name, numbers in report.lists.items()},
        "delays": {
            **report.percentiles,
            # By the upper bound in seconds, so that the reports of several gateways can be added up.
            "buckets": {f"{bucket_seconds(each):.6g}": number for each, number in sorted(report.delays.items())},
        },
        "quarantine": report.quarantine,
    }
