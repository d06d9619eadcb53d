# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole plan in one call: inventory facts in, tables, proof and print-out out, as plain data."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from .._inventory.findings import HostFacts, Locate
from .._inventory.inventory import read_campus
from .._inventory.model import Campus
from .._inventory.problems import Place, PlanRefused, Problem
from .._proof.proof import Proof, as_dict, prove
from .._proof.simulation import LOOP, Case, Walker
from .._report import text as text_report
from .compare import Method, compare_with
from .compare import as_dict as methods_as_dict
from .mx import Mx, MxTables
from .routes import Border, MailTable, Static, Tables, derive


@dataclass(frozen=True)
class Plan:
    """A campus's plan: derived, proved, not refused. Tables of single hosts are made when they are asked for."""

    campus: Campus
    tables: Tables
    proof: Proof
    methods: dict[str, Method]
    warnings: list[str]
    walker: Walker


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
    walker = Walker(campus, tables)
    alike = walker.alike()
    proof = prove(walker, alike)
    if proof.faults:
        raise PlanRefused((_refusal(case, campus) for case in proof.faults), warnings)
    if tables.border:  # without one everything is exposed, and said to be
        warnings += _exposures(proof)
    return Plan(campus, tables, proof, compare_with(tables, walker, alike), warnings, walker)


def make_plan(
    facts: Sequence[HostFacts],
    today: datetime.date,
    locate: Locate = lambda _facts, _values: Place(),
) -> dict[str, object]:
    """Return the plan that roles and print-outs read; its keys are those of the module mail_plan. Errors as above."""
    return as_result(plan_campus(facts, today, locate))


def as_result(plan: Plan) -> dict[str, object]:
    """Return the plan as plain data, with every host's STATIC lines: as many as servers x domains."""
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
                "kinds": list(host.kinds),
                "address": host.address,
                "address6": host.address6,
                "faculty": host.faculty,
                "hub": host.hub,
            }
            for host in campus.hosts.values()
        },
        "gateways": [
            {"host": host.name, "address": host.address, "address6": host.address6, "preference": host.preference}
            for host in campus.gateways
        ],
        **_tables(tables),
        "proof": as_dict(plan.proof),
        "methods": methods_as_dict(plan.methods),
        "warnings": plan.warnings,
        "text": text_report.page(campus, tables, plan.proof, plan.warnings, methods_as_dict(plan.methods)),
    }


def _tables(tables: Tables) -> dict[str, object]:
    lines: dict[Static, dict[str, object]] = {}  # equal lines stay one object: servers share most of theirs

    def line(static: Static) -> dict[str, object]:
        if static not in lines:
            lines[static] = {"domain": static.domain, "next_hop": static.next_hop, "host": static.host}
            if static.more:  # few lines have a second server, and all of them go to every host
                lines[static]["next_hops"] = list(static.next_hops)
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
            | ({"ask": list(route.ask)} if route.ask else {})  # as with STATIC lines, only what is not the usual
            for route in tables.routes
        ],
        "sendmail": {name: mail(table) for name, table in tables.sendmail.items()},
        "mx": _mx(tables.mx),
        "mx_outside": _mx(tables.mx_outside),
        "border": {router: _border(border) for router, border in tables.border.items()},
    }


def _mx(servers: MxTables) -> dict[str, object]:
    made: dict[int, list[dict[str, object]]] = {}  # domains with the same servers share their lines

    def lines(each: tuple[Mx, ...]) -> list[dict[str, object]]:
        if id(each) not in made:
            made[id(each)] = [{"preference": mx.preference, "exchange": mx.exchange} for mx in each]
        return made[id(each)]

    return {
        server: [
            {"zone": zone, "owners": [{"owner": owner, "mx": lines(each)} for owner, each in owners.items()]}
            for zone, owners in zones.items()
        ]
        for server, zones in servers.items()
    }


def _border(border: Border) -> dict[str, object]:
    return {
        "outside_interface": border.outside_interface,
        "networks": list(border.networks),
        "gateways": list(border.gateways),
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
    said = "would go in a loop" if case.verdict == LOOP else "would not arrive"
    more = f" and {case.alike - 1} more" if case.alike > 1 else ""
    return Problem(
        home,
        "mailgate_domains",
        "",
        0,
        f"mail for '{case.domain}'{more} {said}: {' -> '.join(case.path)}",
        "Mend the addresses or hubs of these hosts",
    )


def _exposures(proof: Proof) -> list[str]:
    if not proof.exposed:
        return []
    first = proof.exposed[0]
    way = f"{' -> '.join(first.path)}: {first.domain}"
    return [f"outsiders reach {proof.exposed_domains} domains past the gateways, for example {way}"]
