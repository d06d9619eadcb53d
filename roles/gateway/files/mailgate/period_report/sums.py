# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of gateways added up, and the part of a faculty; pure functions on what `mailgate report --json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

TOTALS = ("processed", "relay_refused", "virus_found")
VERDICTS = ("accepted", "queued", "refused", "deferred")
# Columns of a domain; the last two count recipients that were refused at RCPT.
COLUMNS = (*VERDICTS, "refused_recipients", "deferred_recipients")
LISTS = ("viruses", "rules", "recipients", "networks", "refused_networks", "countries")
# Lists that a domain has too.
DOMAIN_LISTS = ("viruses", "rules", "recipients")
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

Numbers = Mapping[str, Any]


def added(
    reports: Mapping[str, Numbers],
    missing: Sequence[str] = (),
    others: Sequence[str] = (),
    faculty_of: Callable[[str], str] = lambda _domain: "",
) -> dict[str, Any]:
    """Return the sum of the gateways' reports.

    Args:
        reports: The reports by host, as `mailgate report --json` prints them.
        missing: Gateways that did not answer.
        others: Gateways that were not asked.
        faculty_of: Returns the faculty of a domain, empty for none.
    """
    every = list(reports.values())
    domains = nested(report["domains"] for report in every)
    faculties: dict[str, Counter[str]] = {}
    for domain, numbers in domains.items():
        faculties.setdefault(faculty_of(domain), Counter()).update(numbers)
    quarantine: Counter[str] = Counter()
    for report in every:
        kept = report.get("quarantine") or {}
        quarantine.update({name: int(kept.get(name, 0)) for name in ("messages", "bytes")})
    return {
        "since": min((report["since"] for report in every), default=""),
        "until": max((report["until"] for report in every), default=""),
        "index_since": max((report.get("index_since") or "" for report in every), default=""),
        **{name: sum(report[name] for report in every) for name in TOTALS},
        "before": {name: sum(report["before"][name] for report in every) for name in TOTALS},
        "gateways": {host: {name: report[name] for name in TOTALS} for host, report in reports.items()},
        "missing": list(missing),
        "others": list(others),
        "days": _plain(nested(report["days"] for report in every)),
        "faculties": _plain(faculties),
        "domains": _plain(domains),
        "by_domain": _by_domain([report.get("by_domain") or {} for report in every]),
        **{name: summed(report.get(name) or {} for report in every) for name in LISTS},
        "delays": added_delays(report["delays"]["buckets"] for report in every),
        "quarantine": dict(quarantine),
    }


def of_faculty(report: Numbers, faculty: str, faculty_of: Callable[[str], str]) -> dict[str, Any]:
    """Return the part of a faculty, in the form of `added`.

    What no domain has is absent: totals, networks, quarantine. A message to several domains is counted for each.
    """
    domains = {domain: numbers for domain, numbers in report["domains"].items() if faculty_of(domain) == faculty}
    parts = [report["by_domain"][domain] for domain in domains if domain in report["by_domain"]]
    return {
        **{name: report[name] for name in ("since", "until", "index_since", "missing", "others")},
        "gateways": {host: {} for host in report["gateways"]},
        "faculties": {name: numbers for name, numbers in report["faculties"].items() if name == faculty},
        "days": _plain(nested(part["days"] for part in parts)),
        "domains": domains,
        **{name: summed(part[name] for part in parts) for name in DOMAIN_LISTS},
        "delays": added_delays(part["delays"] for part in parts),
    }


def _by_domain(parts: Sequence[Mapping[str, Numbers]]) -> dict[str, dict[str, Any]]:
    found: dict[str, list[Numbers]] = {}
    for part in parts:
        for domain, numbers in part.items():
            found.setdefault(domain, []).append(numbers)
    return {
        domain: {
            "days": _plain(nested(numbers["days"] for numbers in every)),
            **{name: summed(numbers[name] for numbers in every) for name in DOMAIN_LISTS},
            "delays": dict(summed(numbers["delays"] for numbers in every)),
        }
        for domain, every in sorted(found.items())
    }


def nested(parts: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, Counter[str]]:
    """Return the sum of each column of each key."""
    found: dict[str, Counter[str]] = {}
    for part in parts:
        for key, numbers in part.items():
            found.setdefault(key, Counter()).update(numbers)
    return found


def _plain(numbers: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {key: dict(counter) for key, counter in sorted(numbers.items())}


def summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of each key, the largest first."""
    found: Counter[str] = Counter()
    for part in parts:
        found.update(part)
    return dict(found.most_common())


def added_delays(parts: Iterable[Mapping[str, int]]) -> dict[str, Any]:
    """Return the percentiles in seconds, None without messages, and the sum of the buckets by their upper bound."""
    buckets = dict(sorted(summed(parts).items(), key=lambda item: float(item[0])))
    return {**{name: _percentile(buckets, share) for name, share in PERCENTILES.items()}, "buckets": buckets}


def _percentile(buckets: Mapping[str, int], share: float) -> float | None:
    total, seen = sum(buckets.values()), 0
    for bound, number in buckets.items():
        seen += number
        if seen >= share * total:
            return float(bound)
    return None
