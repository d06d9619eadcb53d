# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a period: mails processed, relay attempts refused, viruses found."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime

from mailgate.events import PROCESSED, RELAY_REFUSED, VIRUS_FOUND

COLUMNS = (PROCESSED, RELAY_REFUSED, VIRUS_FOUND)

_TITLES = {
    "en": {
        "period": "Period",
        PROCESSED: "Mails processed",
        RELAY_REFUSED: "Relay attempts refused",
        VIRUS_FOUND: "Viruses found",
    },
    "ja": {
        "period": "期間",
        PROCESSED: "処理メール数",
        RELAY_REFUSED: "不正中継拒否数",
        VIRUS_FOUND: "ウイルス発見数",
    },
}


def render(totals: Mapping[str, int], since: datetime, until: datetime, *, style: str, language: str) -> str:
    """The report as `table`, `csv` or `json`; titles of the table and the CSV file in `language`."""
    titles = _TITLES[language]
    numbers = {column: totals.get(column, 0) for column in COLUMNS}
    first, last = (moment.isoformat(" ", "minutes") for moment in (since, until))
    if style == "json":
        return json.dumps({"since": since.isoformat(), "until": until.isoformat(), **numbers}, indent=2) + "\n"
    if style == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([titles["period"], *(titles[column] for column in COLUMNS)])
        writer.writerow([f"{first} - {last}", *numbers.values()])
        return out.getvalue()
    rows = [(titles["period"], f"{first} - {last}"), *((titles[c], str(n)) for c, n in numbers.items())]
    width = max(_width(title) for title, _count in rows)
    return "".join(f"{title}{' ' * (width - _width(title))}  {value}\n" for title, value in rows)


def _width(text: str) -> int:
    """Columns on a terminal: Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
