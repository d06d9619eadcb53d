# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a host between the present ones and the planned ones: pure functions, no I/O.

Hosts are changed one after the other, so mail meets hosts with old and new tables. A host must accept a domain before
another host sends it there, and must not give it up while another host does. Therefore a change has these steps, each
on all hosts before the next one:

1. Add domains that are local or relayed (`distance` 0); nothing else changes.
2. Change the routes whose next hop is the final server (1), then those that are one host further away (2), and so on.
   A changed route only leads to hosts that have changed already, so mail cannot loop.
3. Remove routes without a planned one (`ALL_ROUTES`).
4. Remove domains that are no longer local or relayed (no `distance`): no host sends them there any more.

A host without routes gets all of them in one step 2. Until then it sends by MX records, to the final servers or the
gateways, so its routes cannot be part of a loop; and hosts that relay accept the domains by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .table import Route, Table, in_order, is_wildcard

AnyTable = TypeVar("AnyTable", bound=Table)

# Beyond the distance of any route.
ALL_ROUTES = 99


@dataclass(frozen=True)
class Present:
    """The domains and routes in the files of a host; of `routes`, the addresses of the next hops in order."""

    local: frozenset[str]
    relay: frozenset[str]
    routes: Mapping[str, tuple[str, ...]]


def as_data(present: Present | None) -> dict[str, Any]:
    """Return what the files of a host have as plain data; nothing of a host without our lines."""
    found = present or Present(frozenset(), frozenset(), {})
    routes = {domain: list(hops) for domain, hops in sorted(found.routes.items())}
    return {"local": sorted(found.local), "relay": sorted(found.relay), "routes": routes}


@dataclass(frozen=True)
class Step:
    """The routes of one distance that still differ from the plan: the domains, and the hosts that they will lead to."""

    distance: int
    domains: tuple[str, ...]
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class Pending:
    """What differs from the plan: the routes by distance, and the domains that the host still accepts."""

    steps: tuple[Step, ...] = ()
    removals: tuple[str, ...] = ()


def between(present: Present | None, planned: AnyTable, distance: int | None, *, partial: bool = False) -> AnyTable:
    """Return the settings of one step towards `planned`, which is normalized.

    Args:
        present: What the host has now; None for a host that is set up for the first time.
        planned: The settings of the plan.
        distance: The distance up to which routes change; None to change everything.
        partial: Whether `planned` is a part of the plan, so that everything else stays.
    """
    if partial:
        distance = ALL_ROUTES - 1 if distance is None else min(distance, ALL_ROUTES - 1)
    if distance is None:
        return planned
    present = present or Present(frozenset(), frozenset(), {})
    if distance > 0 and not present.routes:
        distance = max(distance, ALL_ROUTES - 1)
    external = frozenset(planned.external)
    local = frozenset(planned.local) | (present.local - external)
    routes = {r.domain: r for r in planned.routes if r.domain not in local and r.distance <= distance}
    for domain, hops in present.routes.items():
        if domain not in local | external | routes.keys() and distance < ALL_ROUTES:
            routes[domain] = Route(domain, hops[0], "", hops if len(hops) > 1 else ())
    relay = {*planned.relay, *(present.relay - _keys(planned) - external)}
    return replace(
        planned,
        local=tuple(in_order(local)),
        relay=tuple(in_order(relay)),
        routes=tuple(routes[domain] for domain in in_order(routes)),
    )


def pending(now: Table, planned: Table, *, partial: bool = False) -> Pending:
    """Return what is left to do on a host that has the settings `now`; nothing is removed for a `partial` plan.

    The one step of a host without routes does not wait for final servers: by MX records, mail gets there now.
    """
    have = {r.domain: r.hops for r in now.routes}
    wanted = {r.domain: r for r in planned.routes}
    local = frozenset(now.local)
    differing = [r for r in planned.routes if r.domain not in local and have.get(r.domain) != r.hops]
    stale = [domain for domain in have if domain not in wanted and domain not in planned.local]
    steps = [
        Step(
            distance,
            tuple(r.domain for r in differing if r.distance == distance),
            tuple(sorted({r.host for r in differing if r.distance == distance and r.host})),
        )
        for distance in sorted({r.distance for r in differing})
    ]
    if differing and not have:
        relays = sorted({r.host for r in differing if r.distance > 1 and r.host})
        steps = [Step(1, tuple(r.domain for r in differing), tuple(relays))]
    if stale and not partial:
        steps.append(Step(ALL_ROUTES, tuple(stale), ()))
    removals = set() if partial else (local - set(planned.local)) | (_keys(now) - _keys(planned))
    return Pending(tuple(steps), tuple(in_order(removals)))


def former(present: Present | None, planned: Table) -> list[str]:
    """Return the next hops of the present routes that no planned route has: servers that left or were renumbered."""
    now = {hop for hops in present.routes.values() for hop in hops} if present else set()
    return sorted(now - {hop for route in planned.routes for hop in route.hops})


def _keys(settings: Table) -> set[str]:
    """Return the domains of the managed lines in access."""
    return {d.removeprefix("*.") for d in (*settings.relay, *(d for d in settings.local if is_wildcard(d)))}
