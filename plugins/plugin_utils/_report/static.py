# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shorten STATIC routes for print: servers with equal tables share a block, and long remainders become one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .plan import Plan, domain_key
from .translations import Translations

_LONG = 12  # domains that one line names; a longer last line is "all other domains"

# (next hops, host, relay): where mail for a domain is sent, and whether it is accepted from other hosts.
_Way = tuple[tuple[str, ...], str, bool]


@dataclass(frozen=True, slots=True)
class Line:
    """Domains with the same route.

    ``kind``: ``domains`` (listed), ``faculty`` (all of ``faculty``), ``others`` (all that no line above covers) or
    ``all`` (every domain, as in the gateways' delivery list).
    """

    domains: tuple[str, ...]
    next_hops: tuple[str, ...] = ()
    host: str = ""
    relay: bool = False
    kind: str = "domains"
    faculty: str = ""

    def names(self, catalog: Translations) -> tuple[str, ...]:
        """Return the domains, or the text that stands for them."""
        gettext = catalog.gettext
        if self.kind == "domains":
            return self.domains
        texts = {
            "faculty": gettext("all of {faculty}").format(faculty=self.faculty),
            "others": gettext("all other domains"),
            "all": gettext("as in the delivery list"),
        }
        return (f"{texts[self.kind]} ({len(self.domains)})",)


@dataclass(frozen=True, slots=True)
class Block:
    """Servers with equal lines except for local domains; ``keeps``: some have local domains."""

    servers: tuple[str, ...]
    faculty: str
    keeps: bool
    lines: tuple[Line, ...]


@dataclass(slots=True)
class _Merged:
    faculty: str
    known: frozenset[str]
    ways: dict[str, _Way]
    servers: list[str] = field(default_factory=list)
    keeps: bool = False

    def covers(self, faculty: str, known: frozenset[str], ways: Mapping[str, _Way]) -> bool:
        """Return whether a table can be derived from this one: it has the same domains, and no other route for one."""
        return (
            faculty == self.faculty
            and known == self.known
            and all(self.ways.get(domain, way) == way for domain, way in ways.items())
        )


def blocks(plan: Plan) -> list[Block]:
    """Return the STATIC tables of a plan. A server's block and its local domains determine its whole table."""
    ways: dict[str, dict[str, _Way]] = {}
    kept: dict[str, set[str]] = {}
    faculty_of: dict[str, str] = {}
    for row in plan.static:
        faculty_of[row.server] = row.faculty
        ways.setdefault(row.server, {})
        if row.next_hops or not row.host:
            ways[row.server][row.domain] = (row.next_hops, row.host, row.relay)
        else:
            kept.setdefault(row.server, set()).add(row.domain)
    merged: list[_Merged] = []
    for server, faculty in faculty_of.items():
        own = kept.get(server, set())
        known = frozenset(own | ways[server].keys())
        for block in merged:
            if block.covers(faculty, known, ways[server]):
                break
        else:
            block = _Merged(faculty, known, {})
            merged.append(block)
        block.ways.update(ways[server])
        block.servers.append(server)
        block.keeps = block.keeps or bool(own)
    delivery = {route.domain: route.next_hops for route in plan.routes}
    faculties: dict[str, set[str]] = {}
    for route in plan.routes:
        faculties.setdefault(route.faculty, set()).add(route.domain)
    whole = {frozenset(domains): name for name, domains in faculties.items() if name and len(domains) > 1}
    return [Block(tuple(each.servers), each.faculty, each.keeps, _lines(each.ways, delivery, whole)) for each in merged]


def _lines(
    ways: Mapping[str, _Way], delivery: Mapping[str, tuple[str, ...]], whole: Mapping[frozenset[str], str]
) -> tuple[Line, ...]:
    relays = {relay for _hops, _host, relay in ways.values()}
    if len(relays) == 1 and {domain: way[0] for domain, way in ways.items()} == delivery:
        return (Line(_sorted(ways), relay=relays.pop(), kind="all"),)
    groups: dict[_Way, list[str]] = {}
    for domain, way in ways.items():
        groups.setdefault(way, []).append(domain)
    lines = []
    for (hops, host, relay), domains in groups.items():
        faculty = whole.get(frozenset(domains), "")
        lines.append(Line(_sorted(domains), hops, host, relay, "faculty" if faculty else "domains", faculty))
    longest = max(lines, key=lambda line: len(line.domains), default=None)
    if longest and longest.kind == "domains" and len(longest.domains) > _LONG:
        lines.remove(longest)
        lines.append(replace(longest, kind="others"))
    order = ("domains", "faculty", "others")
    return tuple(sorted(lines, key=lambda line: (order.index(line.kind), line.faculty, domain_key(line.domains[0]))))


def _sorted(domains: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(domains, key=domain_key))
