# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a page of text, in English or Japanese, in columns that also line up with wide characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._inventory.model import Campus
from .._plan.mx import MxTables
from .._plan.routes import Tables
from .._proof.proof import Proof
from .proof import methods_table, proof_table
from .words import speaker

_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def width(text: str) -> int:
    """Return how many columns of a terminal the text takes (Unicode Standard Annex 11: wide and fullwidth take two)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def plain(text: str) -> str:
    """Return the text as one line that no terminal obeys: what is no visible character becomes U+FFFD or a space."""
    if text.isprintable():
        return text
    return "".join(" " if char.isspace() else _visible(char) for char in text)


def _visible(char: str) -> str:
    return "\ufffd" if unicodedata.category(char) in _INVISIBLE else char


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return aligned lines: the head, a rule, the rows. Nothing is cut off; each cell is made `plain`."""
    cells = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = (cell + " " * (size - width(cell)) for cell, size in zip(row, widths, strict=True))
        return "  " + "  ".join(padded).rstrip()

    rule = "  " + "  ".join("-" * size for size in widths)
    return [line(cells[0]), rule, *(line(row) for row in cells[1:])]


def page(
    campus: Campus,
    tables: Tables,
    proof: Proof,
    warnings: Sequence[str],
    methods: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return the whole plan, in the campus's language, for people to read and check; ends without a line break.

    ``methods`` are the MX methods side by side, as mail_plan returns them.
    """
    lines = _Page(campus, tables).lines(proof, warnings, methods or {})
    return "\n".join(plain(line) for line in lines)


class _Page:
    def __init__(self, campus: Campus, tables: Tables) -> None:
        self.campus = campus
        self.tables = tables
        self.say = speaker(campus.language)

    def head(self, *words: str) -> list[str]:
        return [self.say(each) for each in words]

    def lines(self, proof: Proof, warnings: Sequence[str], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
        campus = self.campus
        title = self.say("Mail plan") + (f": {campus.name}" if campus.name else "")
        facts = (("method", campus.method), ("delivery", campus.delivery), ("networks", ", ".join(campus.networks)))
        return [
            title,
            "=" * width(title),
            "  " + ", ".join(f"{self.say(name)}: {self.say(value)}" for name, value in facts if value),
            *self.gateways(),
            *self.routes(),
            *self.mx(),
            *self.static(),
            *self.permits(),
            *self.proof(proof),
            *self.methods(methods),
            *self.warnings(warnings),
        ]

    def section(self, title: str, lines: Iterable[str]) -> list[str]:
        return ["", title, *lines]

    def gateways(self) -> list[str]:
        rows = [(host.name, ", ".join(host.addresses), str(host.preference)) for host in self.campus.gateways]
        return self.section(self.say("Gateways"), table(self.head("Host", "Address", "Preference"), rows))

    def routes(self) -> list[str]:
        routes = sorted(self.tables.routes, key=lambda route: (route.faculty, route.domain.removeprefix("*.")))
        rows = [
            (
                route.domain,
                ", ".join(route.next_hops) + ("" if route.via == route.home else f" {route.via}"),
                route.home + (f" {', '.join(route.ask)}" if route.ask else ""),
                route.faculty,
            )
            for route in routes
        ]
        title = f"{self.say('Delivery list')} ({len(rows)})"
        return self.section(title, table(self.head("Domain", "Next hop", "Home server", "Faculty"), rows))

    def mx(self) -> list[str]:
        views = {"": self.tables.mx}
        if self.tables.mx_outside:
            views = {"inside": self.tables.mx, "outside": self.tables.mx_outside}
        return [line for view, tables in views.items() for line in self.view(view, tables)]

    def view(self, view: str, tables: MxTables) -> list[str]:
        servers: dict[str, list[str]] = {}
        owners = {}
        for server, zones in tables.items():
            for zone, names in zones.items():
                servers.setdefault(zone, []).append(server)
                owners[zone] = names
        lines = []
        for zone, names in owners.items():
            where = f"{zone}, {self.say(view)}" if view else zone
            title = (
                f"{self.say('MX lines of zone')} {where}, {self.say('on')} {', '.join(servers[zone])} ({len(names)})"
            )
            rows = [(name, ", ".join(f"{mx.preference} {mx.exchange}" for mx in each)) for name, each in names.items()]
            lines += self.section(title, table(self.head("Name", "MX"), rows))
        return lines

    def static(self) -> list[str]:
        rows = []
        for name, mail in self.tables.sendmail.items():
            hub = self.campus.hosts[name].hub
            rows.append((name, hub, str(len(mail.local)), str(len(mail.relay)), str(len(mail.static))))
        head = self.head("Server", "Hub", "Own", "Relays", "Routes")
        return self.section(self.say("STATIC routes"), table(head, rows))

    def permits(self) -> list[str]:
        rows = [
            (host.name, ", ".join(host.addresses), host.permit.reason, host.permit.owner, host.permit.until.isoformat())
            for host in self.campus.permitted
            if host.permit
        ]
        title = self.say("Open to the outside (port 25)")
        if not rows:
            return self.section(title, [f"  {self.say('none')}"])
        return self.section(title, table(self.head("Host", "Address", "Reason", "Owner", "Until"), rows))

    def proof(self, proof: Proof) -> list[str]:
        head, rows = proof_table(
            [
                {"scenario": scenario.kind, "host": scenario.host, "senders": senders}
                for scenario, senders in proof.counts.items()
            ],
            self.say,
        )
        title = f"{self.say('Proof')}: {self.say('passed' if proof.ok else 'with findings')}"
        return self.section(title, table(head, rows))

    def methods(self, methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
        head, rows = methods_table(methods, self.say)
        return self.section(self.say("MX methods side by side"), table(head, rows)) if rows else []

    def warnings(self, warnings: Sequence[str]) -> list[str]:
        return self.section(self.say("Warnings"), [f"  {warning}" for warning in warnings]) if warnings else []
