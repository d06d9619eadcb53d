# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases observe and block of a faculty: its servers at the border. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .facts import Cell, Facts, some
from .phases import addresses_of, servers_of


def _routers(plan: Mapping[str, Any], cell: Cell) -> list[str]:
    """Return the routers that are managed; the others are noted."""
    managed = [name for name, border in plan["border"].items() if border.get("managed", True)]
    for name in plan["border"]:
        if name not in managed:
            cell.notes.append(f"others maintain {name}, so it is not known what it blocks")
    return managed


def counted(border: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the first counter of each address or network of a router."""
    found: dict[str, Mapping[str, Any]] = {}
    for counter in border["counters"]:
        found.setdefault(str(counter["address"]), counter)
    return found


def observe(plan: Mapping[str, Any], facts: Facts, name: str) -> Cell:
    """Return whether direct connections to the servers of a faculty are counted, and have ended."""
    cell = Cell()
    servers = servers_of(plan, name)
    for router in _routers(plan, cell):
        addresses = {address: host for host in servers for address in addresses_of(plan, [host], router)}
        if not addresses:
            continue

        def judge(border: Mapping[str, Any], addresses: dict[str, str] = addresses) -> str:
            counters = counted(border)
            open_ = [a for a in addresses if border["fates"].get(a) != "blocked"]
            lacking = [a for a in open_ if a not in counters]
            if lacking:
                return f"does not count connections to {some([addresses[a] for a in lacking])}"
            loud = [a for a in open_ if counters[a]["quiet"] < facts.settings.quiet]
            return _loud(loud, addresses, counters, border["sources"], facts.settings.quiet) if loud else ""

        facts.fill(cell, router, "border", judge)
    return cell


def _loud(
    addresses: list[str],
    hosts: Mapping[str, str],
    counters: Mapping[str, Mapping[str, Any]],
    sources: Iterable[Mapping[str, Any]],
    quiet: int,
) -> str:
    """Return which servers are not quiet yet, and who connects."""
    texts = []
    for address in addresses[:5]:
        who = [f"{each['source']} ({each['logged']} logged)" for each in sources if each["server"] == address]
        shown = f" from {', '.join(who[:5])}" if who else ""
        packets = counters[address]["packets"]
        texts.append(f"{hosts[address]}: {packets} direct connections{shown}, quiet for {counters[address]['quiet']} s")
    more = f"; and {len(addresses) - 5} more servers" if len(addresses) > 5 else ""
    return f"not quiet for {quiet} s: {'; '.join(texts)}{more}"


def block(plan: Mapping[str, Any], facts: Facts, name: str) -> Cell:
    """Return whether the border blocks port 25 of the servers of a faculty."""
    cell = Cell()
    for router in _routers(plan, cell):
        addresses = {a: host for host in servers_of(plan, name) for a in addresses_of(plan, [host], router)}

        def judge(border: Mapping[str, Any], addresses: dict[str, str] = addresses) -> str:
            open_ = [host for address, host in addresses.items() if border["fates"].get(address) != "blocked"]
            return f"does not block port 25 of {some(list(dict.fromkeys(open_)))}" if open_ else ""

        if addresses:
            facts.fill(cell, router, "border", judge)
    return cell
