# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a phase may begin, and what the border is to do in it. Pure: states in, problems out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .border_cells import counted
from .facts import UNKNOWN, Cell, Facts, time_text
from .phases import addresses_of, domains_of, servers_of
from .state import Faculty, label
from .steps import hubs

_NEEDS: dict[str, tuple[str, ...]] = {
    "gateways": ("routes",),
    "ttl": ("gateways",),
    "mx": ("routes", "gateways", "ttl"),
    "observe": ("mx",),
    "block": ("gateways", "mx", "observe"),
}
"""The phases on which each one rests."""

_WAITS = ("ttl", "observe")
"""The phases that wait; a run may skip this."""


def missing(
    plan: Mapping[str, Any], faculties: Iterable[Faculty], phase: str, now: int, *, skip_wait: bool
) -> dict[str, list[str]]:
    """Return what prevents a phase: for each phase that it rests on, the hosts that lack it with the reason.

    Args:
        plan: The plan.
        faculties: The states of the faculties of the run.
        phase: The phase that is about to begin.
        now: The time.
        skip_wait: Whether times of caches and direct connections do not matter.
    """
    found: dict[str, dict[str, None]] = {}
    for faculty in faculties:
        for needed in _NEEDS.get(phase, ()):
            if skip_wait and needed in _WAITS:
                continue
            cell = faculty.phases[needed]
            if needed == "routes":
                cell = _only(cell, _first_hops(plan, faculty.name))
            lines = [*cell.reasons()]
            if needed == "mx" and phase == "block" and cell.until > now and not skip_wait:
                lines.append(f"caches may have the former MX records until {time_text(cell.until)}")
            if lines:
                found.setdefault(needed, {}).update(dict.fromkeys(lines))
    return {needed: list(lines) for needed, lines in found.items()}


def _first_hops(plan: Mapping[str, Any], faculty: str) -> set[str]:
    """Return the hosts that gateways need to deliver: their own queues, and the hubs of tiered delivery."""
    domains = domains_of(plan, faculty)
    behind = {hub for hub, names in hubs(plan).items() if domains & set(names)}
    return {gateway["host"] for gateway in plan["gateways"]} | behind


def _only(cell: Cell, hosts: Collection[str]) -> Cell:
    """Return the part of a cell that concerns these hosts."""
    return Cell(
        [host for host in cell.ready if host in hosts],
        {host: reason for host, reason in cell.missing.items() if host in hosts},
        {host: reason for host, reason in cell.unknown.items() if host in hosts},
    )


def refusal(phase: str, faculties: Collection[str], found: Mapping[str, Iterable[str]]) -> str:
    """Return the message of a phase that may not begin, on one line."""
    whose = f" for {', '.join(map(label, faculties))}" if faculties else ""
    parts = [f"{needed} is missing on {', '.join(lines)}" for needed, lines in found.items()]
    advice = f"Run phase {next(iter(found))} first"
    if set(found) <= {*_WAITS, "mx"} and any(
        "until " in line or "quiet" in line for ls in found.values() for line in ls
    ):
        advice += ", or wait; -e skip_wait=true does not wait"
    return f"Phase {phase} was not started{whose}, nothing was changed by it: {'; '.join(parts)}. {advice}."


def border(
    plan: Mapping[str, Any], facts: Facts, router: str, faculties: Collection[str], phase: str
) -> dict[str, Any]:
    """Return the mode and the servers of a router's rules.

    Args:
        plan: The plan.
        facts: What was read on the router: servers that it blocks stay blocked unless they are opened.
        router: The router.
        faculties: The faculties of the run; none of them stands for all.
        phase: `observe`, `block`, or `open` to take back `block`.
    """
    now = counted(facts.of(router, "border") or {"counters": []})
    servers = [host for host, values in plan["hosts"].items() if {"servers", "destinations"} & set(values["kinds"])]
    gateways = {gateway["host"] for gateway in plan["gateways"]}
    addresses = addresses_of(plan, [host for host in servers if host not in gateways], router)
    concerned = {
        address for faculty in faculties for address in addresses_of(plan, servers_of(plan, faculty), router)
    } or set(addresses)
    networks = [now[each]["refuses"] for each in now if "/" in each]
    everything = bool(networks) and all(networks)
    if phase == "block" and (everything or not faculties):
        return {"mode": "enforce", "servers": []}
    if phase == "observe" and everything:
        return {"mode": "enforce", "servers": []}
    refused = {address for address in addresses if everything or now.get(address, {}).get("refuses")}
    refused = refused | concerned if phase == "block" else refused - concerned if phase == "open" else refused
    modes = {address: "enforce" if address in refused else "observe" for address in addresses}
    return {"mode": "observe", "servers": [{"address": a, "mode": mode} for a, mode in modes.items()]}


def next_step(faculty: Faculty, now: int) -> str:
    """Return the next safe step of a faculty as a text."""
    phase = faculty.next
    if not phase:
        return "nothing: all phases are complete"
    cell = faculty.phases[phase]
    option = "" if faculty.name == "-" else f" -e faculty={faculty.name}"
    wait = faculty.phases["mx"].until if phase in ("observe", "block") else cell.until
    if phase == "ttl" and cell.until > now and all("until " in reason for reason in cell.missing.values()):
        return f"wait until {time_text(cell.until)}, then rollout -e phase=mx{option}"
    if cell.state == UNKNOWN:
        return f"make {', '.join(cell.unknown)} reachable, then run status again"
    text = f"rollout -e phase={phase}{option}"
    if phase == "observe" and cell.missing and all("not quiet" in reason for reason in cell.missing.values()):
        text = f"wait until direct connections end, then {text}"
    elif phase == "block" and wait > now:
        text = f"wait until {time_text(wait)}, then {text}"
    return f"{text}: {'; '.join(cell.reasons()[:3])}" if cell.state != "not" else text
