# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Set the planned MX records of one BIND server: prove all edits, write all or none, reload, roll back on failure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from .._zone.bridge import is_bridge, recover
from .._zone.edit import Plan, plan_names
from .._zone.exchanges import Target
from .._zone.file import Name, ZoneError, spell
from .change import Change, PlannedZone, commit_all
from .client import DNSPYTHON_ERROR, DnsClient, Key
from .dynamic import DynamicZone
from .named_conf import ServedZone
from .server import Bind, included_files
from .static import StaticZone
from .zone_files import ZoneFiles

BackUp = Callable[[str], str]
"""Copies a file and returns the path of the copy."""

BeforeCommit = Callable[[Sequence[PlannedZone]], None]
"""Is called when all zones are planned and checked, before the first one changes; raises OSError to prevent that."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Another DNS server of the campus, and the zones for which it can be asked."""

    client: DnsClient
    zones: Sequence[Name]

    def serves(self, name: Name) -> bool:
        """Return whether a name is in one of the zones."""
        return any(name[-len(zone) :] == zone for zone in self.zones)


@dataclass(frozen=True, slots=True)
class ZoneRequest:
    """The plan of one zone.

    `owners` has, for each name, its (preference, exchange) pairs, None to keep them, and its TTL in seconds, None to
    keep it.
    """

    name: str
    view: str
    owners: Sequence[tuple[str, Sequence[tuple[int, str]] | None, int | None]]


@dataclass(frozen=True, slots=True)
class Request:
    """The plan of one server, and how to apply it.

    Views in `other_views` may keep other MX records; None: all views may, as no MX record changes.
    """

    zones: Sequence[ZoneRequest]
    reload: bool
    reload_timeout: int
    check_only: bool
    today: date
    check_exchanges: bool = True
    keys: Mapping[str, Key] = field(default_factory=dict)
    other_views: Collection[str] | None = ()
    authorities: Sequence[Authority] = ()


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """The plan of one zone as parsed names, and the zone in the server's configuration."""

    zone: ServedZone
    apex: Name
    plan: Plan
    ttls: Mapping[Name, int]


@dataclass(frozen=True, slots=True)
class Result:
    """All zones in the order of the request, and warnings about what could not be verified."""

    zones: Sequence[PlannedZone]
    warnings: Sequence[str]


def update(
    bind: Bind,
    client: DnsClient,
    request: Request,
    back_up: BackUp | None = None,
    before_commit: BeforeCommit | None = None,
) -> Result:
    """Apply all changes or none.

    Raises:
        ZoneError: Nothing has changed. Its `problems` lists every problem.
    """
    plans = _plans(bind, request)
    _recover([plan.zone for plan in plans], check_only=request.check_only)
    prepared = _Prepared()
    for plan in plans:
        prepared.add(bind, client, request, plan)
    if prepared.problems:
        raise ZoneError(*prepared.problems)
    warnings = _check_targets(client, request.authorities, prepared.zones) if request.check_exchanges else []
    if not request.check_only:
        try:
            if before_commit:
                before_commit(prepared.zones)
            if back_up:
                for zone in prepared.static:
                    zone.backups = [back_up(str(path)) for path in zone.after]
        except OSError as error:
            raise ZoneError(f"nothing was changed: {error}") from error
        files: Change = ZoneFiles(bind, prepared.static, request.reload_timeout)
        commit_all([files, *prepared.dynamic])
    return Result(prepared.zones, warnings)


def _plans(bind: Bind, request: Request) -> list[ZonePlan]:
    """Parse the names of all plans and find their zones in the server's configuration."""
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
    if request.other_views is not None and (unplanned := bind.unplanned(located, request.other_views)):
        raise ZoneError(*unplanned)
    return [ZonePlan(zone, *plan) for zone, plan in zip(located, plans, strict=True)]


def _recover(zones: Sequence[ServedZone], *, check_only: bool) -> None:
    """Finish or roll back an interrupted earlier run, in all zones that are read from files."""
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
                    f"zone {zone.name}: a previous run was interrupted and {path} still includes temporary copies; "
                    "run again without --check to recover"
                )
        except OSError as error:
            problems.append(f"zone {zone.name}: cannot recover from an interrupted run: {error}")
    if problems:
        raise ZoneError(*problems)


