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
from .._zone.serial import latest
from .authority import Authority, ZoneRequest
from .change import Change, PlannedZone, commit_all
from .client import DNSPYTHON_ERROR, DnsClient, Key
from .dynamic import DynamicZone
from .named_conf import SECONDARY, ServedZone
from .originals import Originals, former_names
from .server import Bind, included_files
from .sharing import exchanges_to_relate, sharing_problems
from .static import Former, StaticZone
from .transferred import TransferredZone, foreign, primary_of
from .zone_files import ZoneFiles

BackUp = Callable[[str], str]
"""Copies a file and returns the path of the copy."""

BeforeCommit = Callable[[Sequence[PlannedZone]], None]
"""Is called when all zones are planned and checked, before the first one changes; raises OSError to prevent that."""


@dataclass(frozen=True, slots=True)
class Request:
    """The plan of one server, and how to apply it.

    Views in `other_views` may keep other MX records; None: all views may, as no MX record changes. The zones in
    `zones_elsewhere` change on other servers of the campus only. `verify_only` changes nothing, but ends an interrupted
    earlier run. `restoring` accepts any names as targets, as they were in the zones before; with `whole` the files
    become what they were.
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
    zones_elsewhere: Collection[str] = ()
    verify_only: bool = False
    restoring: bool = False
    whole: bool = True


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
    *,
    originals: Originals | None = None,
) -> Result:
    """Apply all changes or none. With `originals`, record what the zones were before.

    Raises:
        ZoneError: Nothing has changed. Its `problems` lists every problem.
    """
    plans = _plans(bind, request)
    _recover([plan.zone for plan in plans if plan.zone.kind not in SECONDARY], check_only=request.check_only)
    prepared = _Prepared(
        bind, client, request, plans, originals.former if originals and request.restoring and request.whole else None
    )
    for plan in plans:
        prepared.add(plan)
    prepared.check()
    if prepared.problems:
        raise ZoneError(*prepared.problems)
    warnings = _check_targets(client, request.authorities, prepared.zones) if request.check_exchanges else []
    if not (request.check_only or request.verify_only):
        try:
            if before_commit:
                before_commit(prepared.zones)
            if back_up:
                for zone in prepared.static:
                    zone.backups = [back_up(str(path)) for path in zone.after]
            if originals:
                originals.record(prepared.zones)
        except (OSError, ValueError) as error:
            raise ZoneError(f"nothing was changed: {error}") from error
        keep = originals.keep if originals else None
        files: Change = ZoneFiles(bind, prepared.static, request.reload_timeout, keep)
        commit_all([files, *prepared.dynamic])
    return Result(prepared.zones, warnings)


def _plans(bind: Bind, request: Request) -> list[ZonePlan]:
    """Parse the names of all plans and find their zones in the server's configuration."""
    problems: list[str] = []
    plans: list[tuple[Name, Plan, Mapping[Name, int]]] = []
    seen: set[tuple[Name, str]] = set()
    for zone in request.zones:
        try:
            names = former_names if request.restoring else plan_names
            apex, plan = names(zone.name, [owner[:2] for owner in zone.owners])
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
    changed = {apex for apex, plan, _ttls in plans if any(records is not None for records in plan.values())}

    def obstacle(zone: ServedZone) -> str:
        if zone.kind not in SECONDARY:
            return bind.obstacle(zone)
        name = tuple(zone.name.encode().split(b"."))
        return foreign(zone) if name in changed and not primary_of(zone, name, request.authorities) else ""

    located = bind.locate([(zone.name, zone.view) for zone in request.zones], obstacle)
    if request.other_views is not None:
        problems = bind.unplanned(located, request.other_views)
        problems += bind.unlisted(located, request.zones_elsewhere, request.other_views)
        for served, wanted in zip(located, request.zones, strict=True):
            problems += [] if served.kind in SECONDARY else bind.deeper(served, [owner[0] for owner in wanted.owners])
    if problems:
        raise ZoneError(*problems)
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

    def __init__(
        self,
        bind: Bind,
        client: DnsClient,
        request: Request,
        plans: Sequence[ZonePlan],
        former: Former | None = None,
    ) -> None:
        self.bind, self.client, self.request, self.former = bind, client, request, former
        self.by_file: dict[Path, list[ZonePlan]] = {}
        for plan in plans:
            self.by_file.setdefault(Path(plan.zone.file).resolve(), []).append(plan)
        self.zones: list[PlannedZone] = []
        self.static: list[StaticZone] = []
        self.dynamic: list[DynamicZone] = []
        self.problems: list[str] = []

    def add(self, plan: ZonePlan) -> None:
        """Plan the change of one zone, by dynamic update where the zone accepts them, else in its file."""
        try:
            if plan.zone.kind in SECONDARY:
                primary = primary_of(plan.zone, plan.apex, self.request.authorities)
                serial = self.bind.loaded(plan.zone) or 0
                self.zones.append(TransferredZone(plan.zone, plan.plan, primary, serial))
            elif plan.zone.updates:
                self._add_dynamic(plan)
            else:
                self._add_static(plan)
        except ZoneError as error:
            self.problems += error.problems
        except OSError as error:
            self.problems.append(f"zone {plan.zone.name}: {error}")

    def check(self) -> None:
        """Add the problems that appear when all zones are planned."""
        self.problems += sharing_problems(self.bind, self.static)
        for zone in self.zones:
            self.problems += _null_elsewhere(zone, self.request.authorities)

    def _add_dynamic(self, plan: ZonePlan) -> None:
        """Plan the change of a zone that accepts dynamic updates."""
        if DNSPYTHON_ERROR:
            raise ZoneError(f"zone {plan.zone.name}: dnspython is required because the zone accepts dynamic updates")
        zone = DynamicZone.prepare(self.client, plan.zone, plan.plan, plan.ttls, self.request.keys)
        self.dynamic.append(zone)
        self.zones.append(zone)

    def _add_static(self, plan: ZonePlan) -> None:
        """Plan the change of a zone that BIND reads from files."""
        sharing = self.by_file[Path(plan.zone.file).resolve()]
        serials = [_served(self.bind, each.zone, self.request) for each in sharing]
        zone = StaticZone.prepare(
            self.bind,
            plan.zone,
            plan.apex,
            plan=plan.plan,
            ttls=plan.ttls,
            today=self.request.today,
            served=latest(serial for serial in serials if serial is not None),
            reload=self.request.reload,
            relative=exchanges_to_relate(plan.plan, [each.plan for each in sharing]),
            former=self.former,
        )
        self.static.append(zone)
        self.zones.append(zone)


def _null_elsewhere(zone: PlannedZone, authorities: Sequence[Authority]) -> list[str]:
    """Return a problem for each null MX that is left alone here, but not on another server of the same zone."""
    if DNSPYTHON_ERROR or not zone.null_mx:
        return []
    apex = tuple(zone.zone.name.encode().split(b"."))
    problems = []
    for authority in (each for each in authorities if apex in each.zones):
        for owner in (spell(name).rstrip(".") for name in zone.null_mx):
            try:
                there = authority.client.served_mx(zone.zone.name, owner)
            except ZoneError:
                break  # it does not serve the zone, so nobody finds other records there
            if there - {"0 ."}:
                problems.append(
                    f"zone {zone.zone.name}: {owner} has a null MX record here, but other MX records on "
                    f"{authority.host}, which has the zone too. Give both the same, or remove the domain from the "
                    "inventory"
                )
    return problems


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
