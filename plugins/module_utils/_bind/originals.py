# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""What the zones of a server were before the first change: MX records by name in `zones.json`, and files in the store.

Of each name the store has the MX records before, and those that were written last. So a name whose records somebody
else has changed since is told from the others, also in a zone that has no file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .._keep import runs
from .._keep.kept import (
    KeptError,
    State,
    forget,
    keep,
    keep_for_run,
    make_private,
    original,
    read,
    remove_empty,
    set_aside,
    state,
)
from .._replace import replace_all
from .._zone.file import Name, ZoneError, spell, to_name
from .._zone.lines import Mx
from .change import PlannedZone

# Not the name of the role, whose other files are restored whole.
BY = "bind_mx zones"

_FORMAT = "campus.mailgate zones"
# The present records and those being written; a run that was killed leaves either.
_WRITTEN = 2

Records = list[list[Any]]
"""MX records as JSON has them: preferences and targets, sorted."""


@dataclass
class Owner:
    """The MX records of a name before the first change, their TTL in seconds (None without any), and the written."""

    mx: Records
    ttl: int | None
    written: list[Records] = field(default_factory=list)


@dataclass
class ZoneRecord:
    """The names of a zone whose MX records were changed, and the copies that were made beside its files."""

    zone: str
    view: str
    owners: dict[str, Owner] = field(default_factory=dict)
    backups: list[str] = field(default_factory=list)


class Originals:
    """The store of one server."""

    def __init__(self, store: Path) -> None:
        """Use the store in this directory, which need not exist."""
        self._store, self._file = store, store / "zones.json"

    def zones(self) -> dict[tuple[str, str], ZoneRecord]:
        """Return what is recorded, by zone and view.

        Raises:
            ValueError: The record cannot be read.
        """
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
            if data["format"] != _FORMAT:
                raise ValueError("the format differs")
            found = [
                ZoneRecord(**{**each, "owners": {name: Owner(**owner) for name, owner in each["owners"].items()}})
                for each in data["zones"]
            ]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self._file} cannot be read: {error}. Restore it, or move it away") from error
        return {(each.zone, each.view): each for each in found}

    def record(self, zones: Sequence[PlannedZone]) -> None:
        """Record the MX records of all names that change, before they do.

        Raises:
            OSError: The store cannot be written.
            ValueError: A record cannot be read.
        """
        run = runs.current()
        if run and any(zone.replaced for zone in zones):
            keep_for_run({}, BY, self._store)
            Originals(runs.directory(self._store, run))._record(zones)
        self._record(zones)

    def _record(self, zones: Sequence[PlannedZone]) -> None:
        known = self.zones()
        for zone in zones:
            key = zone.zone.name, zone.zone.view
            if not zone.replaced and not zone.backups:
                continue
            found = known.setdefault(key, ZoneRecord(*key))
            found.backups += zone.backups
            for owner, present in zone.replaced.items():
                name, before = spell(owner), as_json(present)
                each = found.owners.setdefault(name, Owner(before, zone.ttls.get(owner)))
                planned = zone.plan[owner]
                after = before if planned is None else as_json(planned)
                former = [one for one in each.written if one in (before, after)]
                each.written = [*(one for one in former if one != after), after][-_WRITTEN:]
        self.write(known)

    def write(self, zones: Mapping[tuple[str, str], ZoneRecord]) -> None:
        """Replace what is recorded; remove the file if it is nothing.

        Raises:
            OSError: The store cannot be written.
        """
        before = self._file.read_bytes() if self._file.exists() else None
        data = {"format": _FORMAT, "zones": [asdict(each) for _key, each in sorted(zones.items())]}
        after = (json.dumps(data, indent=1) + "\n").encode() if zones else None
        if before == after:
            return
        make_private(self._store)
        replace_all({self._file: before}, {self._file: after}, modes={self._file: 0o600})
        if after is None:
            remove_empty(self._store)

    def keep(self, new: Mapping[Path, bytes | None]) -> None:
        """Keep each file at its first change; raise OSError if it cannot be."""
        try:
            keep(new, BY, self._store)
        except KeptError as error:
            raise OSError(str(error)) from error

    def former(self, path: Path) -> bytes | None:
        """Return what a file was before the first change, None if others have edited it since or it is not known."""
        try:
            record = read(path, self._store)
            if record is None:
                # A file that was never changed, such as an included one.
                return path.read_bytes()
            if record.edited or not record.existed or state(record) is State.EDITED:
                return None
            return original(record, self._store)
        except (KeptError, OSError):
            return None

    def copy_of(self, path: Path) -> str:
        """Return the path of the copy of a file, "" without one."""
        copy = self._store / "files" / str(path).lstrip("/")
        return str(copy) if copy.exists() else ""

    def forget(self, path: Path) -> None:
        """Remove the record and the copy of a file."""
        forget(path, self._store)

    def set_aside(self, path: Path) -> str:
        """Remove the record of a file and return the path of its copy, which stays for the admin; "" without a copy."""
        copy = set_aside(path, self._store)
        return str(copy) if copy else ""


class RunOriginals(Originals):
    """What the zones of a server were before one run; what is written now is recorded as by `Originals`."""

    def __init__(self, store: Path, run: str) -> None:
        """Use what the store has of this run."""
        super().__init__(store)
        self._run = Originals(runs.directory(store, run))

    def zones(self) -> dict[tuple[str, str], ZoneRecord]:
        """Return what the run has changed, without copies that were made beside the files: these stay."""
        return {key: replace(each, backups=[]) for key, each in self._run.zones().items()}

    def _record(self, zones: Sequence[PlannedZone]) -> None:
        Originals(self._store)._record(zones)

    def write(self, zones: Mapping[tuple[str, str], ZoneRecord]) -> None:
        """Leave what is recorded: the run stays listed, and the first touch stays known."""

    def former(self, path: Path) -> bytes | None:
        """Return what a file was before the run, None if others have edited it since or it is not known."""
        return self._run.former(path)

    def copy_of(self, path: Path) -> str:
        """Return "": edits beside the MX records are nobody's concern here."""
        return ""

    def forget(self, path: Path) -> None:
        """Leave the record of the file."""


def as_json(records: Sequence[Mx]) -> Records:
    """Return MX records in the form of the file."""
    return sorted([preference, spell(exchange)] for preference, exchange in records)


def former_names(
    zone: str, owners: Sequence[tuple[str, Sequence[tuple[int, str]] | None]]
) -> tuple[Name, dict[Name, list[Mx] | None]]:
    """Return the plan that restores MX records; unlike those of a new plan, their targets may be any names.

    Raises:
        ZoneError: A name cannot be read.
    """
    try:
        return to_name(zone, ()), {
            to_name(owner, ()): None if mx is None else sorted((each[0], to_name(each[1], ())) for each in mx)
            for owner, mx in owners
        }
    except ValueError as error:
        raise ZoneError(f"zone {zone}: {error}") from error
