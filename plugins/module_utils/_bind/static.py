# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A zone that BIND reads from files: its edit, proved by dnspython or BIND and accepted by BIND, not yet written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path

from .._zone.bridge import Bridge, bridge_over
from .._zone.check import prove, prove_by_bind, served_ttls, with_includes_from
from .._zone.edit import Plan, ZoneEdit, edit_zone, files_of, with_serial
from .._zone.exchanges import Target, targets_in
from .._zone.file import Include, Name, ZoneError, read_zone
from .._zone.lines import Mx
from .._zone.serial import is_later
from .client import DNSPYTHON_ERROR
from .named_conf import ServedZone
from .server import Bind

WHOLE_BYTES = 64 * 1024
"""dnspython reads zones up to this size completely, at 0.1 ms a record; of larger ones it reads BIND's output."""


@dataclass(slots=True)
class StaticZone:
    """One zone's files before and after, by their real paths, the zone's own first: only those that change.

    Where included files change, BIND reads the zone over a `bridge` in the meantime. `behind` means that the file has a
    later serial than the server, as an interrupted run leaves it; `reload` that BIND is to load what changes; `exact`
    that all files become what they were before the first run, but for the serial. `paths` are all files of the zone.
    """

    zone: ServedZone
    plan: Plan
    before: Mapping[Path, bytes]
    after: Mapping[Path, bytes]
    edit: ZoneEdit
    behind: bool
    reload: bool
    bridge: Bridge = field(default_factory=dict)
    exact: bool = False
    paths: Sequence[Path] = ()
    backups: Sequence[str] = field(default_factory=list)

    @property
    def method(self) -> str:
        """How the records are changed."""
        return "file"

    @property
    def changed(self) -> bool:
        """Whether a byte changes."""
        return self.edit.changed

    @property
    def needs_reload(self) -> bool:
        """Whether BIND must load the zone's file."""
        return self.reload and (self.changed or self.behind)

    @property
    def serial_before(self) -> int:
        """The serial in the present file."""
        return self.edit.serial_before

    @property
    def serial_after(self) -> int:
        """The serial in the new file."""
        return self.edit.serial_after

    @property
    def null_mx(self) -> Sequence[Name]:
        """The planned names that accept no mail and are left alone."""
        return self.edit.null_mx

    @property
    def ttls(self) -> Mapping[Name, int]:
        """The TTLs in seconds that the planned names' MX records had."""
        return self.edit.ttls

    @property
    def replaced(self) -> Mapping[Name, Sequence[Mx]]:
        """The present MX records of each name whose records or TTL change."""
        return self.edit.replaced

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
        reload: bool = True,
        relative: Collection[Name] = (),
        former: Former | None = None,
    ) -> StaticZone:
        """Edit the zone and prove the edit.

        Args:
            bind: The server.
            zone: The zone in its configuration.
            apex: The zone's name.
            plan: The MX records of the planned names.
            ttls: The planned TTLs in seconds.
            today: The date for a serial of the form YYYYMMDDnn.
            served: The serial that the server serves; None if it is not known.
            reload: Whether BIND is to load the new file.
            relative: The exchanges that new records state relative to the origin.
            former: Returns what a file was before the first run, None if it is not known or others have edited it
                since. By default nothing is known.

        Raises:
            ZoneError: The edit is not safe.
            OSError: A file cannot be read.
        """
        path = Path(zone.file).resolve()
        data = path.read_bytes()
        read = _Includes(zone.directory)
        change = partial(
            edit_zone,
            data,
            apex,
            plan,
            path=zone.file,
            include=read,
            today=today,
            ttls=ttls,
            served=served,
            relative=relative,
        )
        edit = change()
        if edit.mixed_ttls:
            edit = change(served_ttls=served_ttls(_read(bind, zone, data), edit.mixed_ttls))
        check = partial(_prove, bind, zone, apex, data, plan=plan, ttls=ttls, read=read)
        exact = _as_before(zone, apex, edit, read, former) if former else None
        if exact and edit.changed:
            try:
                check(edit=exact, reread=_Includes(zone.directory, _after(exact, path, read)))
            except ZoneError:
                exact = None  # more than the planned records has changed since
        elif exact and (exact.data != data or exact.included):
            exact = None
        if edit.changed and not exact:
            check(edit=edit, reread=_Includes(zone.directory, _after(edit, path, read)))
        edit = exact or edit
        after = _after(edit, path, read)
        before = {path: data, **{read.path(name): read(name) for name in edit.included}}
        for same in [each for each in before if before[each] == after[each]]:
            # With the SOA record in an included file, the serial is there.
            del before[same], after[same]
        behind = served is not None and is_later(edit.serial_after, served)
        bridge: Bridge = {}
        if edit.included:
            text, copies = bridge_over(read_zone(data, apex, zone.file, read), edit.included.keys())
            bridge = {read.path(name): (None, copy, None) for name, copy in copies.items()}
            bridge = {**bridge, path: (data, text, edit.data)}
        paths = [path, *(read.path(file.path) for file in list(files_of(read_zone(data, apex, zone.file, read)))[1:])]
        return cls(zone, plan, before, after, edit, behind, reload, bridge, exact is not None, paths if former else ())

    def targets(self, names: Collection[Name]) -> dict[Name, Target]:
        """Return what this zone says about the MX targets that lie in it."""
        apex = tuple(label.encode() for label in self.zone.name.split("."))
        internal = [name for name in names if name[-len(apex) :] == apex]
        if not internal:
            return {}
        include = _Includes(self.zone.directory, self.after)
        file = read_zone(self.edit.data, apex, self.zone.file, include)
        return targets_in(files_of(file), apex, internal)

    def texts(self) -> list[tuple[str, str, str]]:
        """Return each file that changes, for a diff: its path, its present text and its new text."""
        return [
            (str(path), old.decode("utf-8", "replace"), self.after[path].decode("utf-8", "replace"))
            for path, old in self.before.items()
        ]


