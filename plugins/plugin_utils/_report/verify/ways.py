# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the routes that the hosts have with those of the plan, and follow them from host to host. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....module_utils._sendmail.tables import addresses as hops_of
from ..._verify.questions import Plan, addresses
from .fault import Fault, some

_LONGEST = 20
Routes = Mapping[str, Mapping[str, tuple[str, ...]]]
"""For each host the next hops of each domain."""


def route_faults(plan: Plan, answers: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield routes that are missing, wrong or too many, and loops."""
    gateways, servers = _gateways(answers), _servers(answers)
    looping: set[tuple[str, str]] = set()
    for domain, circle in _loops(plan, {**servers, **gateways}):
        path = _from_culprit(plan, domain, circle, {**servers, **gateways})
        looping |= {(host, domain) for host in path}
        yield Fault("loop", path[0], {"domain": domain, "path": " -> ".join([*path, path[0]])}, key=domain)
    planned = {route["domain"]: tuple(route["next_hops"]) for route in plan["routes"]}
    for host, found in gateways.items():
        yield from _compare(plan, host, planned, found, looping, every=True)
    for answer in answers:
        host, facts = str(answer["host"]), answer.get("facts") or {}
        changes = facts.get("changes")
        if not changes:
            continue
        table = plan["sendmail"].get(host, {})
        wanted = {
            each["domain"]: tuple(each.get("next_hops") or [each["next_hop"]]) for each in table.get("static", ())
        }
        wrong = {domain: wanted[domain] for domain in changes["routes_added"] if domain in wanted}
        yield from _compare(plan, host, wrong, servers.get(host, {}), looping, every=False)
        if names := [*changes["relay_added"]]:
            yield Fault("route_missing", host, {"domains": some(names)}, key=f"relay {names[0]}")
        if names := [*changes["local_added"]]:
            yield Fault("not_local", host, {"domains": some(names)}, key=names[0])


def _compare(
    plan: Plan,
    host: str,
    wanted: Mapping[str, tuple[str, ...]],
    found: Mapping[str, tuple[str, ...]],
    looping: set[tuple[str, str]],
    *,
    every: bool,
) -> Iterator[Fault]:
    """Yield one fault for all domains that differ in the same way."""
    missing = [domain for domain in wanted if domain not in found]
    if missing:
        yield Fault("route_missing", host, {"domains": some(missing)}, key=missing[0])
    extra = [domain for domain in found if every and domain not in wanted and domain not in plan.get("retired", ())]
    if extra:
        yield Fault("route_extra", host, {"domains": some(extra)}, key=extra[0])
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for domain, hops in wanted.items():
        if domain in found and found[domain] != hops and (host, domain) not in looping:
            groups.setdefault((found[domain], hops), []).append(domain)
    for (now, then), domains in groups.items():
        values = {"domains": some(domains), "found": ", ".join(now) or "-", "planned": ", ".join(then)}
        yield Fault("route", host, values, key=domains[0])


def _gateways(answers: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, tuple[str, ...]]]:
    found = {}
    for answer in answers:
        service = (answer.get("facts") or {}).get("service") or {}
        if service.get("routes") is not None:
            found[str(answer["host"])] = {each["domain"]: tuple(each["next_hops"]) for each in service["routes"]}
    return found


def _servers(answers: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the routes of the mail servers; a route by name or to a local mailer has no next hop."""
    found = {}
    for answer in answers:
        routes = ((answer.get("facts") or {}).get("mail") or {}).get("routes") or {}
        found[str(answer["host"])] = {
            f"*{key}" if key.startswith(".") else key: hops_of(value)
            for key, value in routes.items()
            if " " not in key and hops_of(value)
        }
    return found


def _from_culprit(plan: Plan, domain: str, circle: list[str], routes: Routes) -> list[str]:
    """Return the loop from the first host on whose route is not that of the plan."""
    planned = {
        (host, each["domain"]): tuple(each.get("next_hops") or [each["next_hop"]])
        for host, table in plan["sendmail"].items()
        for each in table["static"]
    }
    for number, host in enumerate(circle):
        if routes[host][domain] != planned.get((host, domain)):
            return circle[number:] + circle[:number]
    return circle


def _loops(plan: Plan, routes: Routes) -> Iterator[tuple[str, list[str]]]:
    """Yield each loop once, as a domain and the hosts in it; only the first next hop of a route is followed."""
    owners = {address: name for name, host in plan["hosts"].items() for address in addresses(host)}
    seen: set[tuple[str, frozenset[str]]] = set()
    for start, table in routes.items():
        for domain in table:
            path, host = [start], start
            while len(path) < _LONGEST and (hops := routes.get(host, {}).get(domain)):
                host = owners.get(hops[0], "")
                if host in path:
                    circle = path[path.index(host) :]
                    if (domain, frozenset(circle)) not in seen:
                        seen.add((domain, frozenset(circle)))
                        yield domain, circle
                    break
                path.append(host)
