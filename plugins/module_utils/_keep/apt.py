# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install and remove Debian packages by apt-get, which is asked first what it would do; nothing else is removed."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._replace import replace_all
from .host import Host
from .kept import PACKAGES, KeptError, make_private, remove_empty, settle
from .packages import (
    QUERY,
    Appended,
    Package,
    Record,
    Recorded,
    Simulation,
    available_packages,
    causes,
    installed_packages,
    missing,
    parse_simulation,
    removable,
)
from .text import encode, read

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
"""Runs a command with English messages; returns its exit status, standard output and standard error."""

STAMPS = (Path("/var/lib/apt/periodic/update-success-stamp"), Path("/var/lib/apt/lists"))
"""The time of the first one that exists is that of the last update of apt's lists."""

_LOCK_SECONDS = 120
_OPTIONS = (
    f"-oDPkg::Lock::Timeout={_LOCK_SECONDS}",
    "-oDpkg::Options::=--force-confdef",
    "-oDpkg::Options::=--force-confold",
)
_INSTALLED = "installed"


class AptError(Exception):
    """Packages cannot be installed or removed; the message has the cause and the fix."""


@dataclass
class Outcome:
    """What was done, or would be in check mode.

    Attributes:
        installed: The packages that were not installed before.
        removed: The packages that were removed.
        left: The recorded packages that stay, each as a line with the reason.
        shortened: The files from which was removed what the packages had appended.
        changed: Whether a package or the record changed.
        warnings: What could not be predicted.
    """

    installed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    shortened: list[str] = field(default_factory=list)
    changed: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Traces:
    """What the scripts of packages create or change, and leave when the packages are purged.

    Attributes:
        files: Files.
        users: Users, each with the group of the same name, and groups.
        directories: Directories.
        appended: Files of others at whose end they append lines.
    """

    files: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()


