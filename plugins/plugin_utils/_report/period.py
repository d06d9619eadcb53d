# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports of all gateways about a period, added up, with the faculties of the plan."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .columns import plain, table
from .translations import N_, Translations, translations

TOTALS = ("processed", "relay_refused", "virus_found")
LISTS = ("viruses", "rules", "recipients", "networks", "refused_networks")
VERDICTS = ("accepted", "queued", "refused", "deferred")
COLUMNS = (*VERDICTS, "refused_recipients", "deferred_recipients")
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TOP = 20
_TITLES = {
    "processed": N_("Mails processed"),
    "relay_refused": N_("Relay attempts refused"),
    "virus_found": N_("Viruses found"),
    "accepted": N_("Delivered"),
    "queued": N_("Through the queue"),
    "refused": N_("Refused"),
    "deferred": N_("Deferred"),
    "refused_recipients": N_("Recipients refused"),
    "deferred_recipients": N_("Recipients deferred"),
    "viruses": N_("Virus"),
    "rules": N_("Reason of refused recipients"),
    "recipients": N_("Busiest recipients"),
    "networks": N_("Client network"),
    "refused_networks": N_("Client network of refusals"),
    "days": N_("Day"),
    "faculties": N_("Faculty"),
    "domains": N_("Domain"),
}
_PERIOD = N_("Period")
_BEFORE = N_("Period before")
_NUMBER = N_("Number")
_DELAY = N_("Delay in seconds")
_QUARANTINE = N_("Quarantine")
_MESSAGES = N_("Messages")
_BYTES = N_("Bytes")
_NO_FACULTY = N_("none")
_MISSING = N_("{host} did not answer; its mail is missing.")

Rows = Sequence[Sequence[str]]


def added(
    reports: Mapping[str, Mapping[str, Any]], missing: Sequence[str], faculty_of: Callable[[str], str]
) -> dict[str, Any]:
    """Return the sum of the gateways' reports.

    Args:
        reports: The reports by host, as `mailgate report --json` prints them.
        missing: Gateways that did not answer.
        faculty_of: Returns the faculty of a domain, empty for none.
    """
    every = list(reports.values())
    domains = _nested(every, "domains")
    faculties: dict[str, Counter[str]] = {}
    for domain, numbers in domains.items():
        faculties.setdefault(faculty_of(domain), Counter()).update(numbers)
    delays: Counter[float] = Counter()
    quarantine: Counter[str] = Counter()
    for report in every:
        for bound, number in report["delays"]["buckets"].items():
            delays[float(bound)] += number
        kept = report.get("quarantine") or {}
        quarantine.update({name: int(kept.get(name, 0)) for name in ("messages", "bytes")})
    return {
        "since": min((report["since"] for report in every), default=""),
        "until": max((report["until"] for report in every), default=""),
        **{name: sum(report[name] for report in every) for name in TOTALS},
        "before": {name: sum(report["before"][name] for report in every) for name in TOTALS},
        "gateways": {host: {name: report[name] for name in TOTALS} for host, report in reports.items()},
        "missing": list(missing),
        "days": _plain(_nested(every, "days")),
        "faculties": _plain(faculties),
        "domains": _plain(domains),
        **{name: dict(sum((Counter(report[name]) for report in every), Counter()).most_common()) for name in LISTS},
        "delays": {name: _percentile(delays, share) for name, share in PERCENTILES.items()},
        "quarantine": dict(quarantine),
    }


def _nested(reports: Sequence[Mapping[str, Any]], name: str) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for report in reports:
        for key, numbers in report[name].items():
            found.setdefault(key, Counter()).update(numbers)
    return found


def _plain(numbers: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {key: dict(counter) for key, counter in sorted(numbers.items())}


def _percentile(delays: Mapping[float, int], share: float) -> float | None:
    total, seen = sum(delays.values()), 0
    for bound in sorted(delays):
        seen += delays[bound]
        if seen >= share * total:
            return bound
    return None


def tables(report: Mapping[str, Any], catalog: Translations, top: int = TOP) -> Iterator[Rows]:
    """Yield the tables, each with a row of titles first; that of the paper is the first."""
    text = catalog.gettext
    titles = [text(_TITLES[name]) for name in TOTALS]
    period = f"{report['since'][:16]} - {report['until'][:16]}".replace("T", " ")
    rows = [(period, *(str(report[name]) for name in TOTALS))]
    rows += [(text(_BEFORE), *(str(report["before"][name]) for name in TOTALS))]
    rows += [(host, *(str(numbers[name]) for name in TOTALS)) for host, numbers in report["gateways"].items()]
    yield [(text(_PERIOD), *titles), *rows]
    for name, columns in (("days", VERDICTS), ("faculties", COLUMNS), ("domains", COLUMNS)):
        numbers = report[name]
        keys = sorted(numbers)
        if name != "days":
            keys = [key for key, _counts in sorted(numbers.items(), key=lambda item: (-sum(item[1].values()), item[0]))]
        if keys:
            yield [
                (text(_TITLES[name]), *(text(_TITLES[column]) for column in columns)),
                *(
                    (plain(key) or text(_NO_FACULTY), *(str(numbers[key].get(column, 0)) for column in columns))
                    for key in (keys if name != "domains" else keys[:top])
                ),
            ]
    for name in LISTS:
        shown = list(report[name].items())[:top]
        if shown:
            yield [(text(_TITLES[name]), text(_NUMBER)), *((plain(key), str(number)) for key, number in shown)]
    delays = report["delays"]
    if any(delays.values()):
        yield [(text(_DELAY), *delays), ("", *("-" if each is None else f"{each:.3f}" for each in delays.values()))]
    kept = report["quarantine"]
    if kept:
        yield [
            (text(_QUARANTINE), text(_MESSAGES), text(_BYTES)),
            ("", str(kept["messages"]), str(kept["bytes"])),
        ]


def as_text(report: Mapping[str, Any], language: str) -> str:
    """Return the report as aligned tables."""
    catalog = translations(language)
    parts = ["\n".join(table(rows[0], rows[1:])) for rows in tables(report, catalog)]
    parts += [catalog.gettext(_MISSING).format(host=host) for host in report["missing"]]
    return "\n\n".join(parts) + "\n"


def as_csv(report: Mapping[str, Any], language: str) -> str:
    """Return the report as CSV, its tables separated by an empty line; all entries of lists."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, rows in enumerate(tables(report, translations(language), top=1 << 30)):
        writer.writerows(([()] if number else []) + [[_harmless(cell) for cell in row] for row in rows])
    return out.getvalue()


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") and len(cell) > 1 else cell
