# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three MX methods side by side, on one campus: what each costs to introduce, and what it withstands.

Delivery, STATIC lines and the border's rule are the same with each; what differs is where senders turn to first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .._inventory.model import METHODS, Campus, Host
from .._proof.proof import outcomes
from .._proof.simulation import EXPOSED, HELD, Alike, Found, Scenario, Walker
from .mx import MxLines
from .routes import Tables, derive


@dataclass(frozen=True, slots=True)
class Outage:
    """The one host whose loss stops mail for most domains, and for how many; an empty name when there is none."""

    host: str = ""
    held: int = 0


@dataclass(frozen=True, slots=True)
class Method:
    """One MX method.

    To introduce it: ``zone_lines`` are added to or removed from the zones, ``outside_lines`` must be generated for the
    copies that the outside sees; ``static_lines`` are needed on inner servers, where their own look-ups would lead to
    the gateways, or where hubs pass mail on; ``hosts`` are to be changed.

    ``exposed_domains`` and ``exposed_servers``: where senders that follow the MX end, unscanned, when the border loses
    its rule. (Who connects straight reaches every server then, with any method.) ``blocked``: connections that the
    border refuses, and logs, while one message comes in for each domain. ``gateway_down`` and ``hub_down``: the domains
    whose mail waits while the worst one of them is down.
    """

    name: str
    zone_lines: int
    outside_lines: int
    static_lines: int
    hosts: int
    exposed_domains: int
    exposed_servers: int
    blocked: int
    gateway_down: Outage
    hub_down: Outage


def compare(campus: Campus) -> dict[str, Method]:
    """Return each of `METHODS` as it would be on this campus."""
    tables = derive(campus)
    walker = Walker(campus, tables)
    return compare_with(tables, walker, walker.alike())


def compare_with(tables: Tables, walker: Walker, alike: Sequence[Alike]) -> dict[str, Method]:
    """Return each of `METHODS`, from what has been derived of the campus already."""
    return {name: _method(name, tables, walker, alike) for name in METHODS}


def _method(name: str, tables: Tables, walker: Walker, alike: Sequence[Alike]) -> Method:
    campus = walker.campus
    lines = MxLines(campus, name)
    zone_lines = outside_lines = 0
    for each in alike:
        if each.domain in campus.kept:
            continue
        before, after = lines.own(each.domain), lines.outside(each.domain)
        if name == "split":
            outside_lines += each.size * len(after)
        else:
            zone_lines += each.size * len(set(before) ^ set(after))
    routed = list(_routed(campus, name))
    changed = {host.name for kind in ("gateways", "borders", "dns") for host in campus.of_kind(kind)}

    def look(scenario: Scenario, domain: str) -> Found:
        return walker.follows_mx(scenario, domain, lines.outside(domain))

    blocked = exposed = 0
    servers: set[str] = set()
    held: dict[Scenario, int] = {}
    scenarios = list(walker.scenarios())
    for scenario, each, usual, found in outcomes(alike, scenarios, look):
        if usual is None:
            blocked += each.size * found.blocked
        elif scenario.kind == "border_open":
            if found.verdict == EXPOSED:
                exposed += each.size
                servers.add(found.path[1])
        else:
            more = (found.verdict == HELD) - (usual.verdict == HELD)
            held[scenario] = held.get(scenario, 0) + each.size * more
    return Method(
        name=name,
        zone_lines=zone_lines,
        outside_lines=outside_lines,
        static_lines=sum(len(tables.sendmail[server.name].static) for server in routed),
        hosts=len(changed | {server.name for server in routed}),
        exposed_domains=exposed,
        exposed_servers=len(servers),
        blocked=blocked,
        gateway_down=_worst(held, "gateway_down"),
        hub_down=_worst(held, "hub_down"),
    )


def _routed(campus: Campus, method: str) -> Iterator[Host]:
    """Yield the inner servers that can't do without STATIC lines."""
    for server in campus.of_kind("servers"):
        if method == "gateway" or (campus.delivery == "tiered" and server.hub == server.name):
            yield server


def _worst(held: dict[Scenario, int], kind: str) -> Outage:
    each = [Outage(scenario.host, number) for scenario, number in held.items() if scenario.kind == kind and number]
    return max(each, key=lambda outage: outage.held, default=Outage())


def as_dict(methods: dict[str, Method]) -> dict[str, dict[str, object]]:
    """Return the comparison as plain data, by method."""
    return {
        method.name: {
            "work": {
                "zone_lines": method.zone_lines,
                "outside_lines": method.outside_lines,
                "static_lines": method.static_lines,
                "hosts": method.hosts,
            },
            "border_open": {"domains": method.exposed_domains, "servers": method.exposed_servers},
            "blocked": method.blocked,
            "gateway_down": {"host": method.gateway_down.host, "held": method.gateway_down.held},
            "hub_down": {"host": method.hub_down.host, "held": method.hub_down.held},
        }
        for method in methods.values()
    }
