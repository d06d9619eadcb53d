# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report of a period says, as data: from the counters, the index and the quarantine."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from mailgate.config import Config
from mailgate.content.quarantine import Quarantine, QuarantineError
from mailgate.event_index.facts import bucket_seconds, percentile
from mailgate.event_index.store import MAX_KEYS, EventStore
from mailgate.events import Counters, totals
from mailgate.period_report.sums import DOMAIN_LISTS, PERCENTILES, TOTALS
from mailgate.state import open_read_only

# Keys of a day: each domain has dozens of delays.
_MAX_DELAYS = 200_000
# Domains with more than the number of messages; a route for `*.suffix` has as many as senders invent.
_MAX_DOMAINS = 5000
# Dimensions of the index by the name of their list, of all mail and of a domain.
LISTS = {
    "viruses": "virus",
    "rules": "rule",
    "recipients": "recipient",
    "networks": "network",
    "refused_networks": "network_refused",
}
_DOMAIN_LISTS = {"viruses": "domain_virus", "rules": "domain_rule", "delays": "domain_delay"}


@dataclass
class Period:
    """Start and end, and the totals of the counters in it."""

    since: datetime
    until: datetime
    totals: dict[str, int]


@dataclass
class DomainPart:
    """What the index has about a domain.

    Attributes:
        days: Messages by local day (YYYY-MM-DD) and column.
        lists: Number by name of `viruses`, `rules` and `delays` (by bucket).
    """

    days: dict[str, Counter[str]] = field(default_factory=dict)
    lists: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _DOMAIN_LISTS})


@dataclass
class Report:
    """A period, the one before, and what the index has about it.

    Attributes:
        days: Messages by local day (YYYY-MM-DD) and verdict.
        domains: Messages by recipients' domain and column.
        lists: Number by name of `viruses`, `rules`, `networks` (of all clients), `refused_networks` and `recipients`.
        delays: Number of accepted messages by bucket of the delay.
        quarantine: `messages`, `bytes`, and `oldest` in seconds since 1970; None if it cannot be read.
        index_since: First day of the index (YYYY-MM-DD) if the period begins earlier, else empty.
        by_domain: More about the campus's domains, if it was asked for.
    """

    period: Period
    before: Period
    days: dict[str, Counter[str]] = field(default_factory=dict)
    domains: dict[str, Counter[str]] = field(default_factory=dict)
    lists: dict[str, Counter[str]] = field(default_factory=dict)
    delays: Counter[int] = field(default_factory=Counter)
    quarantine: dict[str, float] | None = None
    index_since: str = ""
    by_domain: dict[str, DomainPart] = field(default_factory=dict)

    @property
    def percentiles(self) -> dict[str, float | None]:
        """Delays in seconds by name of the percentile, None without messages."""
        return {name: percentile(self.delays, share) for name, share in PERCENTILES.items()}


def collect(
    config: Config,
    store: EventStore,
    since: datetime,
    until: datetime,
    is_own: Callable[[str], bool] | None = None,
    *,
    keys: int = MAX_KEYS,
) -> Report:
    """Return the report; raise sqlite3.Error if the counters are damaged.

    Args:
        config: The settings.
        store: The index.
        since: Start, with a UTC offset.
        until: End, exclusive.
        is_own: Returns whether more than the number of messages is collected about a domain; None for no domain.
        keys: Entries of each list that are read of a day, the most frequent.
    """
    before = since - (until - since)
    report = Report(_period(config, since, until), _period(config, before, since))
    start, end = since.timestamp(), until.timestamp()
    for hour, verdict, number in store.hourly("message", start, end):
        day = datetime.fromtimestamp(hour * 3600).astimezone().strftime("%Y-%m-%d")
        report.days.setdefault(day, Counter())[verdict] += number
    for day, first, last in _days(since, until):
        for key, number in store.sums("domain", first, last).items():
            domain, _space, column = key.rpartition(" ")
            report.domains.setdefault(domain, Counter())[column] += number
            if is_own and is_own(domain):
                part = report.by_domain.setdefault(domain, DomainPart())
                part.days.setdefault(day, Counter())[column] += number
    for name, dimension in _DOMAIN_LISTS.items() if report.by_domain else ():
        for domain, key, number in _of_domains(store, dimension, start, end):
            if domain in report.by_domain:
                report.by_domain[domain].lists[name][key] += number
    report.lists = {name: store.sums(dimension, start, end, keys) for name, dimension in LISTS.items()}
    for bucket, number in store.sums("delay", start, end).items():
        report.delays[int(bucket)] += number
    report.quarantine = _quarantine(config)
    report.index_since = _index_since(store, since)
    return report


