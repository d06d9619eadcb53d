# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check servers and routers that others maintain: what cannot be asked of them, and what the proof then assumes."""

from __future__ import annotations

from .findings import Findings
from .model import Campus, Host


def check_kinds(campus: Campus, findings: Findings) -> None:
    """Report settings that the kind of a host makes impossible, and warn of what the plan cannot prove."""
    for host in campus.hosts.values():
        if host.is_destination:
            _check_destination(campus, findings, host)
        if host.kept_routes:
            _check_kept_routes(campus, findings, host)
        if not host.border_managed:
            findings.warnings.append(
                f"{host.name}: mailgate_border: others maintain this router, and the proof assumes that it has the "
                "rule of this plan; hand the rule over, and verify it from outside"
            )


def _check_destination(campus: Campus, findings: Findings, host: Host) -> None:
    facts = findings.facts[host.name]
    behind = [each.name for each in campus.of_kind("servers") if each.hub == host.name and each is not host]
    if behind:
        more = f" and {len(behind) - 1} more" if len(behind) > 1 else ""
        findings.problem(
            facts,
            "mailgate_mta",
            f"it is the hub of {behind[0]}{more}, but with mailgate_mta none nobody sets the routes by which it would "
            "forward their mail",
            "Name another hub, or set its mailgate_mta to sendmail or postfix",
            [facts.variables.get("mailgate_mta")],
        )
    if host.name in campus.beyond_border and not host.permit and campus.of_kind("borders"):
        findings.warnings.append(
            f"{host.name}: mailgate_mta: its address is outside mailgate_networks, so no border protects it; let it "
            "accept mail only from the gateways and the campus"
        )


def _check_kept_routes(campus: Campus, findings: Findings, host: Host) -> None:
    variable = "mailgate_keep_route"
    facts = findings.facts[host.name]
    if host.is_destination or "servers" not in host.kinds:
        message = "has no effect here: no routes are written on this host"
        if "gateways" in host.kinds:
            message = "a gateway has the planned routes only"
        findings.problem(
            facts, variable, message, "Set it on the server that has the route", [facts.variables[variable]]
        )
        return
    homes = campus.home_of()
    for domain in host.kept_routes:
        if domain in homes:
            findings.warnings.append(
                f"{host.name}: {variable}: its own route for '{domain}' stays; the plan does not know where it leads, "
                "and proves nothing about this domain on this host"
            )
            continue
        message = f"'{domain}' is in no server's mailgate_domains, so the plan has no route for it"
        findings.problem(facts, variable, message, "Correct or remove it", [facts.variables[variable]])
