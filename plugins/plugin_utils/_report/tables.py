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
from collections.abc import Iterable, Sequence
from typing import Any

from .columns import plain, table, width
from .plan import Plan
from .rows import MxRecords, Route, Row, Static
from .static import Block
from .translations import N_, Translations, view_name

TITLES = {
    "gateways": N_("Gateways"),
    "routes": N_("Delivery list"),
    "mx": N_("MX records"),
    "static": N_("STATIC routes"),
    "permits": N_("Open to the outside (port 25)"),
    "external": N_("Hosted outside"),
    "destinations": N_("Servers that others maintain"),
    "rules": N_("Port-25 rule for routers that others maintain"),
}
HEADS = {
    "gateways": {"host": N_("Host"), "addresses": N_("Address"), "preference": N_("Preference")},
    "routes": {
        "domain": N_("Domain"),
        "next_hops": N_("Next hop"),
        "ask": N_("Verification server"),
        "home": N_("Final server"),
        "faculty": N_("Faculty"),
    },
    "mx": {
        "zone": N_("Zone"),
        "view": N_("View"),
        "owner": N_("Name"),
        "lines": N_("MX"),
        "servers": N_("DNS server"),
        "faculty": N_("Faculty"),
    },
    "static": {
        "server": N_("Server"),
        "domain": N_("Domain"),
        "next_hops": N_("Next hop"),
        "host": N_("Sent to"),
        "relay": N_("Relayed"),
        "faculty": N_("Faculty"),
    },
    "permits": {
        "host": N_("Host"),
        "address": N_("Address"),
        "reason": N_("Reason"),
        "owner": N_("Owner"),
        "until": N_("Until"),
        "borders": N_("Border router"),
        "faculty": N_("Faculty"),
    },
    "external": {"domain": N_("Domain"), "within": N_("Excepted from"), "faculty": N_("Faculty")},
    "destinations": {
        "host": N_("Server"),
        "addresses": N_("Address"),
        "domains": N_("Domains"),
        "sends": N_("Sends by MX, through"),
        "faculty": N_("Faculty"),
    },
    "rules": {
        "border": N_("Border router"),
        "order": N_("Order"),
        "source": N_("Source"),
        "destination": N_("Destination"),
        "port": N_("Port"),
        "action": N_("Action"),
        "comment": N_("Comment"),
    },
}
# A cell that begins so is a formula to a spreadsheet (OWASP, "CSV Injection"); Japanese ones accept the wide forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_LINE = 200


def columns(name: str, rows: Sequence[Row]) -> list[str]:
    """Return the fields of a table that reports show: the view and the verification server only if they differ."""
    shown = {
        "view": any(isinstance(row, MxRecords) and row.view for row in rows),
        "ask": any(isinstance(row, Route) and row.ask != row.next_hops for row in rows),
    }
    return [column for column in HEADS[name] if shown.get(column, True)]


def head(name: str, shown: Iterable[str], catalog: Translations) -> list[str]:
    """Return the column heads for fields of a table."""
    return [catalog.gettext(HEADS[name][column]) for column in shown]


def cell(row: Row, column: str, catalog: Translations) -> str:
    """Return one field of a row as text for people."""
    value: object = getattr(row, column)
    if isinstance(row, MxRecords) and column == "lines":
        return ", ".join(f"{preference} {exchange}" for preference, exchange in row.lines)
    if isinstance(row, Static) and column == "next_hops" and not value and row.host:
        return catalog.gettext("local delivery")
    if column == "view":
        return view_name(str(value), catalog)
    if isinstance(value, bool):
        return catalog.gettext("yes") if value else ""
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)


def cells(name: str, rows: Sequence[Row], catalog: Translations, *without: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and rows of a table as text, without the columns ``without``."""
    shown = [column for column in columns(name, rows) if column not in without]
    return head(name, shown, catalog), [[cell(row, column, catalog) for column in shown] for row in rows]


def as_text(name: str, plan: Plan, shared: Sequence[Block], catalog: Translations) -> str:
    """Return a table in columns below its title; STATIC routes as the blocks of servers that share them."""
    gettext = catalog.gettext
    rows = plan.rows(name)
    title = plain(gettext(TITLES[name]) + f" ({len(rows)})")
    if not rows:
        lines = ["  " + gettext("none")]
    elif name == "static":
        lines = [line for block in shared for line in _block(block, catalog)]
    else:
        lines = table(*cells(name, rows, catalog))
    return "\n".join([title, "=" * width(title), *lines, ""])


def _block(block: Block, catalog: Translations) -> list[str]:
    note = catalog.gettext("local domains are delivered here")
    own = [f"  ({note})"] if block.keeps else []
    return ["", plain(", ".join(block.servers)), *own, *table(block_head(catalog), block_cells(block, catalog))]


def block_head(catalog: Translations) -> list[str]:
    """Return the column heads of a block of STATIC routes."""
    return head("static", ("domain", "next_hops", "host", "relay"), catalog)


def block_cells(block: Block, catalog: Translations) -> list[list[str]]:
    """Return a block's rows, all as text."""
    return [
        [name, ", ".join(line.next_hops), line.host, catalog.gettext("yes") if line.relay else ""]
        for line in block.lines
        for name in line.names(catalog)
    ]


def as_csv(name: str, plan: Plan, catalog: Translations) -> str:
    """Return a table for spreadsheets (RFC 4180, with a byte order mark, which Excel needs to detect UTF-8).

    A cell that would be a formula is prefixed with an apostrophe.
    """
    head, rows = cells(name, plan.rows(name), catalog)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows([escape_formula(text) for text in row] for row in rows)
    return "\ufeff" + file.getvalue()


def escape_formula(text: str) -> str:
    """Return the text of a cell so that a spreadsheet does not evaluate it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_json(name: str, plan: Plan) -> str:
    """Return a table for programs: a list of rows, each with field names in English."""
    return to_json([record(row) for row in plan.rows(name)]) + "\n"


def record(row: Row) -> dict[str, Any]:
    """Return a row as plain data."""
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    if isinstance(row, MxRecords):
        fields["lines"] = [{"preference": preference, "exchange": exchange} for preference, exchange in row.lines]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def to_json(value: object, indent: str = "") -> str:
    """Return JSON for line-by-line comparison: values that fit on a line are not broken up."""
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