class _Prepared:
    """The planned changes of all zones, and the problems found."""

    def __init__(self) -> None:
        self.zones: list[PlannedZone] = []
        self.static: list[StaticZone] = []
        self.dynamic: list[DynamicZone] = []
        self.problems: list[str] = []

    def add(self, bind: Bind, client: DnsClient, request: Request, plan: ZonePlan) -> None:
        """Plan the change of one zone, by dynamic update where the zone accepts them, else in its file."""
        try:
            if plan.zone.updates:
                self._add_dynamic(client, request, plan)
            else:
                self._add_static(bind, request, plan)
        except ZoneError as error:
            self.problems += error.problems
        except OSError as error:
            self.problems.append(f"zone {plan.zone.name}: {error}")

    def _add_dynamic(self, client: DnsClient, request: Request, plan: ZonePlan) -> None:
        """Plan the change of a zone that accepts dynamic updates."""
        if DNSPYTHON_ERROR:
            raise ZoneError(f"zone {plan.zone.name}: dnspython is required because the zone accepts dynamic updates")
        zone = DynamicZone.prepare(client, plan.zone, plan.plan, plan.ttls, request.keys)
        self.dynamic.append(zone)
        self.zones.append(zone)

    def _add_static(self, bind: Bind, request: Request, plan: ZonePlan) -> None:
        """Plan the change of a zone that BIND reads from files."""
        zone = StaticZone.prepare(
            bind,
            plan.zone,
            plan.apex,
            plan=plan.plan,
            ttls=plan.ttls,
            today=request.today,
            served=_served(bind, plan.zone, request),
            reload=request.reload,
        )
        self.static.append(zone)
        self.zones.append(zone)


def _served(bind: Bind, zone: ServedZone, request: Request) -> int | None:
    """Return the serial that the server serves; None without reload, or in check mode where it cannot be read."""
    if not request.reload:
        return None
    try:
        return bind.serial(zone)
    except ZoneError:
        if request.check_only:
            return None
        raise


def _look_up(client: DnsClient, authorities: list[Authority], name: Name) -> Target:
    """Look up a target at the server, then at the authorities of its zone; remove those that do not answer."""
    found = client.target(name)
    for authority in [each for each in authorities if each.serves(name)]:
        if found != Target.UNKNOWN:
            break
        found = authority.client.target(name)
        if found == Target.UNKNOWN:
            authorities.remove(authority)  # the next name must not wait for it again
    return found


def _check_targets(client: DnsClient, authorities: Sequence[Authority], zones: Sequence[PlannedZone]) -> list[str]:
    """Check the targets of all planned MX records if any zone changes; return warnings.

    A target in one of `zones` is looked up there, any other at the server, then at the campus's other DNS servers.
    """
    if not any(zone.changed for zone in zones):
        return []
    wanted: dict[Name, str] = {}
    for zone in zones:
        for owner, records in zone.plan.items():
            for _preference, exchange in records or ():
                wanted.setdefault(exchange, f"zone {zone.zone.name}: {spell(owner)}")
    found: dict[Name, Target] = {}
    for zone in zones:
        found.update(zone.targets(wanted.keys()))
    others = list(authorities)
    for name in wanted.keys() - found.keys():
        found[name] = Target.UNKNOWN if DNSPYTHON_ERROR else _look_up(client, others, name)
    problems = [
        f"{where} would get the MX target {spell(name)}, which {found[name].value}. Add an address record for it, or "
        "correct the inventory"
        for name, where in wanted.items()
        if found[name] in {Target.ALIAS, Target.MISSING}
    ]
    if problems:
        raise ZoneError(*problems)
    unknown = sorted(spell(name) for name in wanted if found[name] == Target.UNKNOWN)
    if not unknown:
        return []
    return [f"could not verify that these MX targets have an address record: {', '.join(unknown)}"]
