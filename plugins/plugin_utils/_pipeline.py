# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole pipeline in one call: inventory, tables, proof, comparison of the MX methods, report."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ._inventory.findings import HostFacts, Locate
from ._inventory.inventory import read_campus
from ._inventory.model import Campus, Host
from ._inventory.problems import Place, PlanRefused, Problem
from ._plan.event_database import user_of
from ._plan.mx import Mx, MxTables
from ._plan.routes import Border, MailTable, Static, Tables, derive
from ._plan.static import distance
from ._proof.methods import Method, compare_with
from ._proof.methods import as_dict as methods_as_dict
from ._proof.proof import Proof, as_dict, prove
from ._proof.simulation import LOOP, Case, Simulation
from ._report import text as text_report


class Inventory(Protocol):
    """A source of facts that knows the place of each value."""

    def facts(self) -> Sequence[HostFacts]:
        """Return the facts of every host."""

    def locate(self, facts: HostFacts | None, values: Sequence[object]) -> Place:
        """Return the place of the first of these values, else that of the host."""


@dataclass(frozen=True)
class Plan:
    """The plan of a campus, derived and proved. Tables of single hosts are made on request."""

    campus: Campus
    tables: Tables
    proof: Proof
    methods: dict[str, Method]
    warnings: list[str]
    simulation: Simulation


def plan_inventory(inventory: Inventory, today: str | None = None) -> Plan:
    """Return the plan of an inventory.

    Args:
        inventory: where the facts come from.
        today: the date at which permits must be valid, as 2027-03-31; the default is the current date.

    Raises:
        PlanRefused: the inventory has problems, or its plan would lose or loop mail.
        ValueError: ``today`` is not a valid date. (PlanRefused is a ValueError too.)
    """
    try:
        day = datetime.date.fromisoformat(today) if today else datetime.date.today()
    except ValueError:
        raise ValueError(f"today: '{today}' is not a valid date. Write it as 2027-03-31") from None
    return plan_campus(inventory.facts(), day, inventory.locate)


def plan_campus(
    facts: Sequence[HostFacts],
    today: datetime.date,
    locate: Locate = lambda _facts, _values: Place(),
) -> Plan:
    """Read, derive, prove and compare; time and memory grow with the number of domains.

    Raises:
        PlanRefused: the inventory has problems, or its plan would lose or loop mail.
    """
    campus, warnings = read_campus(facts, today, locate)
    tables = derive(campus)
    simulation = Simulation(campus, tables)
    groups = simulation.domain_groups()
    proof = prove(simulation, groups)
    if proof.faults:
        raise PlanRefused((_refusal(case, campus) for case in proof.faults), warnings)
    if tables.border:  # without a border router everything is exposed, and another warning says so
        warnings += _exposures(proof)
    return Plan(campus, tables, proof, compare_with(tables, simulation, groups), warnings, simulation)


def make_plan(
    facts: Sequence[HostFacts],
    today: datetime.date,
    locate: Locate = lambda _facts, _values: Place(),
) -> dict[str, object]:
    """Return the plan as the module mail_plan returns it; errors as `plan_campus`."""
    return as_result(plan_campus(facts, today, locate))


def as_result(plan: Plan) -> dict[str, object]:
    """Return the plan as plain data, with the STATIC lines of every host (servers x domains)."""
    campus, tables = plan.campus, plan.tables
    return {
        "campus": {
            "name": campus.name,
            "networks": list(campus.networks),
            "method": campus.method,
            "delivery": campus.delivery,
            "language": campus.language,
        },
        "hosts": {
            host.name: {
                "kinds": list(host.managed_kinds),
                "address": host.address,
                "address6": host.address6,
                "faculty": host.faculty,
                "hub": host.hub,
                "mail_name": host.exchange,
                "delivery": host.delivery if "servers" in host.kinds else "",
                "mta": host.mta,
                "keep_route": list(host.kept_routes),
            }
            for host in campus.hosts.values()
        },
        "gateways": [
            {
                "host": host.name,
                "exchange": host.exchange,
                "address": host.address,
                "address6": host.address6,
                "preference": host.preference,
            }
            for host in campus.gateways
        ],
        "event_database": _event_database(campus),
        "dns": [
            {
                "host": server.name,
                "address": server.address or server.address6,
                "addresses": list(server.addresses),
                "zones": list(server.zones),
            }
            for server in campus.of_kind("dns")
        ],
        **_tables(tables, campus.home_of()),
        "external": [
            {"domain": each.domain, "within": each.within, "faculty": each.faculty} for each in campus.external.values()
        ],
        "retired": sorted(campus.retired),
        "hand_over": [
            f"{router}: others maintain this router. Give them its port-25 rule when no cache has MX records that name "
            "servers directly: playbook plan writes it with -e mailgate_plan_dir=DIR, as border-*, with the way to "
            "verify it from outside"
            for router, border in tables.border.items()
            if not border.managed
        ],
        "proof": as_dict(plan.proof),
        "methods": methods_as_dict(plan.methods),
        "warnings": plan.warnings,
        "text": text_report.page(campus, tables, plan.proof, plan.warnings, methods_as_dict(plan.methods)),
    }


