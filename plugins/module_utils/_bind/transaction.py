# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Brings the MX lines of one BIND server to the plan: prove all edits, write all or none, reload, undo on failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from .._zone.bridge import Bridge, is_bridge, recover, replace_over
from .._zone.dynamic import DynamicZone
from .._zone.edit import Plan, plan_names
from .._zone.exchanges import Target
from .._zone.file import Name, ZoneError, spell
from .._zone.static import StaticZone
from .client import DNSPYTHON_ERROR, DnsClient, Key
from .named_conf import ServedZone
from .server import Bind, included_files

PUT_BACK = "All zones have been put back as they were"

BackUp = Callable[[str], str]
"""Copies a file and gives the copy's path."""


@dataclass(frozen=True, slots=True)
class ZoneRequest:
    """One zone's plan: each owner's (preference, exchange) lines, None to keep them, and TTL, None to keep it."""

    name: str
    view: str
    owners: Sequence[tuple[str, Sequence[tuple[int, str]] | None, int | None]]


@dataclass(frozen=True, slots=True)
class Request:
    """One server's plan, and how to carry it out."""

    zones: Sequence[ZoneRequest]
    reload: bool
    reload_timeout: int
    check_only: bool
    today: date
    check_exchanges: bool = True
    keys: Mapping[str, Key] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """One zone's plan as names, and the zone in the server's configuration."""

    zone: ServedZone
    apex: Name
    plan: Plan
    ttls: Mapping[Name, int]


@dataclass(frozen=True, slots=True)
class Result:
    """All zones in the order asked for, and what could not be made sure of."""

    zones: Sequence[StaticZone | DynamicZone]
    warnings: Sequence[str]


def update(bind: Bind, client: DnsClient, request: Request, back_up: BackUp | None = None) -> Result:
    """Does the whole work; raises ZoneError with every problem found, and then nothing has changed."""
    plans = _plans(bind, request)
    _recover([planned.zone for planned in plans], check_only=request.check_only)
    zones = _prepare(bind, client, request, plans)
    for zone in zones:
        if isinstance(zone, StaticZone):
            zone.reloaded = request.reload and (zone.changed or zone.behind)
    warnings = _check_targets(client, request, zones) if request.check_exchanges else []
    if not request.check_only:
        _carry_out(bind, request, zones, back_up)
    return Result(zones, warnings)


def _plans(bind: Bind, request: Request) -> list[Planned]:
    problems: list[str] = []
    plans: list[tuple[Name, Plan, Mapping[Name, int]]] = []
    seen: set[tuple[Name, str]] = set()
    for zone in request.zones:
        try:
            apex, plan = plan_names(zone.name, [owner[:2] for owner in zone.owners])
        except ZoneError as error:
            problems += error.problems
            continue
        if (apex, zone.view) in seen:
            problems.append(f"zone {zone.name} is listed twice")
        seen.add((apex, zone.view))
        ttls = zip(plan, (owner[2] for owner in zone.owners), strict=True)
        plans.append((apex, plan, {owner: ttl for owner, ttl in ttls if ttl is not None}))
    if problems:
        raise ZoneError(*problems)
    located = bind.locate([(zone.name, zone.view) for zone in request.zones])
    return [Planned(zone, *plan) for zone, plan in zip(located, plans, strict=True)]


def _recover(zones: Sequence[ServedZone], *, check_only: bool) -> None:
    """Ends what a run that was itself ended has begun, in all zones that are read from files."""
    problems = []
    for zone in zones:
        path = Path(zone.file).resolve()
        try:
            if zone.updates or not path.exists():
                continue
            if not check_only:
                recover(path, included_files(path, zone.directory), zone.directory)
            elif is_bridge(path.read_bytes()):
                problems.append(
                    f"zone {zone.name}: an earlier run was ended while it replaced files, and {path} still reads "
                    "copies of them. Run it again without check mode: it begins by mending that"
                )
        except OSError as error:
            problems.append(f"zone {zone.name}: an earlier run was ended, and cannot be undone: {error}")
    if problems:
        raise ZoneError(*problems)


def _prepare(
    bind: Bind, client: DnsClient, request: Request, plans: Sequence[Planned]
) -> list[StaticZone | DynamicZone]:
    problems: list[str] = []
    zones: list[StaticZone | DynamicZone] = []
    for planned in plans:
        zone, apex, plan, ttls = planned.zone, planned.apex, planned.plan, planned.ttls
        try:
            if zone.updates:
                if DNSPYTHON_ERROR:
                    raise ZoneError(f"zone {zone.name}: it takes dynamic updates, which need dnspython")
                zones.append(DynamicZone.prepare(client, zone, plan, ttls, request.keys))
            else:
                served = _served(bind, zone, request)
                zones.append(
                    StaticZone.prepare(bind, zone, apex, plan=plan, ttls=ttls, today=request.today, served=served)
                )
        except ZoneError as error:
            problems += error.problems
        except OSError as error:
            problems.append(f"zone {zone.name}: {error}")
    if problems:
        raise ZoneError(*problems)
    return zones


