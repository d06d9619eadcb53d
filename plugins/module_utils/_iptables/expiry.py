# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Permits that end by themselves: the file `expiry` has the lines of the other files that are valid until a day.

A timeout of ipset or nft cannot hold a date: it counts the time since loading, in ipset for 24 days at most. So the
loader leaves expired lines out whenever it reads a file. Pure, no I/O.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable

from . import model, nft
from .model import Permit

FILE = "expiry"
_LINE = re.compile(r"(\d{4}-\d\d-\d\d) (.+)")
_EMPTY = re.compile(r"^[ \t]*elements = \{\n[ \t]*\}\n", re.MULTILINE)


def text_of(permits: Iterable[tuple[Permit, str]]) -> str:
    """Return the file for permits, each with its last day (an ISO date, "" for none): `DAY LINE`, for every backend."""
    lines = [
        f"{until} {line}\n"
        for permit, until in permits
        if until
        for line in (*model.permit_lines(permit), nft.permit_line(permit))
    ]
    return "".join(dict.fromkeys(lines))


def expired(expiry: str, today: datetime.date) -> frozenset[str]:
    """Return the lines whose last day is over; lines of the file in another form are ignored."""
    found = filter(None, map(_LINE.fullmatch, expiry.splitlines()))
    return frozenset(match[2] for match in found if match[1] < today.isoformat())


def without(text: str, lines: frozenset[str]) -> str:
    """Return a file of rules without these lines."""
    if not lines:
        return text
    kept = "".join(line for line in text.splitlines(keepends=True) if line.strip() not in lines)
    return _EMPTY.sub("", kept)