def _event_database(campus: Campus) -> dict[str, object]:
    """Return where the event database is, and what each gateway is there; empty without one."""
    database = campus.event_database
    if not database:
        return {}
    return {
        "host": database.host,
        "address": campus.hosts[database.host].next_hop,
        "port": database.port,
        "gateways": [
            {"host": gateway.name, "user": user_of(gateway.name), "addresses": list(gateway.addresses)}
            for gateway in campus.gateways
        ],
    }


def _tables(tables: Tables, homes: Mapping[str, Host]) -> dict[str, object]:
    lines: dict[Static, dict[str, object]] = {}  # equal lines are one object: servers share most of them

    def line(static: Static) -> dict[str, object]:
        if static not in lines:
            lines[static] = {"domain": static.domain, "next_hop": static.next_hop, "host": static.host}
            if static.more:  # omitted when empty, as every host gets every line
                lines[static]["next_hops"] = list(static.next_hops)
            if (far := distance(tables.sendmail, homes, static)) > 1:
                lines[static]["distance"] = far
        return lines[static]

    def mail(table: MailTable) -> dict[str, object]:
        return {
            "local": list(table.local),
            "relay": list(table.relay),
            "static": [line(static) for static in table.static],
        }

    return {
        "routes": [
            {"domain": route.domain, "next_hops": list(route.next_hops), "home": route.home, "faculty": route.faculty}
            | ({"ask": list(route.ask)} if route.ask else {})  # omitted when equal to next_hops
            for route in tables.routes
        ],
        "sendmail": {name: mail(table) for name, table in tables.sendmail.items()},
        "mx": _mx(tables.mx),
        "mx_outside": _mx(tables.mx_outside),
        "border": {router: _border(border) for router, border in tables.border.items()},
    }


def _mx(servers: MxTables) -> dict[str, object]:
    made: dict[int, list[dict[str, object]]] = {}  # domains with the same servers share their records

    def records(each: tuple[Mx, ...]) -> list[dict[str, object]]:
        if id(each) not in made:
            made[id(each)] = [{"preference": mx.preference, "exchange": mx.exchange} for mx in each]
        return made[id(each)]

    return {
        server: [
            {"zone": zone, "owners": [{"owner": owner, "mx": records(each)} for owner, each in owners.items()]}
            for zone, owners in zones.items()
        ]
        for server, zones in servers.items()
    }


def _border(border: Border) -> dict[str, object]:
    return {
        # One name, as before 0.3.0, and all.
        "outside_interface": next(iter(border.outside_interfaces), ""),
        "outside_interfaces": list(border.outside_interfaces),
        "networks": list(border.networks),
        "gateways": list(border.gateways),
        "expire_permits": border.expire_permits,
        "managed": border.managed,
        "permits": [
            {
                "host": permit.host,
                "address": permit.address,
                "reason": permit.reason,
                "owner": permit.owner,
                "until": permit.until,
            }
            for permit in border.permits
        ],
    }


def _refusal(case: Case, campus: Campus) -> Problem:
    home = campus.home_of()[case.domain].name
    further = case.domains - 1
    more = f" (and {further} more {'domain' if further == 1 else 'domains'})" if further else ""
    fault = "mail loop" if case.verdict == LOOP else "no route to the final server"
    message = f"{fault} for '{case.domain}'{more}: {' -> '.join(case.path)}"
    return Problem(home, "mailgate_domains", "", 0, message, "Correct the addresses or hubs of these hosts")


def _exposures(proof: Proof) -> list[str]:
    if not proof.exposed:
        return []
    first = proof.exposed[0]
    count = proof.exposed_domains
    domains = "1 domain" if count == 1 else f"{count} domains"
    return [
        f"external senders can bypass the gateways for {domains}, for example {first.domain}: {' -> '.join(first.path)}"
    ]
