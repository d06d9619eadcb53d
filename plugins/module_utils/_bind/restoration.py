# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Restore the MX records of a server's zones to what they were before the first run; the serials go forward.

A zone's files become what they were, byte for byte but for the serial, unless others have edited them since. Then only
the MX records go back, and of these only those that nobody else has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .._zone.file import ZoneError, spell
from .authority import ZoneRequest
from .change import PlannedZone
from .client import DnsClient
from .named_conf import PRIMARY
from .originals import Originals, Owner, Records, ZoneRecord, as_json
from .server import Bind
from .static import StaticZone
from .transaction import Request, update


@dataclass
class Restored:
    """The zones after the restoration, what stays as lines with the reason, and the copies that were removed."""

    zones: Sequence[PlannedZone] = ()
    left: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def restore(
    bind: Bind, client: DnsClient, request: Request, originals: Originals, names: Collection[str] = ()
) -> Restored:
    """Restore all recorded zones, all or none; with `names`, only the MX records of these names.

    Args:
        bind: The server.
        client: A client of it.
        request: How to apply changes; its zones are ignored.
        originals: What is recorded.
        names: Full names with or without the final dot. Copies and what is recorded of other names stay.

    Raises:
        ZoneError: Nothing was changed.
    """
    if names:
        return _restore_names(bind, client, request, originals, {name.rstrip(".").lower() for name in names})
    try:
        recorded = originals.zones()
    except ValueError as error:
        raise ZoneError(str(error)) from error
    result = Restored()
    served = {(zone.name, zone.view) for zone in bind.zones if zone.kind in PRIMARY and zone.file}
    there = {key: each for key, each in recorded.items() if key in served}
    for key in sorted(recorded.keys() - there.keys()):
        result.left.append(
            f"zone {_named(*key)}: it is not a primary zone of this server any more, so it stays as it is"
        )
    base = replace(request, restoring=True, other_views=None, check_exchanges=False, zones_elsewhere=())
    if there:
        changed = _changed_by_others(bind, client, base, there, result)
        wanted = [_request(each, changed.get(key, set())) for key, each in there.items()]
        result.zones = update(bind, client, replace(base, zones=wanted), originals=originals).zones
        kept = {key: _rest(each, changed.get(key, set())) for key, each in there.items()}
        _report_files(result, originals, check_only=request.check_only)
    else:
        kept = {}
    # Zones that share a file have the same copies.
    copies = dict.fromkeys(path for each in recorded.values() for path in each.backups)
    result.removed = [path for path in copies if Path(path).exists()]
    if not request.check_only:
        for path in result.removed:
            Path(path).unlink()
        left = {key: each for key, each in kept.items() if each.owners}
        originals.write({**{key: recorded[key] for key in recorded.keys() - there.keys()}, **left})
    return result


def _restore_names(
    bind: Bind, client: DnsClient, request: Request, originals: Originals, names: Collection[str]
) -> Restored:
    """Restore the MX records of some names."""
    try:
        recorded = originals.zones()
    except ValueError as error:
        raise ZoneError(str(error)) from error
    result = Restored()
    served = {(zone.name, zone.view) for zone in bind.zones if zone.kind in PRIMARY and zone.file}
    chosen = {
        key: replace(each, owners={n: owner for n, owner in each.owners.items() if n.rstrip(".").lower() in names})
        for key, each in recorded.items()
        if key in served
    }
    chosen = {key: each for key, each in chosen.items() if each.owners}
    if not chosen:
        return result
    base = replace(request, restoring=True, whole=False, other_views=None, check_exchanges=False, zones_elsewhere=())
    changed = _changed_by_others(bind, client, base, chosen, result)
    wanted = [_request(each, changed.get(key, set())) for key, each in chosen.items()]
    result.zones = update(bind, client, replace(base, zones=wanted), originals=originals).zones
    return result


def _changed_by_others(
    bind: Bind,
    client: DnsClient,
    base: Request,
    there: dict[tuple[str, str], ZoneRecord],
    result: Restored,
) -> dict[tuple[str, str], set[str]]:
    """Return the names of each zone whose MX records somebody else has changed, and report them."""
    wanted = [_request(each, set()) for each in there.values()]
    found: dict[tuple[str, str], set[str]] = {}
    for zone in update(bind, client, replace(base, zones=wanted, verify_only=True)).zones:
        key = zone.zone.name, zone.zone.view
        present = {spell(owner): as_json(records) for owner, records in zone.replaced.items()}
        present |= {spell(owner): [[0, "."]] for owner in zone.null_mx}
        for name, records in present.items():
            each = there[key].owners[name]
            if records not in (each.mx, *each.written):
                found.setdefault(key, set()).add(name)
                result.left.append(
                    f"zone {_named(*key)}: the MX records of {name} were changed since to {_text(records)} and stay; "
                    f"before the first run they were {_text(each.mx)}"
                )
    return found


def _request(record: ZoneRecord, without: set[str]) -> ZoneRequest:
    """Return the request that restores the names of a zone, but for those in `without`."""
    owners = [(name, _pairs(each), each.ttl) for name, each in record.owners.items() if name not in without]
    return ZoneRequest(record.zone, record.view, owners)


def _pairs(owner: Owner) -> list[tuple[int, str]]:
    return [(int(preference), str(target)) for preference, target in owner.mx]


def _rest(record: ZoneRecord, names: set[str]) -> ZoneRecord:
    """Return what stays recorded of a zone: the names that were not restored."""
    return ZoneRecord(record.zone, record.view, {name: each for name, each in record.owners.items() if name in names})


def _report_files(result: Restored, originals: Originals, *, check_only: bool) -> None:
    """Forget the files that are as they were, and report the others, each once."""
    static = [zone for zone in result.zones if isinstance(zone, StaticZone)]
    for zone in static:
        for path in zone.paths:
            if zone.exact and not check_only:
                originals.forget(path)
            elif not zone.exact and originals.copy_of(path):
                copy = originals.copy_of(path) if check_only else originals.set_aside(path)
                name = _named(zone.zone.name, zone.zone.view)
                line = (
                    f"{path} was edited since; only the MX records of zone {name} were restored, without comments "
                    f"beside them. Its copy is {copy}"
                )
                result.left += [line] if line not in result.left else []


def _text(records: Records) -> str:
    return ", ".join(f"{preference} {target}" for preference, target in records) or "none"


def _named(zone: str, view: str) -> str:
    return f"{zone} (view {view})" if view else zone
