# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A zone that BIND reads from files: edited, proved by dnspython, checked by named-checkzone; not yet written."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from .._bind.client import DNSPYTHON_ERROR
from .._bind.named_conf import ServedZone
from .._bind.server import Bind
from .bridge import Bridge, bridge_over
from .check import prove, prove_by_bind, with_includes_from
from .edit import Plan, ZoneEdit, edit_zone, files_of
from .exchanges import Target, targets_in
from .file import Include, Name, ZoneError, read_zone
from .serial import is_later

WHOLE_BYTES = 64 * 1024
"""Zones up to this size are read by dnspython as a whole, which takes 0.1 ms a record; of others BIND's reading is."""


@dataclass(slots=True)
class StaticZone:
    """One zone's files before and after, by their real paths, the zone's own first: only those that change.

    Where included ones do, the zone is read over a `bridge` meanwhile. `behind` tells that its file is newer than what
    the server has, as an interrupted run leaves it; `reloaded` that the server is told to load it.
    """

    zone: ServedZone
    plan: Plan
    before: Mapping[Path, bytes]
    after: Mapping[Path, bytes]
    edit: ZoneEdit
    behind: bool
    bridge: Bridge = field(default_factory=dict)
    reloaded: bool = False
    backups: Sequence[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether a byte changes."""
        return self.edit.changed

    @property
    def serial_before(self) -> int:
        """The serial in the file as it was."""
        return self.edit.serial_before

    @property
    def serial_after(self) -> int:
        """The serial in the file as it shall be."""
        return self.edit.serial_after

    @property
    def null_mx(self) -> Sequence[Name]:
        """The planned names that take no mail and are left alone."""
        return self.edit.null_mx

    @property
    def ttls(self) -> Mapping[Name, int]:
        """The TTLs in seconds that the planned names' MX records had."""
        return self.edit.ttls

    @classmethod
    def prepare(
        cls,
        bind: Bind,
        zone: ServedZone,
        apex: Name,
        *,
        plan: Plan,
        ttls: Mapping[Name, int],
        today: date,
        served: int | None,
    ) -> StaticZone:
        """Edits and proves; raises ZoneError for what cannot be done safely, OSError for a file that can't be read."""
        path = Path(zone.file).resolve()
        data = path.read_bytes()
        read = _Includes(zone.directory)
        edit = edit_zone(data, apex, plan, path=zone.file, include=read, today=today, ttls=ttls, served=served)
        before, after = {path: data}, {path: edit.data}
        for name, new in edit.included.items():
            included = read.path(name)
            before[included], after[included] = read(name), new
        if edit.changed:
            _refuse_shared(bind, zone, read, after.keys() - {path})
            reread = _Includes(zone.directory, after)
            ours = {owner: lines for owner, lines in plan.items() if owner not in edit.null_mx}
            big = len(data) + read.size > WHOLE_BYTES and not DNSPYTHON_ERROR
            if not big and not DNSPYTHON_ERROR:
                prove(data, edit.data, apex, ours, path=zone.file, include=read, include_after=reread, ttls=ttls)
            lines = _check(bind, zone, apex, data, edit=edit, reread=reread, read=big)
            if big:
                prove_by_bind(bind.read(zone, data), lines, apex, ours, path=zone.file, ttls=ttls)
        for same in [each for each in before if before[each] == after[each]]:
            # An SOA in an included file has the serial there.
            del before[same], after[same]
        behind = served is not None and is_later(edit.serial_after, served)
        bridge: Bridge = {}
        if edit.included:
            text, copies = bridge_over(read_zone(data, apex, zone.file, read), edit.included.keys())
            bridge = {read.path(name): (None, copy, None) for name, copy in copies.items()}
            bridge = {**bridge, path: (data, text, edit.data)}
        return cls(zone, plan, before, after, edit, behind, bridge)

    def targets(self, names: Collection[Name]) -> dict[Name, Target]:
        """Judges those MX targets that lie in this zone."""
        apex = tuple(label.encode() for label in self.zone.name.split("."))
        inside = [name for name in names if name[-len(apex) :] == apex]
        if not inside:
            return {}
        include = _Includes(self.zone.directory, self.after)
        file = read_zone(self.edit.data, apex, self.zone.file, include)
        return targets_in(files_of(file), apex, inside)


class _Includes:
    """Reads what $INCLUDE lines name, from the server's directory; `changed` files as they shall be."""

    def __init__(self, directory: str, changed: Mapping[Path, bytes] | None = None) -> None:
        self._directory, self._changed = directory, changed or {}
        self.size = 0  # of all that was read, in bytes

    def path(self, name: str) -> Path:
        return Path(self._directory, name).resolve()

    def __call__(self, name: str) -> bytes:
        path = self.path(name)
        data = self._changed[path] if path in self._changed else path.read_bytes()
        self.size += len(data)
        return data


def _refuse_shared(bind: Bind, zone: ServedZone, read: _Includes, changed: Collection[Path]) -> None:
    if not changed:
        return
    sharing = bind.including(changed, but=zone)
    if sharing:
        raise ZoneError(
            *(
                f"zone {zone.name}: its MX lines are in the included file {path}, which zone {other} includes too, so "
                "a change there would change that zone. Move these lines into the zone's own file"
                for path, other in sorted(sharing.items())
            )
        )


def _check(
    bind: Bind, zone: ServedZone, apex: Name, before: bytes, *, edit: ZoneEdit, reread: Include, read: bool
) -> list[bytes]:
    """Has BIND check the edited zone; gives all its records, one a line, if they are to be `read`."""
    with tempfile.TemporaryDirectory() as directory:
        data = edit.data
        if edit.included:
            file = read_zone(data, apex, zone.file, reread)
            data = with_includes_from(file, edit.included.keys(), Path(directory)).encode("latin-1")
        objection, lines = "", []
        if read:
            try:
                lines = bind.read(zone, data)
            except ZoneError as error:
                objection = str(error)
        else:
            objection = bind.check(zone, data)
    if objection:
        whose = "the file as it is" if bind.check(zone, before) else "the file with the planned MX lines"
        raise ZoneError(f"zone {zone.name}: named-checkzone refuses {whose} ({zone.file}): {objection}")
    return lines
