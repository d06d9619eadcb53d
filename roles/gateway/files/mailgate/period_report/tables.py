# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a period as tables: for a terminal, for mail, as CSV, and for the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..translation import N_, Translator
from .characters import visible, width
from .sums import COLUMNS, LISTS, PERCENTILES, TOTALS, VERDICTS

TOP = 20
TITLES = {
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
    "countries": N_("Country of clients"),
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
_OTHERS = N_("Not included: {hosts}. The playbook campus.mailgate.report adds up all gateways.")
_SHORT_INDEX = N_("The index begins on {day}: only the first table has the days before.")
_NO_DAYS = N_("The index begins on {day}: earlier days are missing.")
_MAX_TEXT = 300


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        name: What it counts: `totals`, `days`, `faculties`, `domains`, one of LISTS, `delays` or `quarantine`.
        head: Titles of the columns.
        rows: Cells; the first one of a row is its name, the others are numbers.
    """

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(report: Mapping[str, Any], translate: Translator, top: int = TOP) -> Iterator[Table]:
    """Yield the tables that have rows; that of all mail, or of the faculty, is the first.

    Args:
        report: A sum of `sums.added`, or the part of a faculty.
        translate: Translates the titles.
        top: Entries of each list.
    """
    order = [("days", VERDICTS), ("faculties", COLUMNS), ("domains", COLUMNS)]
    if "before" in report:
        yield _totals(report, translate)
    else:
        # The sum of a faculty comes first.
        order.insert(0, order.pop(1))
    for name, columns in order:
        if rows := list(_counts(report[name], name, columns, translate)):
            head = (translate(TITLES[name]), *(translate(TITLES[column]) for column in columns))
            yield Table(name, head, rows[:top] if name == "domains" else rows)
    for name in LISTS:
        shown = list(report.get(name, {}).items())[:top]
        if shown:
            word = network if "networks" in name else plain
            rows = [(word(key), str(number)) for key, number in shown]
            yield Table(name, (translate(TITLES[name]), translate(_NUMBER)), rows)
    delays = [report["delays"][name] for name in PERCENTILES]
    if any(delays):
        rows = [("", *("-" if seconds is None else f"{seconds:.3f}" for seconds in delays))]
        yield Table("delays", (translate(_DELAY), *PERCENTILES), rows)
    if kept := report.get("quarantine"):
        head = (translate(_QUARANTINE), translate(_MESSAGES), translate(_BYTES))
        yield Table("quarantine", head, [("", str(kept["messages"]), str(kept["bytes"]))])


def _totals(report: Mapping[str, Any], translate: Translator) -> Table:
    """Return the table of all mail: the period, the one before, and each gateway if there are several."""
    parts = [(dates(report), report), (translate(_BEFORE), report["before"])]
    if len(report["gateways"]) > 1 or report["missing"]:
        parts += report["gateways"].items()
    rows = [(name, *(str(numbers[total]) for total in TOTALS)) for name, numbers in parts]
    return Table("totals", (translate(_PERIOD), *(translate(TITLES[total]) for total in TOTALS)), rows)


def _counts(
    numbers: Mapping[str, Mapping[str, int]], name: str, columns: Sequence[str], translate: Translator
) -> Iterator[Sequence[str]]:
    """Yield the rows of a table: days in their order, others by their sum. Only domains without a faculty are none."""
    keys = sorted(numbers)
    if name == "faculties" and keys == [""]:
        return
    if name != "days":
        keys.sort(key=lambda key: -sum(numbers[key].values()))
    for key in keys:
        yield plain(key) or translate(_NO_FACULTY), *(str(numbers[key].get(column, 0)) for column in columns)


def dates(report: Mapping[str, Any]) -> str:
    """Return start and end of a report, in local time of the gateways."""
    return f"{report['since'][:16]} - {report['until'][:16]}".replace("T", " ")


def notes(report: Mapping[str, Any], translate: Translator) -> list[str]:
    """Return sentences on what is missing."""
    found = [translate(_MISSING).format(host=plain(host)) for host in report["missing"]]
    if report["others"]:
        found.append(translate(_OTHERS).format(hosts=", ".join(map(plain, report["others"]))))
    if report["index_since"]:
        text = _SHORT_INDEX if "before" in report else _NO_DAYS
        found.append(translate(text).format(day=report["index_since"]))
    return found


def as_text(report: Mapping[str, Any], translate: Translator, top: int = TOP) -> str:
    """Return the report as aligned tables, and what is missing."""
    parts = [aligned([each.head, *each.rows]) for each in tables(report, translate, top)]
    return "\n".join([*parts, *(f"{line}\n" for line in notes(report, translate))])


def as_csv(report: Mapping[str, Any], translate: Translator, top: int = 1 << 30) -> str:
    """Return the report as CSV, its tables separated by an empty line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, each in enumerate(tables(report, translate, top)):
        writer.writerows([()] if number else [])
        writer.writerows([_harmless(cell) for cell in row] for row in (each.head, *each.rows))
    return out.getvalue()


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") and len(cell) > 1 else cell


def network(key: str) -> str:
    """Return a network as usual: it is recorded as the first part of its addresses."""
    key = plain(key)
    return f"{key}::/48" if ":" in key else f"{key}.0/24" if key.count(".") == 2 else key


def plain(text: str) -> str:
    """Return a text of a client as one line without invisible characters, cut if it is long."""
    text = visible(text)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns, numbers to the right."""
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0] + " " * (widths[0] - width(row[0]))]
        cells += [" " * (size - width(cell)) + cell for cell, size in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)