Former = Callable[[Path], "bytes | None"]
"""Returns what a file was before the first run, None if that cannot be restored."""


def _after(edit: ZoneEdit, path: Path, read: _Includes) -> dict[Path, bytes]:
    """Return the new content of a zone's own file and of the included files that change, by their real paths."""
    return {path: edit.data, **{read.path(name): new for name, new in edit.included.items()}}


def _as_before(zone: ServedZone, apex: Name, edit: ZoneEdit, read: _Includes, former: Former) -> ZoneEdit | None:
    """Return an edit to the files before the first run, with the serial of `edit`; None if they cannot be restored."""
    path = Path(zone.file).resolve()
    changing = {name: former(read.path(name)) for name in edit.included}
    own = former(path)
    if own is None or None in changing.values():
        return None
    contents = {read.path(name): content for name, content in changing.items() if content is not None}
    try:
        after, included = with_serial(
            own, apex, edit.serial_after, path=zone.file, include=_Includes(zone.directory, contents)
        )
    except (ZoneError, OSError):
        return None
    differing = {name: new for name, new in included.items() if new != read(name)}
    return replace(edit, data=after, included=differing)


class _Includes:
    """Reads what $INCLUDE lines name, relative to the server's directory; of the files in `changed` the new content."""

    def __init__(self, directory: str, changed: Mapping[Path, bytes] | None = None) -> None:
        self._directory, self._changed = directory, changed or {}
        self.size = 0  # of all files read, in bytes

    def path(self, name: str) -> Path:
        """Return the real path of an included file."""
        return Path(self._directory, name).resolve()

    def __call__(self, name: str) -> bytes:
        path = self.path(name)
        data = self._changed[path] if path in self._changed else path.read_bytes()
        self.size += len(data)
        return data


def _prove(
    bind: Bind,
    zone: ServedZone,
    apex: Name,
    data: bytes,
    *,
    edit: ZoneEdit,
    plan: Plan,
    ttls: Mapping[Name, int],
    read: _Includes,
    reread: _Includes,
) -> None:
    """Raise ZoneError unless BIND accepts the edited zone and the planned changes are the only ones.

    dnspython reads small zones. BIND decides about all others, and about those that dnspython reads differently or not
    at all.
    """
    changed = {owner: records for owner, records in plan.items() if owner not in edit.null_mx}
    by_bind = bool(DNSPYTHON_ERROR or edit.mixed_ttls or edit.kept_ttls) or len(data) + read.size > WHOLE_BYTES
    if not by_bind:
        try:
            prove(data, edit.data, apex, changed, path=zone.file, include=read, include_after=reread, ttls=ttls)
        except ZoneError:
            by_bind = True
    records = _check(bind, zone, apex, data, edit=edit, reread=reread, read=by_bind)
    if by_bind:
        prove_by_bind(_read(bind, zone, data), records, apex, changed, path=zone.file, ttls=ttls)


def _read(bind: Bind, zone: ServedZone, data: bytes) -> list[bytes]:
    """Return the records that BIND reads from the present file, one a line; raise ZoneError if it rejects it."""
    try:
        return bind.read(zone, data)
    except ZoneError as error:
        raise ZoneError(f"zone {zone.name}: named-checkzone rejects the present file: {error}") from error


def _check(
    bind: Bind, zone: ServedZone, apex: Name, before: bytes, *, edit: ZoneEdit, reread: Include, read: bool
) -> list[bytes]:
    """Have BIND check the edited zone; with `read`, return all its records, one a line."""
    copies: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as directory:
        data = edit.data
        if edit.included:
            file = read_zone(data, apex, zone.file, reread)
            data = with_includes_from(file, edit.included.keys(), Path(directory), copies).encode("latin-1")
        problem, records = "", []
        if read:
            try:
                records = bind.read(zone, data)
            except ZoneError as error:
                problem = str(error)
        else:
            problem = bind.check(zone, data)
    if problem:
        present = bind.check(zone, before)
        if present:
            # The admin knows the lines of this file.
            raise ZoneError(f"zone {zone.name}: named-checkzone rejects the present file: {present}")
        for copy, path in copies.items():
            problem = problem.replace(copy, path)
        raise ZoneError(
            f"zone {zone.name}: named-checkzone rejects {zone.file} with the planned MX records, and the present file "
            f"without them passes. Line numbers are those of the new text: {problem}"
        )
    return records
