# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Brings the MX lines of one BIND server to the plan: prove all edits, write all or none, reload, undo on failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ._bind import Bind
from ._namedconf import ServedZone
from ._replace import replace_all
from ._serial import is_later
from ._zonecheck import DNSPYTHON_ERROR, prove
from ._zoneedit import Plan, ZoneEdit, edit_zone, plan_names
from ._zonefile import Name, ZoneError


@dataclass(slots=True)
class Outcome:
    """What happened, or in check mode would happen, to one zone."""

    zone: ServedZone
    path: Path
    before: bytes
    edit: ZoneEdit
    reload: bool  # its file is newer than what the server has
    backup: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One server's plan: for each zone, each owner's (preference, exchange) lines."""

    zones: Sequence[tuple[str, Sequence[tuple[str, Sequence[tuple[int, str]]]]]]
    ttl: int | None
    reload: bool
    reload_timeout: int
    check_only: bool
    today: date


def update(bind: Bind, request: Request, back_up: Callable[[str], str] | None = None) -> list[Outcome]:
    """Does the whole work; raises ZoneError with every problem found, and then nothing has changed."""
    plans = _plans(request)
    outcomes = _prepare(bind, request, plans)
    if not request.check_only:
        _carry_out(bind, request, outcomes, back_up)
    return outcomes


def _plans(request: Request) -> list[tuple[str, Name, Plan]]:
    problems: list[str] = []
    plans: list[tuple[str, Name, Plan]] = []
    for zone, owners in request.zones:
        try:
            apex, plan = plan_names(zone, owners)
        except ZoneError as error:
            problems += error.problems
            continue
        if any(apex == other for _unused, other, _plan in plans):
            problems.append(f"zone {zone} is listed twice")
        plans.append((zone, apex, plan))
    if problems:
        raise ZoneError(*problems)
    return plans


def _prepare(bind: Bind, request: Request, plans: list[tuple[str, Name, Plan]]) -> list[Outcome]:
    problems: list[str] = []
    outcomes: list[Outcome] = []
    for zone, (_name, apex, plan) in zip(bind.locate([plan[0] for plan in plans]), plans, strict=True):
        try:
            outcomes.append(_prepare_one(bind, request, zone, apex, plan))
        except ZoneError as error:
            problems += error.problems
        except OSError as error:
            problems.append(f"zone {zone.name}: {error}")
    if problems:
        raise ZoneError(*problems)
    return outcomes


def _prepare_one(bind: Bind, request: Request, zone: ServedZone, apex: Name, plan: Plan) -> Outcome:
    def include(file: str) -> bytes:
        return Path(zone.directory, file).read_bytes()

    path = Path(zone.file).resolve()
    before = path.read_bytes()
    served = _served(bind, zone, request)
    edit = edit_zone(
        before, apex, plan, path=zone.file, include=include, today=request.today, ttl=request.ttl, served=served
    )
    if edit.changed:
        if not DNSPYTHON_ERROR:
            prove(before, edit.data, apex, plan, path=zone.file, include=include, ttl=request.ttl)
        objection = bind.check(zone, edit.data)
        if objection:
            whose = "the file as it is" if bind.check(zone, before) else "the file with the planned MX lines"
            raise ZoneError(f"zone {zone.name}: named-checkzone refuses {whose} ({zone.file}): {objection}")
    behind = served is not None and is_later(edit.serial_after, served)
    return Outcome(zone, path, before, edit, request.reload and (edit.changed or behind))


def _served(bind: Bind, zone: ServedZone, request: Request) -> int | None:
    if not request.reload:
        return None
    try:
        return bind.serial(zone)
    except ZoneError:
        if request.check_only:
            return None
        raise


def _carry_out(bind: Bind, request: Request, outcomes: list[Outcome], back_up: Callable[[str], str] | None) -> None:
    changed = [outcome for outcome in outcomes if outcome.edit.changed]
    old = {outcome.path: outcome.before for outcome in changed}
    new = {outcome.path: outcome.edit.data for outcome in changed}
    try:
        for outcome in changed:
            outcome.backup = back_up(str(outcome.path)) if back_up else ""
        replace_all(old, new)
    except OSError as error:
        raise ZoneError(f"the zone files cannot be replaced, all are as they were: {error}") from error
    wanted = {outcome.zone: outcome.edit.serial_after for outcome in outcomes if outcome.reload}
    try:
        problems = bind.reload(wanted, request.reload_timeout)
    except ZoneError as error:
        problems = error.problems
    if not problems:
        return
    try:
        replace_all(new, old)
    except OSError as error:
        raise ZoneError(*problems, f"the old zone files cannot be put back: {error}") from error
    before = {outcome.zone: outcome.edit.serial_before for outcome in changed if outcome.reload}
    try:
        problems += [
            f"after the old file was put back: {problem}" for problem in bind.reload(before, request.reload_timeout)
        ]
    except ZoneError as error:
        problems += error.problems
    raise ZoneError(*problems, "All zone files have been put back as they were")
