# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one self-contained HTML page for A4, without scripts, fonts, images or external style sheets."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ..translation import N_, Translator
from .charts import Chart, bars, columns
from .markup import LINE, Markup, element, join, style
from .sums import VERDICTS
from .tables import TOP, Table, dates, notes, plain, tables

_TITLE = N_("Mail report")
_HEADINGS = {
    "totals": N_("All mail"),
    "days": N_("Messages by day"),
    "faculties": N_("Messages by faculty"),
    "domains": N_("Messages by domain"),
    "viruses": N_("Viruses"),
    "rules": N_("Reasons of refused recipients"),
    "recipients": N_("Busiest recipients"),
    "networks": N_("Client networks"),
    "refused_networks": N_("Client networks of refusals"),
    "countries": N_("Countries of clients"),
    "delays": N_("Delay of delivered messages"),
    "quarantine": N_("Quarantine"),
}
_PERIOD = N_("Period")
_GATEWAYS = N_("Gateways")
_FACULTY = N_("Faculty")
_MESSAGES = N_("Messages")
_BY_DOMAIN = N_("A message to recipients in several domains is counted once for each domain.")
_DELAYS = N_("Columns: messages by the seconds until the gateway's reply, up to the number below the column.")
_NOTHING = N_("No mail in this period.")
_LARGEST = N_("Largest: {name}, {number}. The table below has all numbers.")
_BARS = ("faculties", "domains", "viruses", "rules", "recipients", "networks", "refused_networks", "countries")
# Rows of a section that stays on one sheet.
_SHORT = 10
# Upper bounds in seconds of the columns of delays; the last has all longer ones.
_BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def page(
    report: Mapping[str, Any], translate: Translator, language: str, name: str, faculty: str = "", *, top: int = TOP
) -> str:
    """Return the page.

    Args:
        report: A sum of `sums.added`, or the part of a faculty.
        translate: Translates into the language.
        language: The language, as an HTML attribute.
        name: Name of the campus or gateway.
        faculty: Name of the faculty, empty for all.
        top: Entries of each list.
    """
    title = f"{translate(_TITLE)}: {plain(name)}" if name else translate(_TITLE)
    title += f", {plain(faculty)}" if faculty else ""
    facts = ((_PERIOD, dates(report)), (_FACULTY, faculty), (_GATEWAYS, ", ".join(report["gateways"])))
    described = [
        element("div", element("dt", translate(word)), element("dd", plain(text))) for word, text in facts if text
    ]
    missing = [element("p", line, class_="note missing") for line in notes(report, translate)]
    header = element("header", element("h1", title), element("dl", *described), *missing)
    sections = [_section(table, report, translate) for table in tables(report, translate, top)]
    main = element("main", join(sections or [element("p", translate(_NOTHING))], LINE))
    return "\n".join(
        (
            "<!DOCTYPE html>",
            f'<html lang="{Markup(language)}">',
            element("head", join(_head(title), LINE)),
            element("body", LINE, header, LINE, main, LINE),
            "</html>\n",
        )
    )


def _head(title: str) -> Iterator[Markup]:
    yield element("meta", charset="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    yield element("meta", http_equiv="Content-Security-Policy", content=policy)
    yield element("meta", name_="viewport", content="width=device-width, initial-scale=1")
    yield element("meta", name_="referrer", content="no-referrer")
    # The playbook removes pages of former faculties, and nothing but its own pages.
    yield element("meta", name_="generator", content="mailgate report")
    yield element("title", title)
    yield style((pkgutil.get_data(__name__.rpartition(".")[0], "page.css") or b"").decode())


def _section(table: Table, report: Mapping[str, Any], translate: Translator) -> Markup:
    """Return a section: heading, chart if there is one, and the table with the same numbers."""
    heading = translate(_HEADINGS[table.name])
    parts = [element("h2", heading, id=table.name)]
    if table.name in ("faculties", "domains"):
        parts.append(element("p", translate(_BY_DOMAIN), class_="note"))
    if table.name == "delays":
        parts.append(element("p", translate(_DELAYS), class_="note"))
    if drawn := _chart(table, report, heading, translate):
        parts.append(element("figure", drawn))
    parts.append(_table(table, heading))
    whole = {"class_": "whole"} if len(table.rows) <= _SHORT else {}
    return element("section", join(parts, LINE), aria_labelledby=table.name, **whole)


def _table(table: Table, heading: str) -> Markup:
    head = element("tr", *(element("th", cell, scope="col") for cell in table.head))
    rows = [
        element("tr", *([element("th", row[0], scope="row")] if row[0] else [element("td")]), *_cells(row[1:]))
        for row in table.rows
    ]
    drawn = element("table", element("thead", head), LINE, element("tbody", join(rows, LINE)), aria_label=heading)
    return element("div", drawn, class_="scroll")


def _cells(texts: Sequence[str]) -> Iterator[Markup]:
    return (element("td", text) for text in texts)


def _chart(table: Table, report: Mapping[str, Any], heading: str, translate: Translator) -> Markup | None:
    """Return the chart of a table, None if it has none or a single entry."""
    if table.name == "delays":
        return columns(_delays(report["delays"]["buckets"], heading, translate))
    names = [row[0] for row in table.rows]
    if table.name == "days":
        values = _numbers(table)
        # A date without its year; the period is above.
        return columns(_drawing(table, [name[5:] for name in names], values, heading, translate))
    if table.name in _BARS and len(names) > 1:
        return bars(_drawing(table, names, _numbers(table), heading, translate))
    return None


def _numbers(table: Table) -> list[list[int]]:
    """Return what is drawn of each row: messages by verdict, or the only number."""
    return [[int(cell) for cell in row[1 : 1 + len(VERDICTS)]] for row in table.rows]


def _drawing(
    table: Table, names: Sequence[str], values: Sequence[Sequence[int]], heading: str, translate: Translator
) -> Chart:
    kinds = VERDICTS if len(table.head) > 2 else ("number",)
    series = list(zip(kinds, table.head[1 : 1 + len(kinds)], strict=True))
    return Chart(table.name + "-chart", heading, summary(names, values, translate), series, names, values)


def _delays(buckets: Mapping[str, int], heading: str, translate: Translator) -> Chart:
    """Return the chart of delays: few columns, of the buckets of the index."""

    def column(bound: str) -> int:
        # The bounds of buckets are a factor of 1.1 apart; one belongs to the column that has most of it.
        return sum(float(bound) > limit * 1.05 for limit in _BOUNDS)

    counts = {place: sum(buckets[bound] for bound in bounds) for place, bounds in groupby(buckets, key=column)}
    first, last = min(counts), max(counts)
    names = [*(f"{limit:g}" for limit in _BOUNDS), f"> {_BOUNDS[-1]:g}"][first : last + 1]
    values = [[counts.get(place, 0)] for place in range(first, last + 1)]
    series = [("number", translate(_MESSAGES))]
    return Chart("delays-chart", heading, summary(names, values, translate), series, names, values)


def summary(names: Sequence[str], values: Sequence[Sequence[int]], translate: Translator) -> str:
    """Return the sentence on a chart, for those who cannot see it."""
    place = max(range(len(values)), key=lambda each: sum(values[each]))
    return translate(_LARGEST).format(name=names[place], number=sum(values[place]))
