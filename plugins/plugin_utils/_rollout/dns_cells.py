# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases ttl and mx of a faculty: its MX records on all authoritative servers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from .facts import Cell, Facts, some, time_text


def records(plan: Mapping[str, Any], facts: Facts, host: str, domains: Collection[str]) -> tuple[list[Any], list[str]]:
    """Return what a DNS server serves for these domains, and the problems of their zones."""
    zones = {zone["zone"]: [o["owner"] for o in zone["owners"] if o["owner"] in domains] for zone in plan["mx"][host]}
    found, problems = [], []
    for zone in facts.of(host, "zones") or ():
        if not zones.get(zone["zone"]):
            continue
        if "problem" in zone:
            problems.append(f"zone {zone['zone']}: {zone['problem']}")
        found += [owner for owner in zone.get("owners", ()) if owner["owner"] in domains]
    return found, problems


def serving(plan: Mapping[str, Any], domains: Collection[str]) -> list[str]:
    """Return the DNS servers that have MX records of these domains."""
    return [
        host
        for host, zones in plan["mx"].items()
        if any(owner["owner"] in domains for zone in zones for owner in zone["owners"])
    ]


def ttl(plan: Mapping[str, Any], facts: Facts, domains: Collection[str]) -> Cell:
    """Return whether caches have the former MX records of these domains for a short time only."""
    cell = Cell()
    now = facts.now
    for host in serving(plan, domains):
        owners, problems = records(plan, facts, host, domains)
        former = [owner for owner in owners if owner["state"] != "planned"]
        cell.until = max([cell.until, *(each["until"] for each in former if each["until"] > now)])
        missing = problems[0] if problems else _long_ttl(former, facts.settings.lowered_ttl, now)
        facts.fill(cell, host, "zones", partial(_told, missing))
    return cell


def _told(text: str, _facts: Any) -> str:
    """Return what is already known to be missing."""
    return text


def _long_ttl(former: list[Any], limit: int, now: int) -> str:
    """Return why caches may keep former MX records for long, "" if they may not."""
    high = [each["owner"] for each in former if each["ttl"] > limit]
    if high:
        return f"the TTL of the MX records of {some(high)} is more than {limit} seconds"
    waiting = [each["owner"] for each in former if each["until"] > now]
    if not waiting:
        return ""
    until = time_text(max(each["until"] for each in former))
    return f"caches may have MX records of {some(waiting)} with the previous TTL until {until}"


def mx(plan: Mapping[str, Any], facts: Facts, domains: Collection[str]) -> Cell:
    """Return whether all servers of the zones serve the planned MX records of these domains."""
    cell = Cell()
    now = facts.now
    for host in serving(plan, domains):
        owners, problems = records(plan, facts, host, domains)
        missing = problems[0] if problems else _not_planned(owners)
        facts.fill(cell, host, "zones", partial(_told, missing))
        cell.until = max([cell.until, *(each["until"] for each in owners if each["until"] > now)])
        _others(plan, facts, host, domains, cell)
    return cell


def _not_planned(owners: list[Any]) -> str:
    """Return which names have other MX records than the planned ones, "" if none has."""
    wrong = [each for each in owners if each["state"] != "planned"]
    if not wrong:
        return ""
    served = ", ".join(wrong[0]["mx"]) or "nothing"
    return f"does not serve the planned MX records of {some([each['owner'] for each in wrong])}: {served}"


def _others(plan: Mapping[str, Any], facts: Facts, host: str, domains: Collection[str], cell: Cell) -> None:
    """Enter the other servers of the zones, which must have the serial of the one that was asked."""
    names = {z["zone"] for z in plan["mx"][host] if any(owner["owner"] in domains for owner in z["owners"])}
    for zone in facts.of(host, "zones") or ():
        for other in zone.get("others", ()) if zone["zone"] in names else ():
            server = str(other["server"])
            if other["equal"] or server in facts.settings.accepted or server in cell.missing:
                continue
            if other["serial"] is None:
                cell.missing[server] = f"does not answer for zone {zone['zone']}, at {other['address'] or 'no address'}"
            else:
                serial = f"serial {other['serial']}; {host} has {zone['serial']}"
                cell.missing[server] = f"serves zone {zone['zone']} with {serial}"
