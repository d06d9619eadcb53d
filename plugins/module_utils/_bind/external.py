# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Keep the external zones of a split DNS in step with the internal ones: generate, prove, write all or none, load.

The internal zone is in another view of the same server, read from its file, or on another server, read by zone
transfer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from .._zone.bridge import Bridge
from .._zone.check import prove, prove_by_bind
from .._zone.edit import Plan, plan_names
from .._zone.external import external_text, null_mx_in, serial_in, source_serial
from .._zone.file import Name, ZoneError
from .._zone.serial import is_later, next_serial
from .change import commit_all
from .client import DnsClient, Key, read_keys
from .named_conf import ServedZone
from .server import Bind
from .zone_files import ZoneFiles

ANSWER_SECONDS = 20.0

Owners = Sequence[tuple[str, Sequence[tuple[int, str]]]]
"""The names whose MX records differ in the external zone, each with its (preference, exchange) pairs."""


@dataclass(frozen=True, slots=True)
class ExternalRequest:
    """The external zones of one server.

    `internal_server` is the server to transfer the internal zones from; None stands for the view `internal_view` of
    this server.
    """

    zones: Sequence[tuple[str, Owners]]
    external_view: str
    internal_view: str
    internal_server: DnsClient | None
    key: Key | None
    reload: bool
    reload_timeout: int
    check_only: bool
    today: date


@dataclass(slots=True)
class ExternalZone:
    """An external zone before and after; `waiting` means that BIND has not loaded the internal zone's new file yet."""

    zone: ServedZone
    path: Path
    present: bytes | None
    planned: bytes
    serial_before: int
    serial_after: int
    internal_serial: int
    waiting: bool = False
    needs_reload: bool = False

    @property
    def changed(self) -> bool:
        """Whether a byte changes."""
        return self.present != self.planned

    @property
    def before(self) -> Mapping[Path, bytes | None]:
        """The present content of the file if it changes."""
        return {self.path: self.present} if self.changed else {}

    @property
    def after(self) -> Mapping[Path, bytes]:
        """The new content of the file if it changes."""
        return {self.path: self.planned} if self.changed else {}

    @property
    def bridge(self) -> Bridge:
        """Nothing: an external zone has one file."""
        return {}


@dataclass(frozen=True, slots=True)
class _Source:
    """The records of an internal zone, one a line; `loaded` is the serial that BIND serves, if it must be `serial`."""

    records: Sequence[str]
    name: str
    loaded: int | None


def request_from(values: Mapping[str, Any], *, check_only: bool) -> ExternalRequest:
    """Make a request from the parameters of the module; raise ZoneError for a key file that cannot be read."""
    keys = list(read_keys(values["key_file"]).values()) if values["key_file"] else [None]
    if len(keys) > 1:
        raise ZoneError(f"key_file {values['key_file']}: it has several keys, but a transfer is signed with one")
    server = values["inside_server"]
    return ExternalRequest(
        zones=[
            (
                zone["zone"],
                [(each["owner"], [(mx["preference"], mx["exchange"]) for mx in each["mx"]]) for each in zone["owners"]],
            )
            for zone in values["zones"]
        ],
        external_view=values["outside_view"],
        internal_view=values["inside_view"],
        internal_server=DnsClient(server, values["inside_port"], ANSWER_SECONDS) if server else None,
        key=keys[0],
        reload=values["reload"],
        reload_timeout=values["reload_timeout"],
        check_only=check_only,
        today=date.today(),
    )


def refresh(
    bind: Bind, request: ExternalRequest, before_commit: Callable[[Sequence[Path]], None] | None = None
) -> list[ExternalZone]:
    """Bring all external zones up to date or none.

    Args:
        bind: The server.
        request: The zones.
        before_commit: Is called with their files before one is written; raises ZoneError to prevent that.

    Raises:
        ZoneError: Nothing has changed. Its `problems` lists every problem.
    """
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
    externals = bind.locate([(name, request.external_view) for name in names])
    internals: Sequence[ServedZone | None] = [None] * len(names)
    if request.internal_server is None:
        internals = [bind.find(name, request.internal_view) for name in names]
    zones: list[ExternalZone] = []
    for external, internal, (apex, plan) in zip(externals, internals, plans, strict=True):
        try:
            zones.append(_prepare(bind, request, external, internal, apex=apex, plan=plan))
        except ZoneError as error:
            problems += error.problems
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"zone {external.name}: {error}")
    if problems:
        raise ZoneError(*problems)
    if not request.check_only:
        if before_commit:
            before_commit([zone.path for zone in zones])
        commit_all([ZoneFiles(bind, zones, request.reload_timeout)])
    return zones


