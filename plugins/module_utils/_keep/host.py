# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role found on a host before its first change, beside contents of files, and its restoration.

The record of a role is `hosts/ROLE.json` in the store: which units, users and directories there were, and how. It is
written before the first change, so that an interrupted run can be taken back too.
"""

from __future__ import annotations

import datetime
import grp
import json
import os
import pwd
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .._replace import replace_all
from .kept import (
    ANY,
    KeptError,
    Restored,
    State,
    forget,
    is_own,
    keep_for_run,
    keep_hashes,
    make_private,
    plan_restore,
    read,
    records,
    remove_empty,
    restore,
)
from .store import STORE
from .text import content

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
"""Runs a command; returns its exit status, standard output and standard error."""

_FORMAT = "campus.mailgate host"
_SWITCHED = {"enabled": "enable", "disabled": "disable", "masked": "mask"}


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit: whether it exists, its state as a file, such as `enabled`, and whether it runs."""

    exists: bool
    enabled: str = ""
    active: bool = False


@dataclass
class Access:
    """The mode, user id and group id of a directory before, and after a change; no `after` if that is not known yet."""

    before: list[int]
    after: list[int] = field(default_factory=list)


@dataclass
class HostRecord:
    """What a role found: its units, whether each user and directory existed, and who could use some directories."""

    kept: str = ""
    units: dict[str, Unit] = field(default_factory=dict)
    users: dict[str, bool] = field(default_factory=dict)
    directories: dict[str, bool] = field(default_factory=dict)
    accesses: dict[str, Access] = field(default_factory=dict)


@dataclass
class Restoration:
    """What was restored, or would be in check mode: units and paths; and what stays, each as a line with the reason."""

    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    diff: list[tuple[str, bytes | None, bytes | None]] = field(default_factory=list)


