# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's tables as text, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .plan import MxRecords, Plan, Route, Row, Static
from .static import Block
from .text import plain, table, width

Say = Callable[[str], str]

TITLES = {
    "gateways": "Gateways",
    "routes": "Delivery list",
    "mx": "MX lines",
    "static": "STATIC routes",
    "permits": "Open to the outside (port 25)",
}
HEADS = {
    "gateways": {"host": "Host", "addresses": "Address", "preference": "Preference"},
    "routes": {
        "domain": "Domain",
        "next_hops": "Next hop",
        "ask": "Recipients asked of",
        "home": "Home server",
        "faculty": "Faculty",
    },
    "mx": {
        "zone": "Zone",
        "view": "View",
        "owner": "Name",
        "lines": "MX",
        "servers": "DNS server",
        "faculty": "Faculty",
    },
    "static": {
        "server": "Server",
        "domain": "Domain",
        "next_hops": "Next hop",
        "host": "Goes to",
        "relay": "Relay",
        "faculty": "Faculty",
    },
    "permits": {
        "host": "Host",
        "address": "Address",
        "reason": "Reason",
        "owner": "Owner",
        "until": "Until",
        "borders": "Border router",
        "faculty": "Faculty",
    },
}
# A spreadsheet runs a cell that begins so as a formula (OWASP, "CSV Injection"); the wide forms work in Japanese ones.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_LINE = 200


def columns(name: str, rows: Sequence[Row]) -> list[str]:
    """Return the fields of a table that its print-outs show; view and who is asked only where that tells something."""
    telling = {
        "view": any(isinstance(row, MxRecords) and row.view for row in rows),
        "ask": any(isinstance(row, Route) and row.ask != row.next_hops for row in rows),
    }
    return [column for column in HEADS[name] if telling.get(column, True)]


def head(name: str, shown: Iterable[str], say: Say) -> list[str]:
    """Return the column heads for fields of a table."""
    return [say(HEADS[name][column]) for column in shown]


def cell(row: Row, column: str, say: Say) -> str:
    """Return one field of a row as people read it."""
    value: object = getattr(row, column)
    if isinstance(row, MxRecords) and column == "lines":
        return ", ".join(f"{preference} {exchange}" for preference, exchange in row.lines)
    if isinstance(row, Static) and column == "next_hops" and not value and row.host:
        return say("kept here")
    if column == "view":
        return say(str(value))
    if isinstance(value, bool):
        return say("yes") if value else ""
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)


def cells(name: str, rows: Sequence[Row], say: Say, *without: str) -> tuple[list[str], list[list[str]]]:
    """Return a table's head and rows, all as text, but for the columns ``without``."""
    shown = [column for column in columns(name, rows) if column not in without]
    return head(name, shown, say), [[cell(row, column, say) for column in shown] for row in rows]


def as_text(name: str, plan: Plan, shared: Sequence[Block], say: Say) -> str:
    """Return a table as lines in columns under its title; STATIC routes by the groups of servers that share theirs."""
    rows = plan.rows(name)
    title = plain(f"{say(TITLES[name])} ({len(rows)})")
    if not rows:
        lines = [f"  {say('none')}"]
    elif name == "static":
        lines = [line for block in shared for line in _block(block, say)]
    else:
        lines = table(*cells(name, rows, say))
    return "\n".join([title, "=" * width(title), *lines, ""])


def _block(block: Block, say: Say) -> list[str]:
    own = [f"  ({say('own domains stay here')})"] if block.keeps else []
    return ["", plain(", ".join(block.servers)), *own, *table(block_head(say), block_cells(block, say))]


def block_head(say: Say) -> list[str]:
    """Return the column heads of a block of STATIC routes."""
    return [say(word) for word in ("Domain", "Next hop", "Goes to", "Relay")]


def block_cells(block: Block, say: Say) -> list[list[str]]:
    """Return a block's rows, all as text."""
    return [
        [name, ", ".join(line.next_hops), line.host, say("yes") if line.relay else ""]
        for line in block.lines
        for name in line.names(say)
    ]


def as_csv(name: str, plan: Plan, say: Say) -> str:
    """Return a table for spreadsheets (RFC 4180, with a byte order mark, without which Excel doesn't see UTF-8).

    A cell that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    head, rows = cells(name, plan.rows(name), say)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows([escape_formula(text) for text in row] for row in rows)
    return "\ufeff" + file.getvalue()


def escape_formula(text: str) -> str:
    """Return a cell's text so that a spreadsheet shows it and never computes it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_json(name: str, plan: Plan) -> str:
    """Return a table for programs: a list of rows, each with the names of its fields in English."""
    return to_json([record(row) for row in plan.rows(name)]) + "\n"


def record(row: Row) -> dict[str, Any]:
    """Return a row as plain data."""
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    if isinstance(row, MxRecords):
        fields["lines"] = [{"preference": preference, "exchange": exchange} for preference, exchange in row.lines]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def to_json(value: object, indent: str = "") -> str:
    """Return JSON that is read and compared line by line: what fits on a line is one, the rest is broken up."""
    deeper = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(str(key), ensure_ascii=False)}: {to_json(each, deeper)}" for key, each in value.items()]
        left, right = "{}"
    elif isinstance(value, list | tuple):
        parts = [to_json(each, deeper) for each in value]
        left, right = "[]"
    else:
        return json.dumps(value, ensure_ascii=False)
    if sum(map(len, parts)) + 2 * len(parts) < _LINE and not any("\n" in part for part in parts):
        return left + ", ".join(parts) + right
    inner = f",\n{deeper}".join(parts)
    return f"{left}\n{deeper}{inner}\n{indent}{right}"