class Apt:
    """The packages of this host, and the record of those that a role had installed."""

    def __init__(self, run: Run, file: Path, *, check_only: bool = False, stamps: Sequence[Path] = STAMPS) -> None:
        """Use the record in `file`, which need not exist."""
        self._run, self._file, self._check_only, self._stamps = run, file, check_only, stamps

    def present(
        self,
        names: Sequence[str],
        role: str,
        cache_seconds: int,
        traces: Traces | None = None,
        *,
        recommends: bool = False,
    ) -> Outcome:
        """Install the missing packages of these names, and record for `role` which ones are new.

        Args:
            names: The packages.
            role: The role that needs them.
            cache_seconds: The age of apt's lists from which they are updated, if a package is missing.
            traces: What is recorded before packages are installed, as a purge leaves it.
            recommends: Whether recommended packages are installed too.

        Raises:
            AptError: Nothing was installed, because apt cannot or would remove a package.
        """
        record, packages = self._read(), self._packages()
        wanted = missing(names, packages)
        outcome = Outcome()
        if wanted:
            if not self._check_only and self._age() > cache_seconds:
                self._apt(["update"], "the package lists cannot be updated")
            options = ["--install-recommends" if recommends else "--no-install-recommends", *wanted]
            simulation = self._simulate(["install", *options], outcome)
            if simulation is None:
                outcome.installed, outcome.changed = wanted, True
                return outcome
            if simulation.removed:
                raise AptError(self._refusal(wanted, simulation, packages))
            outcome.installed, outcome.changed = sorted(simulation.new), True
            for name in () if self._check_only else simulation.new:
                purge = packages.get(name, Package(name, "not-installed")).status != "config-files"
                record.installed.setdefault(name, Recorded(role, _now(), purge))
        record.asked[role] = sorted(set(names))
        traces = traces or Traces()
        if wanted:
            for path in traces.appended:
                before = read(Path(path))
                if before is not None:
                    record.appended.setdefault(path, Appended(role, before))
        outcome.changed |= self._write(record)
        if wanted and not self._check_only:
            self._record(role, traces)
            try:
                self._apt(["install", "--yes", "--no-remove", *options], "the packages cannot be installed")
            except AptError:
                self._forget_absent(record)
                raise
            self._settle(role, traces)
            for path, each in record.appended.items():
                if each.by == role and each.text is None:
                    each.text = each.found(read(Path(path)) or "")
            self._write(record)
        return outcome

    def absent(self, role: str, *, keep: bool = False, look: bool = False) -> Outcome:
        """Remove the packages that were installed for `role` and that nothing else needs.

        Args:
            role: The role that is taken back.
            keep: Whether the packages stay. Then they are not recorded any more.
            look: Whether to change nothing if packages are to be removed; `removed` has them.

        Raises:
            AptError: A package cannot be removed.
        """
        record, packages, outcome = self._read(), self._packages(), Outcome()
        going, stays = removable(record, role, packages)
        if going and not keep:
            simulation = self._simulate(["purge", *going], outcome)
            others = sorted(set(simulation.removed) - set(going)) if simulation else []
            if others:
                stays |= dict.fromkeys(going, f"apt would remove {', '.join(others)} too")
                going = []
        outcome.left = [f"package {name} stays: {reason}" for name, reason in sorted(stays.items())]
        if keep:
            outcome.left = [f"package {name} stays: it was to be kept" for name in sorted({*going, *stays})]
        elif going:
            outcome.removed, outcome.changed = going, not look
            if look:
                return outcome
            for command in ("purge", "remove"):
                names = [name for name in going if record.installed[name].purge == (command == "purge")]
                if names and not self._check_only:
                    self._apt([command, "--yes", *names], "the packages cannot be removed")
        record.asked.pop(role, None)
        staying = any(record.installed[name].by == role for name in stays)
        self._restore(role, outcome, keep=keep, stays=staying)
        if not staying or keep:
            self._shorten(record, role, outcome, keep=keep)
        for name in [name for name, each in record.installed.items() if name in going or (keep and each.by == role)]:
            del record.installed[name]
        outcome.changed |= self._write(record)
        return outcome

    def _host(self, role: str) -> Host:
        """Return the record of what the packages' scripts changed, in a store of its own."""
        return Host(self._run, role, self._file.parent / PACKAGES, check_only=self._check_only)

    def _record(self, role: str, traces: Traces) -> None:
        if not (traces.files or traces.users or traces.directories):
            return
        try:
            make_private(self._file.parent)
            self._host(role).record(
                (), traces.users, traces.directories, dict.fromkeys(traces.files, ""), traces.directories
            )
        except KeptError as error:
            raise AptError(f"nothing was installed: {error}") from error

    def _settle(self, role: str, traces: Traces) -> None:
        try:
            self._host(role).settle()
            settle([Path(file).resolve() for file in traces.files], self._file.parent / PACKAGES)
        except KeptError as error:
            raise AptError(str(error)) from error

    def _restore(self, role: str, outcome: Outcome, *, keep: bool, stays: bool) -> None:
        """Restore what the packages' scripts changed, if all packages of the role are gone."""
        try:
            if keep:
                self._host(role).forget()
            elif not stays:
                result = self._host(role).restore()
                outcome.left += result.left
                outcome.changed |= bool(result.changed)
        except KeptError as error:
            raise AptError(str(error)) from error

    def _shorten(self, record: Record, role: str, outcome: Outcome, *, keep: bool) -> None:
        """Remove from files what the packages of a role appended; forget it."""
        for path in [path for path, each in record.appended.items() if each.by == role]:
            file, each = Path(path).resolve(), record.appended.pop(path)
            now = read(file)
            if keep or now is None or (rest := each.without(now)) == now:
                continue
            outcome.shortened.append(path)
            outcome.changed = True
            if not self._check_only:
                replace_all({file: encode(now)}, {file: encode(rest)})

    def _packages(self) -> dict[str, Package]:
        status, output, errors = self._run(["dpkg-query", "--show", f"--showformat={QUERY}"])
        if status:
            raise AptError(f"dpkg-query: {errors.strip()}. This host must be a Debian system")
        return installed_packages(output)

    def _simulate(self, command: Sequence[str], outcome: Outcome) -> Simulation | None:
        """Return what apt would do; None if it cannot be known in check mode, with old lists."""
        status, output, errors = self._run(["apt-get", "--simulate", "--yes", "--quiet", *_OPTIONS, *command])
        if not status:
            return parse_simulation(output)
        text = _last(errors or output)
        if self._check_only:
            outcome.warnings.append(f"apt-get cannot predict this in check mode, without new package lists: {text}")
            return None
        raise AptError(f"nothing was installed or removed: apt-get {command[0]}: {text}")

    def _refusal(self, wanted: Collection[str], simulation: Simulation, packages: dict[str, Package]) -> str:
        shown = self._run(["apt-cache", "show", "--no-all-versions", *simulation.new, *simulation.upgraded])[1]
        lines = causes(simulation, packages, available_packages(shown))
        return (
            f"nothing was installed: to install {', '.join(wanted)}, apt would remove {', '.join(simulation.removed)}\n"
            + "".join(f"  {line}\n" for line in lines)
            + "Either keep what runs on this host: if it is a mail server, set mailgate_mta to it, else leave the host "
            f"out of the role. Or replace it yourself: apt-get install {' '.join(wanted)}, and run it again"
        )

    def _apt(self, command: Sequence[str], problem: str) -> None:
        status, output, errors = self._run(["apt-get", "--quiet", *_OPTIONS, *command])
        if status:
            raise AptError(f"{problem}: apt-get {command[0]}: {_last(errors or output)}")

    def _age(self) -> float:
        """Return how many seconds ago apt's lists were updated."""
        found = next((stamp for stamp in self._stamps if stamp.exists()), None)
        return time.time() - found.stat().st_mtime if found else float("inf")

    def _forget_absent(self, record: Record) -> None:
        """Remove from the record what was not installed after all."""
        packages = self._packages()
        for name in [name for name in record.installed if name not in packages or packages[name].status != _INSTALLED]:
            del record.installed[name]
        self._write(record)

    def _read(self) -> Record:
        try:
            return Record.read(self._file.read_text(encoding="utf-8")) if self._file.exists() else Record()
        except (OSError, ValueError) as error:
            raise AptError(f"{self._file} cannot be read: {error}. Restore it, or move it away") from error

    def _write(self, record: Record) -> bool:
        """Replace the file if its content changes; return whether it does."""
        before = self._file.read_bytes() if self._file.exists() else None
        after = record.text().encode() or None
        if before == after:
            return False
        if not self._check_only:
            make_private(self._file.parent)
            replace_all({self._file: before}, {self._file: after}, modes={self._file: 0o600})
            if after is None:
                remove_empty(self._file.parent)
        return True


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _last(text: str) -> str:
    """Return the lines of apt's output that say what is wrong."""
    lines = [line for line in text.strip().splitlines() if line.startswith(("E:", "W:", " "))]
    return "\n".join(lines or text.strip().splitlines()[-5:])
