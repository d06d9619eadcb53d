# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the three MX methods on one campus: the work to introduce each, and the effect of each outage.

Delivery, STATIC lines and the border rule are the same with each method; only the MX records differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .._inventory.model import METHODS, Campus, Host
from .._plan.mx import MxRecords
from .._plan.routes import Tables, derive
from .outcomes import outcomes
from .simulation import EXPOSED, HELD, DomainGroup, Outcome, Scenario, Simulation


@dataclass(frozen=True, slots=True)
class Outage:
    """The host whose outage holds mail for most domains, and their number; an empty name if there is none."""

    host: str = ""
    held: int = 0


@dataclass(frozen=True, slots=True)
class Method:
    """One MX method.

    Work to introduce it: ``zone_lines`` are added to or removed from the zones; ``outside_lines`` must be generated for
    the external zones; ``static_lines`` are needed on inner servers whose own MX look-ups would lead to the gateways,
    and on hubs that relay mail; ``hosts`` are to be changed.

    ``exposed_domains`` and ``exposed_servers``: what senders that follow the MX reach, unscanned, when the border rule
    is missing. (With any method, direct connections then reach every server.) ``blocked``: connections that the border
    refuses, and logs, while one message arrives for each domain. ``gateway_down`` and ``hub_down``: the domains whose
    mail is held while the worst one of them is down.
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
    """Return the comparison of `METHODS` for this campus."""
    tables = derive(campus)
    simulation = Simulation(campus, tables)
    return compare_with(tables, simulation, simulation.domain_groups())


def compare_with(tables: Tables, simulation: Simulation, groups: Sequence[DomainGroup]) -> dict[str, Method]:
    """Return the comparison from tables and domain groups that exist already."""
    return {name: _method(name, tables, simulation, groups) for name in METHODS}


def _method(name: str, tables: Tables, simulation: Simulation, groups: Sequence[DomainGroup]) -> Method:
    campus = simulation.campus
    records = MxRecords(campus, name)
    zone_lines = outside_lines = 0
    for each in groups:
        if each.domain in campus.kept or each.domain in campus.retired:
            continue
        before, after = records.own(each.domain), records.outside(each.domain)
        if name == "split":
            outside_lines += each.size * len(after)
        else:
            zone_lines += each.size * len(set(before) ^ set(after))
    routed = list(_routed(campus, name))
    changed = {host.name for kind in ("gateways", "borders", "dns") for host in campus.of_kind(kind)}

    def observe(scenario: Scenario, domain: str) -> Outcome:
        return simulation.follows_mx(scenario, domain, records.outside(domain))

    blocked = exposed = 0
    servers: set[str] = set()
    held: dict[Scenario, int] = {}
    scenarios = list(simulation.scenarios())
    for scenario, each, usual, found in outcomes(groups, scenarios, observe):
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
    """Yield the inner servers that need STATIC lines."""
    servers = campus.of_kind("servers")
    relaying = {server.hub for server in servers if server.behind_hub}
    for server in servers:
        if server.is_destination:
            continue
        if method == "gateway" or server.name in relaying:
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
