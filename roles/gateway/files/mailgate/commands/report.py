# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report on a period: messages processed, relay attempts refused, viruses found."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime

from mailgate.events import PROCESSED, RELAY_REFUSED, VIRUS_FOUND
from mailgate.translation import N_, translator

_PERIOD = N_("Period")
_COLUMNS = {
    PROCESSED: N_("Mails processed"),
    RELAY_REFUSED: N_("Relay attempts refused"),
    VIRUS_FOUND: N_("Viruses found"),
}


def render(totals: Mapping[str, int], since: datetime, until: datetime, *, style: str, language: str) -> str:
    """Return the report.

    Args:
        totals: Count of each event; one that is missing counts as 0.
        since: First moment of the period.
        until: End of the period.
        style: `table`, `csv` or `json`.
        language: Language of the titles of the table and the CSV file.
    """
    translate = translator(language)
    period = translate(_PERIOD)
    titles = {column: translate(title) for column, title in _COLUMNS.items()}
    numbers = {column: totals.get(column, 0) for column in _COLUMNS}
    first, last = (moment.isoformat(" ", "minutes") for moment in (since, until))
    if style == "json":
        return json.dumps({"since": since.isoformat(), "until": until.isoformat(), **numbers}, indent=2) + "\n"
    if style == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([period, *titles.values()])
        writer.writerow([f"{first} - {last}", *numbers.values()])
        return out.getvalue()
    rows = [(period, f"{first} - {last}"), *((titles[column], str(number)) for column, number in numbers.items())]
    width = max(_width(title) for title, _value in rows)
    return "".join(f"{title}{' ' * (width - _width(title))}  {value}\n" for title, value in rows)


def _width(text: str) -> int:
    """Return the number of columns on a terminal; Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
