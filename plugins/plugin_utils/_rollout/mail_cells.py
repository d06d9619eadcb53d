# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases survey, routes and gateways of a faculty: its mail servers and the gateways. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .facts import Cell, Facts, some
from .phases import servers_of
from .steps import hubs


def _managed(plan: Mapping[str, Any], host: str) -> bool:
    return "servers" in plan["hosts"][host]["kinds"]


def survey(plan: Mapping[str, Any], facts: Facts, name: str) -> Cell:
    """Return whether the mail servers of a faculty can be changed."""
    cell = Cell()
    for host in servers_of(plan, name):
        if _managed(plan, host):
            facts.fill(cell, host, "mail", lambda mail: "; ".join(mail["problems"][:1]))
    return cell


def routes(plan: Mapping[str, Any], facts: Facts, domains: Collection[str]) -> Cell:
    """Return which hosts have their routes to these domains, also hosts of other faculties."""
    cell = Cell()
    gateways = {gateway["host"] for gateway in plan["gateways"]}
    for host, table in plan["sendmail"].items():
        wanted = _wanted(table, set(domains) - set(plan["hosts"][host].get("keep_route", ())))
        if any(wanted.values()) and (host in gateways or _managed(plan, host)):
            facts.fill(cell, host, "mail", lambda mail, wanted=wanted: missing_routes(mail, wanted))  # type: ignore[misc]
    return cell


def _wanted(table: Mapping[str, Any], domains: Collection[str]) -> dict[str, Any]:
    """Return the part of a host's table that concerns these domains."""
    return {
        "local": [domain for domain in table["local"] if domain in domains],
        "relay": [domain for domain in table["relay"] if domain in domains],
        "static": {
            line["domain"]: list(line.get("next_hops") or [line["next_hop"]])
            for line in table["static"]
            if line["domain"] in domains
        },
    }


def missing_routes(mail: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return what the tables of a mail server lack, "" if nothing."""
    if mail["problems"]:
        return str(mail["problems"][0])
    if not mail["written"]:
        return "has no routes of the plan"
    names = {domain.removeprefix("*.") for domain in (*mail["relay"], *mail["local"])}
    local = [domain for domain in wanted["local"] if domain not in mail["local"]]
    relay = [domain for domain in wanted["relay"] if domain.removeprefix("*.") not in names]
    routes = [d for d, hops in wanted["static"].items() if list(mail["routes"].get(d, ())) != hops]
    parts = []
    if local:
        parts.append(f"does not have {some(local)} as its own")
    if routes:
        parts.append(f"has no or another route to {some(routes)}")
    if relay and not set(relay) <= set(routes):
        parts.append(f"does not relay to {some(relay)}")
    return "; ".join(parts)


def gateways(plan: Mapping[str, Any], facts: Facts, domains: Collection[str]) -> Cell:
    """Return whether the gateways have the routes of these domains and accept mail for them."""
    cell = Cell()
    routes = {route["domain"]: list(route["next_hops"]) for route in plan["routes"] if route["domain"] in domains}
    behind = {hub for hub, names in hubs(plan).items() if set(names) & set(domains)}
    for gateway in plan["gateways"]:
        host = gateway["host"]
        answers = facts.of(host, "smtp") or []

        def judge(found: Mapping[str, Any], host: str = host, answers: list[Any] = answers) -> str:
            return _gateway(found, routes) or _answers(host, answers, domains, behind)

        facts.fill(cell, host, "gateway", judge)
    return cell


def _gateway(found: Mapping[str, Any], routes: Mapping[str, list[str]]) -> str:
    if not found["written"]:
        return "the service is not installed"
    if not found["active"]:
        return "the service does not run"
    lacking = [domain for domain, hops in routes.items() if found["routes"].get(domain) != hops]
    return f"its delivery table has no or another route to {some(lacking)}" if lacking else ""


def _answers(host: str, answers: Iterable[Mapping[str, Any]], domains: Collection[str], hubs: Collection[str]) -> str:
    """Return why a gateway, or a hub behind it, does not accept mail of these domains, from the replies to RCPT."""
    problems = []
    for server in answers:
        if server["host"] != host and server["host"] not in hubs:
            continue
        who = "" if server["host"] == host else f"the hub {server['host']} "
        replies = {domain: each for domain, each in server["answers"].items() if domain in domains}
        wrong = {domain: each for domain, each in server["answers"].items() if each["outcome"] in ("refused", "silent")}
        mine = {domain: each for domain, each in wrong.items() if domain in domains or each["outcome"] == "silent"}
        if mine:
            first = next(iter(mine.values()))
            problems.append(f"{who}does not accept mail for {some(list(mine))}: {first['text']}")
        elif server["host"] == host and replies and all(each["outcome"] == "later" for each in replies.values()):
            problems.append(f"it can verify no recipient at present: {next(iter(replies.values()))['text']}")
    return "; ".join(problems)