def _served(bind: Bind, zone: ServedZone, request: Request) -> int | None:
    if not request.reload:
        return None
    try:
        return bind.serial(zone)
    except ZoneError:
        if request.check_only:
            return None
        raise


def _check_targets(client: DnsClient, request: Request, zones: Sequence[StaticZone | DynamicZone]) -> list[str]:
    """Looks at the targets of all planned MX lines, if any is to change; in the zones at hand, else in the DNS."""
    if not any(zone.changed for zone in zones):
        return []
    wanted: dict[Name, str] = {}
    for zone in zones:
        for owner, lines in zone.plan.items():
            for _preference, exchange in lines or ():
                wanted.setdefault(exchange, f"zone {zone.zone.name}: {spell(owner)}")
    found: dict[Name, Target] = {}
    for zone in zones:
        if isinstance(zone, StaticZone):
            found.update(zone.targets(wanted.keys()))
    for name in wanted.keys() - found.keys():
        found[name] = Target.UNKNOWN if DNSPYTHON_ERROR else client.target(name)
    problems = [
        f"{where} would get the MX target {spell(name)}, which {found[name].value}. Give it an address record first, "
        "or correct the inventory"
        for name, where in wanted.items()
        if found[name] in {Target.ALIAS, Target.MISSING}
    ]
    if problems:
        raise ZoneError(*problems)
    unknown = sorted(spell(name) for name in wanted if found[name] == Target.UNKNOWN)
    return [f"whether these MX targets have an address cannot be looked up: {', '.join(unknown)}"] if unknown else []


def _carry_out(bind: Bind, request: Request, zones: Sequence[StaticZone | DynamicZone], back_up: BackUp | None) -> None:
    files = [zone for zone in zones if isinstance(zone, StaticZone)]
    changed = [zone for zone in files if zone.changed]
    old: dict[Path, bytes | None] = {path: data for zone in changed for path, data in zone.before.items()}
    new: dict[Path, bytes | None] = {path: data for zone in changed for path, data in zone.after.items()}
    bridge: Bridge = {path: steps for zone in changed for path, steps in zone.bridge.items()}
    try:
        for zone in changed:
            zone.backups = [back_up(str(path)) for path in zone.after] if back_up else []
        replace_over(old, new, bridge)
    except OSError as error:
        raise ZoneError(f"the zone files cannot be replaced, all are as they were: {error}") from error
    loading = {zone.zone: zone.serial_after for zone in files if zone.reloaded}
    before = {zone.zone: zone.serial_before for zone in changed if zone.reloaded}
    problems = load_or_put_back(bind, old, new, loading, before, timeout=request.reload_timeout, bridge=bridge)
    if problems:
        raise ZoneError(*problems)
    sent: list[DynamicZone] = []
    try:
        for dynamic in zones:
            if isinstance(dynamic, DynamicZone) and dynamic.changed:
                sent.append(dynamic)
                dynamic.send()
    except ZoneError as error:
        problems = list(error.problems)
        for dynamic in sent:
            problems += dynamic.take_back()
        problems += _put_back(bind, old, new, before, timeout=request.reload_timeout, bridge=bridge)
        raise ZoneError(*problems, PUT_BACK) from error


def load_or_put_back(
    bind: Bind,
    old: Mapping[Path, bytes | None],
    new: Mapping[Path, bytes | None],
    loading: Mapping[ServedZone, int],
    before: Mapping[ServedZone, int],
    *,
    timeout: int,
    bridge: Bridge | None = None,
) -> list[str]:
    """Has BIND load zones whose files were replaced; gives its problems, and then the `old` files are back and loaded.

    `loading` and `before` say with which serial each zone must be served, `bridge` how the files were replaced.
    """
    try:
        problems = bind.reload(loading, timeout)
    except ZoneError as error:
        problems = error.problems
    if not problems:
        return []
    return [*problems, *_put_back(bind, old, new, before, timeout=timeout, bridge=bridge or {}), PUT_BACK]


def _put_back(
    bind: Bind,
    old: Mapping[Path, bytes | None],
    new: Mapping[Path, bytes | None],
    before: Mapping[ServedZone, int],
    *,
    timeout: int,
    bridge: Bridge,
) -> list[str]:
    """Writes the old files again and has them loaded; gives what goes wrong even then."""
    if not new:
        return []
    try:
        replace_over(new, old, {path: (steps[2], steps[1], steps[0]) for path, steps in bridge.items()})
    except OSError as error:
        return [f"the old zone files cannot be put back: {error}"]
    try:
        problems = bind.reload(before, timeout)
    except ZoneError as error:
        problems = error.problems
    return [f"after the old file was put back: {problem}" for problem in problems]
