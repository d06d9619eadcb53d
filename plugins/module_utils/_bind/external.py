# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Keeps the outside copies of a split DNS in step with the inside zones: make, prove, write all or none, load.

The inside is another view of the same server, read from its file, or another server, read by zone transfer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from .._replace import replace_all
from .._zone.check import prove
from .._zone.edit import Plan, plan_names
from .._zone.external import made_from, null_mx_in, outside_text, serial_in
from .._zone.file import Name, ZoneError
from .._zone.serial import is_later, next_serial
from .client import DnsClient, Key, read_keys
from .named_conf import ServedZone
from .server import Bind
from .transaction import load_or_put_back

ANSWER_SECONDS = 20.0

Owners = Sequence[tuple[str, Sequence[tuple[int, str]]]]
"""The names whose MX records the outside sees differently, each with its (preference, exchange) lines."""


@dataclass(frozen=True, slots=True)
class OutsideRequest:
    """One server's outside zones. `inside` is a server to transfer from; None: the view `inside_view` here."""

    zones: Sequence[tuple[str, Owners]]
    outside_view: str
    inside_view: str
    inside: DnsClient | None
    key: Key | None
    reload: bool
    reload_timeout: int
    check_only: bool
    today: date


@dataclass(slots=True)
class Copy:
    """An outside zone before and after; `waiting` says that the inside has a file that BIND has not loaded yet."""

    zone: ServedZone
    path: Path
    before: bytes | None
    after: bytes
    serial_before: int
    serial_after: int
    inside_serial: int
    waiting: bool = False
    reloaded: bool = False

    @property
    def changed(self) -> bool:
        """Whether a byte changes."""
        return self.before != self.after


def request_from(values: Mapping[str, Any], *, check_only: bool) -> OutsideRequest:
    """Makes a request of the module's parameters; raises ZoneError for a key file that can't be read."""
    keys = list(read_keys(values["key_file"]).values()) if values["key_file"] else [None]
    if len(keys) > 1:
        raise ZoneError(f"key_file {values['key_file']}: it has several keys, and only one can sign a transfer")
    server = values["inside_server"]
    return OutsideRequest(
        zones=[
            (
                zone["zone"],
                [(each["owner"], [(mx["preference"], mx["exchange"]) for mx in each["mx"]]) for each in zone["owners"]],
            )
            for zone in values["zones"]
        ],
        outside_view=values["outside_view"],
        inside_view=values["inside_view"],
        inside=DnsClient(server, values["inside_port"], ANSWER_SECONDS) if server else None,
        key=keys[0],
        reload=values["reload"],
        reload_timeout=values["reload_timeout"],
        check_only=check_only,
        today=date.today(),
    )


def refresh(bind: Bind, request: OutsideRequest) -> list[Copy]:
    """Does the whole work; raises ZoneError with every problem found, and then nothing has changed."""
    problems: list[str] = []
    plans: list[tuple[Name, Plan]] = []
    for name, owners in request.zones:
        try:
            plans.append(plan_names(name, owners))
        except ZoneError as error:
            problems += error.problems
    if problems:
        raise ZoneError(*problems)
    names = [name for name, _owners in request.zones]
    outsides = bind.locate([(name, request.outside_view) for name in names])
    insides: Sequence[ServedZone | None] = [None] * len(names)
    if request.inside is None:
        insides = [bind.find(name, request.inside_view) for name in names]
    copies: list[Copy] = []
    for outside, inside, (apex, plan) in zip(outsides, insides, plans, strict=True):
        try:
            copies.append(_prepare(bind, request, outside, inside, apex=apex, plan=plan))
        except ZoneError as error:
            problems += error.problems
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"zone {outside.name}: {error}")
    if problems:
        raise ZoneError(*problems)
    if not request.check_only:
        _carry_out(bind, request, copies)
    return copies


def _prepare(
    bind: Bind,
    request: OutsideRequest,
    outside: ServedZone,
    inside: ServedZone | None,
    *,
    apex: Name,
    plan: Plan,
) -> Copy:
    if inside == outside:
        raise ZoneError(
            f"zone {outside.name}: inside and outside are the same zone. Give named.conf a view for outsiders that has "
            "a zone of this name too, and say which view is which (role bind_mx: bind_mx_inside_view, "
            "bind_mx_outside_view), or, on a server for outsiders alone, give bind_mx_inside_server"
        )
    if outside.updates:
        raise ZoneError(f"zone {outside.name}: the outside zone takes dynamic updates, so it cannot be a copy")
    path = Path(outside.file).resolve()
    before = path.read_bytes() if path.exists() else None
    text = before.decode("ascii", "replace") if before is not None else ""
    if before and made_from(text) is None:
        raise ZoneError(
            f"zone {outside.name}: {path} was not made by mailgate, and a copy of the inside zone would replace it. "
            "Move it away first"
        )
    present = serial_in(text) if before else None
    if inside is None and request.inside is not None:
        lines = request.inside.transfer(outside.name, request.key)
        source, loaded = request.inside.told(), None
    elif inside is not None:
        lines = bind.dump(inside)
        source = f"view {inside.view}" if inside.view else inside.file
        loaded = bind.serial(inside) if request.reload else None
    new = outside_text(lines, apex, plan, present or 0, source=source)
    inside_serial = made_from(new) or 0
    if loaded not in {None, inside_serial} and before is not None:
        # What the inside does not serve yet, the outside must not see first.
        return Copy(outside, path, before, before, present or 0, present or 0, inside_serial, waiting=True)
    if before is not None and new.encode() == before:
        serial = present or 0
    elif present is None:
        serial = inside_serial
    else:
        serial = inside_serial if is_later(inside_serial, present) else next_serial(present, request.today)
    after = outside_text(lines, apex, plan, serial, source=source).encode()
    copy = Copy(outside, path, before, after, present or 0, serial, inside_serial)
    if copy.changed:
        _check(bind, outside, lines, after, apex=apex, plan=plan)
    served = bind.loaded(outside) if request.reload else None
    copy.reloaded = request.reload and (copy.changed or served is None or is_later(serial, served))
    return copy


def _check(bind: Bind, outside: ServedZone, lines: Sequence[str], after: bytes, *, apex: Name, plan: Plan) -> None:
    unplanned = outside_text(lines, apex, {}, 0, source="-")
    null = null_mx_in(lines)
    ours = {owner: mx for owner, mx in plan.items() if owner not in null}
    prove(unplanned.encode(), after, apex, ours, path=outside.file, include=lambda name: b"")
    objection = bind.check(outside, after)
    if objection:
        raise ZoneError(f"zone {outside.name}: named-checkzone refuses the outside copy: {objection}")


def _carry_out(bind: Bind, request: OutsideRequest, copies: Sequence[Copy]) -> None:
    changed = [copy for copy in copies if copy.changed]
    old: dict[Path, bytes | None] = {copy.path: copy.before for copy in changed}
    new: dict[Path, bytes | None] = {copy.path: copy.after for copy in changed}
    try:
        replace_all(old, new)
    except OSError as error:
        raise ZoneError(f"the outside copies cannot be written, all are as they were: {error}") from error
    loading = {copy.zone: copy.serial_after for copy in copies if copy.reloaded}
    before = {copy.zone: copy.serial_before for copy in changed if copy.reloaded and copy.before is not None}
    problems = load_or_put_back(bind, old, new, loading, before, timeout=request.reload_timeout)
    if problems:
        raise ZoneError(*problems)