def _prepare(
    bind: Bind,
    request: ExternalRequest,
    external: ServedZone,
    internal: ServedZone | None,
    *,
    apex: Name,
    plan: Plan,
) -> ExternalZone:
    """Generate the new content of one external zone and prove it."""
    _refuse(external, internal)
    path = Path(external.file).resolve()
    before = path.read_bytes() if path.exists() else None
    present = _present_serial(external, path, before)
    source = _read_source(bind, request, external, internal)
    text = external_text(source.records, apex, plan, present or 0, source=source.name)
    internal_serial = source_serial(text) or 0
    if source.loaded not in {None, internal_serial} and before is not None:
        # The external zone must not show what BIND does not serve in the internal one yet.
        serial = present or 0
        return ExternalZone(external, path, before, before, serial, serial, internal_serial, waiting=True)
    if before is not None and text.encode() == before:
        serial = present or 0
    elif present is None or is_later(internal_serial, present):
        serial = internal_serial
    else:
        serial = next_serial(present, request.today)
    after = external_text(source.records, apex, plan, serial, source=source.name).encode()
    zone = ExternalZone(external, path, before, after, present or 0, serial, internal_serial)
    if zone.changed:
        _check(bind, external, source.records, after, apex=apex, plan=plan)
    served = bind.loaded(external) if request.reload else None
    zone.needs_reload = request.reload and (zone.changed or served is None or is_later(serial, served))
    return zone


def _refuse(external: ServedZone, internal: ServedZone | None) -> None:
    """Raise ZoneError for an external zone that cannot be generated."""
    if internal == external:
        raise ZoneError(
            f"zone {external.name}: the internal and the external zone are the same. Add a view for external clients "
            "that has a zone of this name to named.conf, and set which view is which (role bind_mx: "
            "bind_mx_inside_view, bind_mx_outside_view), or, on a server for external clients only, set "
            "bind_mx_inside_server"
        )
    if external.updates:
        raise ZoneError(f"zone {external.name}: the external zone accepts dynamic updates, so it cannot be generated")


def _present_serial(external: ServedZone, path: Path, before: bytes | None) -> int | None:
    """Return the serial of the present file, None without one; raise ZoneError for a file of another origin."""
    if not before:
        return None
    text = before.decode("ascii", "replace")
    if source_serial(text) is None:
        raise ZoneError(
            f"zone {external.name}: {path} was not generated by mailgate and would be replaced. Move it away first"
        )
    return serial_in(text)


def _read_source(bind: Bind, request: ExternalRequest, external: ServedZone, internal: ServedZone | None) -> _Source:
    """Read the internal zone, by zone transfer or from this server's file."""
    if internal is not None:
        loaded = bind.serial(internal) if request.reload else None
        return _Source(bind.dump(internal), f"view {internal.view}" if internal.view else internal.file, loaded)
    if request.internal_server is None:
        raise AssertionError("a request without a server has an internal zone for each external one")
    server = request.internal_server
    return _Source(server.transfer(external.name, request.key), server.address, None)


def _check(bind: Bind, external: ServedZone, records: Sequence[str], after: bytes, *, apex: Name, plan: Plan) -> None:
    """Raise ZoneError unless the external zone differs from the internal one by the plan only and BIND accepts it."""
    unplanned = external_text(records, apex, {}, 0, source="-")
    null = null_mx_in(records)
    changed = {owner: mx for owner, mx in plan.items() if owner not in null}
    problem = bind.check(external, after)
    if problem:
        raise ZoneError(f"zone {external.name}: named-checkzone rejects the generated external zone: {problem}")
    before = unplanned.encode()
    try:
        prove(before, after, apex, changed, path=external.file, include=lambda name: b"")
    except ZoneError:
        # BIND decides about what dnspython reads differently or not at all.
        old, new = bind.read(external, before), bind.read(external, after)
        prove_by_bind(old, new, apex, changed, path=external.file)
