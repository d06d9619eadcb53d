# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Zone files that several zones read: they are changed if the changes planned for all of these zones are the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .._zone.edit import Plan
from .._zone.file import Name, spell
from .named_conf import ServedZone
from .server import Bind, display_name
from .static import StaticZone


def exchanges_to_relate(plan: Plan, others: Iterable[Plan]) -> frozenset[Name]:
    """Return the exchanges of a plan that not all `others`, for the same file, have: each zone has its own."""
    own = _exchanges(plan)
    shared = own.intersection(*map(_exchanges, others))
    return own - shared


def _exchanges(plan: Plan) -> frozenset[Name]:
    """Return all exchanges of a plan."""
    return frozenset(exchange for records in plan.values() for _preference, exchange in records or ())


def sharing_problems(bind: Bind, zones: Sequence[StaticZone]) -> list[str]:
    """Return a problem for each file that would change and that another zone reads, without the same change."""
    by_zone = {zone.zone: zone for zone in zones}
    problems: list[str] = []
    seen: set[tuple[Path, frozenset[ServedZone]]] = set()
    for zone in zones:
        own = Path(zone.zone.file).resolve()
        readers = {own: bind.sharing(zone.zone)} if own in zone.after else {}
        if included := zone.after.keys() - {own}:
            readers |= bind.including(included, but=zone.zone)
        for path, others in readers.items():
            for other in others:
                pair = path, frozenset({zone.zone, other})
                if pair not in seen and (problem := _problem(zone, other, by_zone.get(other), path, own=path == own)):
                    problems.append(problem)
                    if other in by_zone:
                        seen.add(pair)
    return problems


def _problem(zone: StaticZone, other: ServedZone, planned: StaticZone | None, path: Path, *, own: bool) -> str:
    """Return why a file must not be changed for `zone`, as `other` reads it too, or ""."""
    if planned and planned.after.get(path) == zone.after[path]:
        return ""
    if own:
        where = f"zone {display_name(zone.zone)}: it shares its file {zone.zone.file} with {display_name(other)}, "
        fix = "Give one of these zones a file of its own"
    else:
        where = (
            f"zone {display_name(zone.zone)}: its MX records or its serial are in the included file {path}, which zone "
            f"{display_name(other)} includes too, "
        )
        fix = "Move these records into the zone's own file"
    if planned is None:
        return f"{where}whose MX records are not planned, so it must not be edited. {fix}, or plan both alike"
    differing = _differing(zone, planned)
    if not differing:
        return f"{where}but no single text of the file is right for both. {fix}"
    return f"{where}but the planned MX records differ, at {', '.join(differing)}. {fix}, or plan both alike"


def _differing(zone: StaticZone, other: StaticZone) -> list[str]:
    """Return the names, relative to each zone, whose planned records differ."""
    plans = [_relative(each) for each in (zone, other)]
    names = dict.fromkeys([*plans[0], *plans[1]])
    return [name for name in names if plans[0].get(name) != plans[1].get(name)]


def _relative(zone: StaticZone) -> dict[str, object]:
    """Return the plan of a zone with names relative to the zone."""
    apex = tuple(label.encode() for label in zone.zone.name.split("."))
    return {
        spell(owner, apex): records and [(preference, spell(name, apex)) for preference, name in records]
        for owner, records in zone.plan.items()
    }
