# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate report`: messages processed, relay attempts refused, viruses found in a period; then what the index has."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from mailgate.commands.event_lines import clean
from mailgate.commands.event_options import add_period, note
from mailgate.commands.report_data import DOMAIN_COLUMNS, VERDICTS, Report, as_json, collect
from mailgate.config import LANGUAGES, ConfigError
from mailgate.config_file import load_config
from mailgate.event_index.store import DailyStore
from mailgate.events import PROCESSED, RELAY_REFUSED, VIRUS_FOUND
from mailgate.translation import N_, Translator, translator

STYLES = ("table", "csv", "json")
_PERIOD = N_("Period")
_BEFORE = N_("before: {number}")
_COLUMNS = {
    PROCESSED: N_("Mails processed"),
    RELAY_REFUSED: N_("Relay attempts refused"),
    VIRUS_FOUND: N_("Viruses found"),
}
_VERDICTS = {
    "accepted": N_("Delivered"),
    "queued": N_("Through the queue"),
    "refused": N_("Refused"),
    "deferred": N_("Deferred"),
    "refused_recipients": N_("Recipients refused"),
    "deferred_recipients": N_("Recipients deferred"),
}
_DAY = N_("Day")
_DOMAIN = N_("Domain")
_NUMBER = N_("Number")
_LISTS = {
    "viruses": N_("Virus"),
    "rules": N_("Reason of refused recipients"),
    "recipients": N_("Busiest recipients"),
    "networks": N_("Client network"),
    "refused_networks": N_("Client network of refusals"),
}
_DELAY = N_("Delay in seconds")
_QUARANTINE = N_("Quarantine")
_MESSAGES = N_("Messages")
_BYTES = N_("Bytes")

Row = Sequence[str]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_period(parser)
    parser.add_argument("--top", type=int, default=20, metavar="N", help="entries of each list (default: 20)")
    parser.add_argument("--format", choices=STYLES, default="table")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="as --format json")
    parser.add_argument("--language", choices=LANGUAGES, help="language of the report (default: the language setting)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    config = load_config(options.config)
    until = options.until or datetime.now().astimezone()
    since = options.since or until - timedelta(days=30)
    if since >= until:
        raise ConfigError(["--since must be before --until"])
    report = collect(config, DailyStore(config.state_dir, read_only=True, note=note), since, until)
    language = options.language or config.language
    sys.stdout.write(render(report, style=options.format, language=language, top=max(1, options.top)))
    return 0


def render(report: Report, *, style: str, language: str, top: int) -> str:
    """Return the report.

    Args:
        report: The data.
        style: `table`, `csv` or `json`.
        language: Language of the titles of tables and CSV files.
        top: Entries of each list.
    """
    if style == "json":
        return json.dumps(as_json(report, top), indent=2) + "\n"
    translate = translator(language)
    if style == "csv":
        return _csv(report, translate, top)
    return "\n".join(("".join(_totals(report, translate)), *(_table(rows) for rows in _tables(report, translate, top))))


def _totals(report: Report, translate: Translator) -> Iterator[str]:
    """Yield the lines of the totals, with those of the period before."""
    rows = [(translate(_PERIOD), _dates(report), "")]
    for column, title in _COLUMNS.items():
        former = translate(_BEFORE).format(number=report.before.totals[column])
        rows.append((translate(title), str(report.period.totals[column]), f"  ({former})"))
    width = max(_width(title) for title, _value, _before in rows)
    for name, value, before in rows:
        yield f"{name}{' ' * (width - _width(name))}  {value}{before}\n"


def _dates(report: Report) -> str:
    return " - ".join(each.isoformat(" ", "minutes") for each in (report.period.since, report.period.until))


def _csv(report: Report, translate: Translator, top: int) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([translate(_PERIOD), *(translate(title) for title in _COLUMNS.values())])
    writer.writerow([_dates(report), *(report.period.totals[column] for column in _COLUMNS)])
    for rows in _tables(report, translate, top):
        writer.writerow([])
        writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return out.getvalue()


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _tables(report: Report, translate: Translator, top: int) -> Iterator[list[Row]]:
    """Yield the tables that have rows, each with its titles."""
    if report.days:
        days = [(day, *_cells(numbers, VERDICTS)) for day, numbers in sorted(report.days.items())]
        yield [(translate(_DAY), *(translate(_VERDICTS[each]) for each in VERDICTS)), *days]
    if report.domains:
        ordered = sorted(report.domains.items(), key=lambda item: (-item[1].total(), item[0]))[:top]
        yield [
            (translate(_DOMAIN), *(translate(_VERDICTS[each]) for each in DOMAIN_COLUMNS)),
            *((clean(domain), *_cells(numbers, DOMAIN_COLUMNS)) for domain, numbers in ordered),
        ]
    for name, title in _LISTS.items():
        if numbers := report.lists.get(name):
            word = _network if "network" in name else clean
            shown = [(word(key), str(number)) for key, number in numbers.most_common(top)]
            yield [(translate(title), translate(_NUMBER)), *shown]
    if report.delays:
        percentiles = report.percentiles
        yield [
            (translate(_DELAY), *percentiles),
            ("", *("-" if seconds is None else f"{seconds:.3f}" for seconds in percentiles.values())),
        ]
    if report.quarantine is not None:
        kept = [str(int(report.quarantine[each])) for each in ("messages", "bytes")]
        yield [(translate(_QUARANTINE), translate(_MESSAGES), translate(_BYTES)), ("", *kept)]


def _cells(numbers: dict[str, int], columns: Iterable[str]) -> list[str]:
    return [str(numbers.get(column, 0)) for column in columns]


def _network(key: str) -> str:
    """Return a network as usual: it is recorded as the first part of its addresses."""
    key = clean(key)
    return f"{key}::/48" if ":" in key else f"{key}.0/24" if key.count(".") == 2 else key


def _table(rows: Sequence[Row]) -> str:
    """Return rows as aligned columns, numbers to the right."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0] + " " * (widths[0] - _width(row[0]))]
        cells += [" " * (width - _width(cell)) + cell for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def _width(text: str) -> int:
    """Return the number of columns on a terminal; Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