def _days(since: datetime, until: datetime) -> Iterator[tuple[str, float, float]]:
    """Yield each local day (YYYY-MM-DD) with the start and end of its part of the period, in seconds since 1970.

    The index counts by hours in UTC: where a day begins within one, that hour belongs to the day before.
    """
    end = until.timestamp()
    first = since.timestamp()
    day = since.astimezone().date()
    while first < end:
        day += timedelta(days=1)
        last = min(end, datetime.combine(day, time()).astimezone().timestamp())
        if last < end:
            last = -(-last // 3600) * 3600
        yield (day - timedelta(days=1)).isoformat(), first, last
        first = last


def _of_domains(store: EventStore, dimension: str, since: float, until: float) -> Iterator[tuple[str, str, int]]:
    """Yield domain, name and number of a dimension whose keys are both."""
    for key, number in store.sums(dimension, since, until, _MAX_DELAYS).items():
        domain, _space, name = key.partition(" ")
        yield domain, name, number


def _index_since(store: EventStore, since: datetime) -> str:
    """Return the first day of the index if it is after `since`."""
    days = store.days()
    if not days:
        return ""
    first = datetime.strptime(days[-1], "%Y%m%d").date()
    # Days of the index are those of UTC.
    return first.isoformat() if first > since.date() + timedelta(days=1) else ""


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
        # A damaged file is not counted; `mailgate quarantine list` names it.
        for entry in Quarantine(config.state_dir, config.quarantine).entries(lambda _line: None):
            number, size, oldest = number + 1, size + entry.size, oldest or entry.time
    except QuarantineError:
        return None
    return {"messages": number, "bytes": size, **({"oldest": oldest} if number else {})}


def as_json(report: Report, top: int) -> dict[str, object]:
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
        "days": _plain(report.days),
        "domains": _plain(report.domains),
        **{name: dict(numbers.most_common(top)) for name, numbers in report.lists.items()},
        "delays": {**report.percentiles, "buckets": _buckets(report.delays)},
        "quarantine": report.quarantine,
        "index_since": report.index_since,
        "by_domain": _by_domain(report, top),
    }


def _by_domain(report: Report, top: int) -> dict[str, dict[str, object]]:
    """Return what is known about each of the campus's domains."""
    busiest = sorted(report.by_domain, key=lambda domain: -report.domains[domain].total())[:_MAX_DOMAINS]
    recipients: dict[str, dict[str, int]] = {domain: {} for domain in busiest}
    for recipient, number in report.lists.get("recipients", Counter()).most_common():
        found = recipients.get(recipient.rpartition("@")[2])
        if found is not None and len(found) < top:
            found[recipient] = number
    parts = {}
    for domain in sorted(busiest):
        part = report.by_domain[domain]
        lists = {**part.lists, "recipients": Counter(recipients[domain])}
        parts[domain] = {
            "days": _plain(part.days),
            **{name: dict(lists[name].most_common(top)) for name in DOMAIN_LISTS},
            "delays": _buckets({int(bucket): number for bucket, number in part.lists["delays"].items()}),
        }
    return parts


def _plain(numbers: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {key: dict(counts) for key, counts in sorted(numbers.items())}


def _buckets(delays: Mapping[int, int]) -> dict[str, int]:
    """Return delays by the upper bound in seconds, so that the reports of several gateways can be added up."""
    return {f"{bucket_seconds(each):.6g}": number for each, number in sorted(delays.items())}
