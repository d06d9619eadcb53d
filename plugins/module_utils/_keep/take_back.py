# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has changed in the files of this host, what has changed since, and the files as they were before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .._replace import replace_all
from . import runs
from .kept import ANY, KeptError, Record, State, keep, original, records, state
from .text import content, decode, diff

ZONES = "bind_mx zones"
"""The files of zones, which bind_mx restores by their MX records, as their other lines belong to others."""
_UNITS = Path("/etc/systemd/system")
_READABLE = 0o004
_SUFFIXES = (".service", ".socket", ".timer")

Validate = Callable[[], str]
"""Returns what is wrong with the restored files, "" for nothing."""


@dataclass(frozen=True)
class Changed:
    """A file that a run has changed on this host.

    Attributes:
        path: The file.
        by: What has changed it, such as a role.
        change: `created`, `changed` or `removed`.
        state: How it is now, compared with the run.
        later: The later runs that have changed it too, the newest first.
    """

    path: str
    by: str
    change: str
    state: State
    later: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """Why the file cannot be what it was before the run; "" if it can."""
        if self.later:
            return f"{self.path} was changed by the later run {', '.join(self.later)}"
        if self.by == ZONES or self.state in (State.ORIGINAL, State.OURS):
            return ""
        return f"{self.path} was {self.state.value}, by hand, by another program, or by rollback or remove"


def changed(store: Path, name: str) -> list[Changed]:
    """Return the files that a run has changed, by path; those that it only looked at are left out.

    Raises:
        KeptError: A record cannot be read.
        OSError: The store cannot be read.
    """
    all_runs = runs.kept(store)
    own = next((run for run in all_runs if run.name == name), None)
    if own is None:
        return []
    later = [run for run in all_runs if (run.began, run.name) > (own.began, own.name)]
    # A run that takes another one back leaves what was there before both.
    paths = {run.name: _paths(store, run.name) for run in reversed(later) if not (run.taken_back or run.takes_back)}
    return [
        Changed(
            record.path,
            record.by,
            _change(record),
            state(record),
            tuple(other for other, found in paths.items() if record.path in found),
        )
        for record in _changing(store, name)
    ]


def later_of_roles(store: Path, name: str) -> list[str]:
    """Return the later runs that have changed a role of which the host had nothing before this run, the newest first.

    Raises:
        OSError: The store cannot be read.
    """
    all_runs = runs.kept(store)
    own = next((run for run in all_runs if run.name == name), None)
    if own is None:
        return []
    first = {by for by, new in own.first.items() if new}
    return [
        run.name
        for run in reversed(all_runs)
        if (run.began, run.name) > (own.began, own.name)
        and not (run.taken_back or run.takes_back)
        and first & run.first.keys()
    ]


def difference(store: Path, name: str, path: str) -> dict[str, str] | None:
    """Return the difference that a run has made in a text file, as Ansible shows one; None if it is not known now.

    That of a file which not everyone can read is never shown: it may have a password.

    Raises:
        KeptError: The copy cannot be read.
    """
    record = next((each for each in _changing(store, name) if each.path == path), None)
    if record is None or state(record) is not State.OURS or not _is_public(record):
        return None
    before, after = original(record, runs.directory(store, name)), content(Path(path))
    if b"\0" in (before or b"") + (after or b""):
        return None
    return diff(Path(path), None if before is None else decode(before), None if after is None else decode(after))


@dataclass(frozen=True)
class Outcome:
    """The files that were restored, or would be in check mode, and Ansible's differences of the text files."""

    files: Sequence[str]
    diff: Sequence[dict[str, str]]
    stopped: Sequence[str] = ()


def restore(
    store: Path,
    name: str,
    by: Collection[str],
    *,
    stop: Callable[[str], None],
    validate: Validate = lambda: "",
    without: Path | None = None,
    check: bool = False,
) -> Outcome:
    """Make the files that these roles changed in a run what they were before it: bytes, mode and owner.

    Args:
        store: The store.
        name: The run.
        by: The roles.
        stop: Stops and disables a unit of systemd whose file is removed.
        validate: Is called when the files are restored; the present ones are put back if it finds something.
        without: A directory whose files are restored otherwise.
        check: Only return what would be done.

    Raises:
        KeptError: Nothing was changed: a file has changed since, its copy cannot be read, or the files are not valid.
        OSError: Nothing was changed.
    """
    found = [each for each in changed(store, name) if each.by in by]
    if problems := [each.problem for each in found if each.problem]:
        raise KeptError("nothing was restored: " + "; ".join(problems))
    wanted = {each.path for each in found if each.state is not State.ORIGINAL and Path(each.path).parent != without}
    todo = sorted((record for record in _changing(store, name) if record.path in wanted), key=_order)
    directory = runs.directory(store, name)
    new = {Path(record.path): original(record, directory) for record in todo}
    differences = [each for path in sorted(wanted) if (each := difference(store, name, path))]
    units = [path.name for path, data in new.items() if data is None and _is_unit(path)]
    if check or not new:
        return Outcome(sorted(wanted), differences, units)
    present = {path: content(path) for path in new}
    modes = {path: path.stat() for path, data in present.items() if data is not None}
    for role in sorted({record.by for record in todo}):
        keep({Path(record.path): new[Path(record.path)] for record in todo if record.by == role}, role, store)
    for unit in units:
        stop(unit)
    replace_all(present, new, modes={Path(record.path): record.mode for record in todo})
    try:
        for record in todo:
            if record.existed:
                os.chown(record.path, record.uid, record.gid)
                Path(record.path).chmod(record.mode)
        problem = validate()
    except OSError as error:
        problem = str(error)
    if problem:
        replace_all(new, present)
        for path, found_mode in modes.items():
            os.chown(path, found_mode.st_uid, found_mode.st_gid)
            path.chmod(found_mode.st_mode & 0o7777)
        raise KeptError(f"the files of before the run are not valid now, so the present ones were put back: {problem}")
    return Outcome(sorted(wanted), differences, units)


def finish(store: Path, name: str, by_run: str) -> None:
    """Record that a run has been taken back on this host; do nothing if nothing of it is kept any more.

    Raises:
        OSError: The store cannot be written.
        ValueError: The run cannot be read.
    """
    run = runs.read(store, name)
    if run and not run.taken_back:
        runs.write(store, replace(run, taken_back=by_run))


def _changing(store: Path, name: str) -> list[Record]:
    """Return the records of the files that a run has changed."""
    return [record for record in records(runs.directory(store, name)) if record.written and not _same(record)]


def _same(record: Record) -> bool:
    """Return whether the run wrote what was there before."""
    before = record.sha256 if record.existed else ""
    return set(record.written) == {before} or (ANY in record.written and state(record) is State.ORIGINAL)


def _is_public(record: Record) -> bool:
    """Return whether everyone could and can read a file."""
    path = Path(record.path)
    modes = [record.mode] * record.existed + [path.stat().st_mode] * path.exists()
    return all(mode & _READABLE for mode in modes)


def _order(record: Record) -> tuple[int, str]:
    """Return the place of a file: what programs build of other files comes after these, so that it is newer."""
    return {".db": 1, ".cf": 2}.get(Path(record.path).suffix, 0), record.path


def _change(record: Record) -> str:
    if not record.existed:
        return "created"
    return "removed" if record.written[-1] == "" else "changed"


def _paths(store: Path, name: str) -> set[str]:
    return {record.path for record in _changing(store, name)}


def _is_unit(path: Path) -> bool:
    return path.parent == _UNITS and path.suffix in _SUFFIXES and path.is_file()