class Host:
    """The record of one role on this host."""

    def __init__(self, run: Run, role: str, store: Path = STORE, *, check_only: bool = False) -> None:
        """Use the record of `role`, which need not exist."""
        self._run, self._role, self._store, self._check_only = run, role, store, check_only
        self._file = store / "hosts" / f"{role}.json"

    def record(
        self,
        units: Sequence[str] = (),
        users: Sequence[str] = (),
        directories: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        accesses: Sequence[str] = (),
    ) -> bool:
        """Record what is not recorded yet; return whether there was anything.

        Args:
            units: Units of systemd.
            users: Users, each with the group of the same name; also names of groups alone.
            directories: Directories.
            files: Files with the hash of the content that is written next; "" for any content.
            accesses: Directories whose mode and owner will change; `settle` notes what they have become.

        Raises:
            KeptError: A record cannot be read or written.
        """
        found = self._read() or HostRecord(datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
        before = self._text(found) if self._file.exists() else ""
        for unit in units:
            if unit not in found.units:
                found.units[unit] = Unit(exists=False) if is_own(Path(unit)) else self._unit(unit)
        for user in users:
            found.users.setdefault(user, not is_own(Path(user)) and (_has_user(user) or _has_group(user)))
        for directory in directories:
            path = Path(directory)
            found.directories.setdefault(directory, not is_own(path) and path.is_dir())
        for directory in accesses:
            if Path(directory).is_dir():
                found.accesses.setdefault(directory, Access(_access(Path(directory))))
        new = {Path(path).resolve(): digest or ANY for path, digest in (files or {}).items()}
        fresh = [
            path for path, digest in new.items() if not (kept := read(path, self._store)) or digest not in kept.written
        ]
        changed = self._text(found) != before or bool(fresh)
        if changed and not self._check_only:
            try:
                keep_for_run({}, self._role, self._store)
                keep_hashes(new, self._role, self._store)
                self._write(found)
            except OSError as error:
                raise KeptError(f"{self._store} cannot be written: {error}") from error
        return changed

    def settle(self) -> None:
        """Note the present modes and owners of directories, so that later changes are told from the role's own.

        Raises:
            KeptError: The record cannot be read or written.
        """
        found = self._read()
        if found is None or not found.accesses or self._check_only:
            return
        for directory, access in found.accesses.items():
            if not access.after and Path(directory).is_dir():
                access.after = _access(Path(directory))
        try:
            self._write(found)
        except OSError as error:
            raise KeptError(f"{self._store} cannot be written: {error}") from error

    def restore(self, remove: Sequence[str] = (), spare: Sequence[str] = ()) -> Restoration:
        """Restore what the role changed, and remove its record; do nothing without records.

        Args:
            remove: Files and directories of the role's own state.
            spare: Directories within these that stay if they have files.

        Raises:
            KeptError: A copy cannot be read, or a command fails; a further run completes it.
        """
        found, result = self._read(), Restoration()
        files = [Path(each.path) for each in records(self._store) if each.by == self._role]
        planned = plan_restore(files, self._store)
        changing = [each for each in planned if each.state is not State.ORIGINAL and each.exact]
        record = found or HostRecord()
        self._stop_new(record, result)
        result.changed += [str(each.path) for each in changing]
        result.diff = [(str(each.path), content(each.path), each.content) for each in changing]
        result.left += [each.told for each in planned if each.told]
        self._restore_files(planned)
        for path in remove:
            self._remove(Path(path), [Path(each) for each in spare], result)
        for directory, existed in sorted(record.directories.items(), reverse=True):
            if not existed:
                self._remove_empty(Path(directory), result)
        for directory, access in record.accesses.items():
            self._reset_access(Path(directory), access, result)
        if changing:
            self._do("systemctl", "daemon-reload")
        for unit, before in record.units.items():
            if before.exists:
                self._reset(unit, before, result, again=bool(changing))
        for user, existed in record.users.items():
            if not existed:
                self._remove_user(user, result)
        if found is not None and not self._check_only:
            self._file.unlink()
            self._prune()
        return result

    def forget(self) -> None:
        """Remove the role's record and copies; what it changed stays.

        Raises:
            KeptError: A record cannot be read.
        """
        if self._check_only:
            return
        for each in records(self._store):
            if each.by == self._role:
                forget(Path(each.path), self._store)
        self._file.unlink(missing_ok=True)
        self._prune()

    def _restore_files(self, planned: Sequence[Restored]) -> None:
        if self._check_only:
            return
        try:
            restore(planned, self._store)
        except OSError as error:
            raise KeptError(f"no file was restored: {error}") from error

    def _stop_new(self, record: HostRecord, result: Restoration) -> None:
        """Stop and disable the units that did not exist before."""
        for unit, before in record.units.items():
            now = self._unit(unit)
            if before.exists or not now.exists:
                continue
            if now.active or now.enabled == "enabled":
                result.changed.append(unit)
                self._do("systemctl", "disable", "--now", unit)
            self._do("systemctl", "reset-failed", unit, may_fail=True)

    def _reset(self, unit: str, before: Unit, result: Restoration, *, again: bool) -> None:
        """Enable and start a unit, or not, as it was before; restart one that runs, for its former files."""
        now = self._unit(unit)
        if not now.exists:
            result.left.append(
                f"{unit} does not exist any more; it was {'active' if before.active else 'inactive'} before"
            )
            return
        if now.enabled != before.enabled and before.enabled in _SWITCHED:
            result.changed.append(unit)
            if now.enabled == "masked":
                self._do("systemctl", "unmask", unit)
            self._do("systemctl", _SWITCHED[before.enabled], unit)
        if before.active and (again or not now.active):
            self._do("systemctl", "restart", unit)
        elif now.active and not before.active:
            self._do("systemctl", "stop", unit)
        if now.active != before.active:
            result.changed.append(unit)

    def _remove(self, path: Path, spare: Sequence[Path], result: Restoration) -> None:
        if not path.exists() and not path.is_symlink():
            return
        kept = [
            each for each in spare if path in (each, *each.parents) and any(one.is_file() for one in each.rglob("*"))
        ]
        if path in kept:
            count = sum(one.is_file() for one in path.rglob("*"))
            result.left.append(f"{path} stays, with {count} file(s): look at them, and remove it yourself")
            return
        if kept:
            for inner in path.iterdir():
                self._remove(inner, spare, result)
            return
        result.changed.append(str(path))
        if self._check_only:
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def _remove_empty(self, path: Path, result: Restoration) -> None:
        if not path.is_dir():
            return
        inside = sorted(each.name for each in path.iterdir())
        if not inside:
            result.changed.append(str(path))
            if not self._check_only:
                path.rmdir()
        elif not self._check_only and not self._others_have(path):
            result.left.append(f"{path} stays: it has {', '.join(inside[:3])}{', …' if inside[3:] else ''}")

    def _reset_access(self, path: Path, access: Access, result: Restoration) -> None:
        """Restore mode and owner, unless somebody has changed them since."""
        if not path.is_dir() or (now := _access(path)) == access.before or (access.after and now != access.after):
            return
        result.changed.append(str(path))
        if not self._check_only:
            mode, user, group = access.before
            os.chown(path, user, group)
            path.chmod(mode)

    def _others_have(self, path: Path) -> bool:
        """Return whether another role has recorded the directory, and removes it."""
        others = [each.stem for each in self._file.parent.glob("*.json") if each != self._file]
        found = [Host(self._run, role, self._store)._read() for role in others]
        return any(str(path) in each.directories for each in found if each)

    def _remove_user(self, user: str, result: Restoration) -> None:
        if not _has_user(user) and not _has_group(user):
            return
        result.changed.append(f"user {user}")
        if _has_user(user):
            self._do("userdel", user)
        if not self._check_only and _has_group(user):
            self._do("groupdel", user)

    def _unit(self, name: str) -> Unit:
        properties = "--property=LoadState,UnitFileState,ActiveState"
        status, output, errors = self._run(["systemctl", "show", properties, name])
        if status:
            raise KeptError(f"systemctl show {name}: {errors.strip()}")
        values = dict(line.partition("=")[::2] for line in output.splitlines())
        if values.get("LoadState") in {"not-found", None}:
            return Unit(exists=False)
        active = values.get("ActiveState") in {"active", "activating", "reloading"}
        return Unit(exists=True, enabled=values.get("UnitFileState", ""), active=active)

    def _do(self, *command: str, may_fail: bool = False) -> None:
        if self._check_only:
            return
        status, output, errors = self._run(command)
        if status and not may_fail:
            raise KeptError(f"{' '.join(command)}: {(errors or output).strip()}. Fix the cause, and run it again")

    def _text(self, record: HostRecord) -> str:
        return json.dumps({"format": _FORMAT, **asdict(record)}, indent=1) + "\n"

    def _read(self) -> HostRecord | None:
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
            if data.pop("format") != _FORMAT:
                raise ValueError("the format differs")
            units = {name: Unit(**each) for name, each in data["units"].items()}
            accesses = {path: Access(**each) for path, each in data.get("accesses", {}).items()}
            return HostRecord(**{**data, "units": units, "accesses": accesses})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeptError(f"{self._file} cannot be read: {error}. Restore it, or move it away") from error

    def _write(self, record: HostRecord) -> None:
        make_private(self._store)
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        before = self._file.read_bytes() if self._file.exists() else None
        replace_all({self._file: before}, {self._file: self._text(record).encode()}, modes={self._file: 0o600})

    def _prune(self) -> None:
        """Remove the directories of the store that have become empty."""
        if self._file.parent.is_dir() and not any(self._file.parent.iterdir()):
            self._file.parent.rmdir()
        remove_empty(self._store)


def _access(path: Path) -> list[int]:
    found = path.stat()
    return [stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid]


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
