# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role has applied to a host, so that a later run finds out by one look that nothing is to be done.

A role that has finished records a fingerprint of all that it was asked for, the hashes, modes and owners of the files
that matter to it, the state of its units, and how to find out whether its daemons work. While all of these are the
same, its tasks would change nothing.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .store import STORE

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
"""Runs a command; returns its exit status, standard output and standard error."""

FORMAT = "campus.mailgate applied 2"
_PROPERTIES = ("ActiveState", "UnitFileState", "NeedDaemonReload")
_CHANGED = "StateChangeTimestamp"
_GREETING_SECONDS = 10.0
_COMMAND_SECONDS = 30
#: A greeting is one line of at most 512 bytes.
_LINE = 512


@dataclass(frozen=True, slots=True)
class Greeting:
    """An address and port where a mail server answers with a line that the regular expression `pattern` matches."""

    address: str
    port: int
    pattern: str = "^220"


@dataclass(frozen=True)
class Watched:
    """What matters to a role on a host.

    Attributes:
        paths: Patterns of files and directories, such as `/etc/mail/*`.
        existing: Patterns of which each must match a file; its content does not matter.
        units: Units of systemd.
        loaded: For a unit the files that were last written before its state last changed.
        greetings: Where a mail server greets.
        commands: Commands that succeed and change nothing.
    """

    paths: Sequence[str] = ()
    existing: Sequence[str] = ()
    units: Sequence[str] = ()
    loaded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    greetings: Sequence[Greeting] = ()
    commands: Sequence[Sequence[str]] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Watched:
        """Return what `asdict` has made plain data of."""
        return cls(**{**data, "greetings": [Greeting(**each) for each in data["greetings"]]})


@dataclass(frozen=True)
class State:
    """What a look at a host has found.

    Attributes:
        fingerprint: The fingerprint of what the role was asked for.
        files: The mode, the owner and the SHA-256 of each file.
        units: The properties of each unit, as `ActiveState=active NeedDaemonReload=no UnitFileState=enabled`.
    """

    fingerprint: str
    files: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def package_files(name: str) -> str:
    """Return the pattern of the file that dpkg replaces with each version of a package, and removes with it."""
    return f"/var/lib/dpkg/info/{name}[.:]*md5sums"


def differences(recorded: State, now: State) -> list[str]:
    """Return why the tasks of a role are necessary, each as a line; [] if the state is the same."""
    if recorded.fingerprint != now.fingerprint:
        return ["the plan, a variable of the role, a file on the controller, or the collection has changed"]
    found = [
        f"{path} was {'created' if path not in recorded.files else 'removed' if path not in now.files else 'changed'}"
        for path in sorted(recorded.files.keys() | now.files.keys())
        if recorded.files.get(path) != now.files.get(path)
    ]
    return found + [
        f"{unit} is {now.units.get(unit, 'unknown')}, was {recorded.units[unit]}"
        for unit in sorted(recorded.units)
        if recorded.units[unit] != now.units.get(unit)
    ]


class Applied:
    """The record of one role on this host. Only reads: a look at every host imports this module, and little else."""

    def __init__(self, run: Run, role: str, store: Path = STORE) -> None:
        """Use the record of `role`, which need not exist."""
        self._run, self._store = run, store
        self._file = store / "applied" / f"{role}.json"

    def look(self, fingerprint: str) -> list[str]:
        """Return why the tasks of the role are necessary, each as a line; [] if they would change nothing."""
        try:
            data = json.loads(self._file.read_bytes())
            if data["format"] != FORMAT:
                raise ValueError(data["format"])
            recorded, watched = State(**data["state"]), Watched.of(data["watched"])
            if recorded.fingerprint != fingerprint:
                return differences(recorded, State(fingerprint))
            found = differences(recorded, State(fingerprint, files(watched.paths), self.units(watched.units)))
        except FileNotFoundError:
            return ["nothing was applied yet"]
        except (OSError, ValueError, KeyError, TypeError):
            return [f"{self._file} cannot be read"]
        found += [f"{pattern} is missing" for pattern in watched.existing if not _matches(pattern)]
        found += [line for unit, paths in watched.loaded.items() for line in self._unloaded(unit, paths)]
        # A daemon that is to be restarted need not be waited for.
        return found or [*self._failing(watched.commands), *_silent(watched.greetings)]

    def units(self, units: Iterable[str]) -> dict[str, str]:
        """Return the state of each unit, by name."""
        names = list(units)
        if not names:
            return {}
        properties = ",".join(_PROPERTIES)
        _status, output, _errors = self._run(["systemctl", "show", f"--property={properties}", *names])
        # The blocks have the order of the names.
        blocks = [" ".join(sorted(block.splitlines())) for block in output.strip().split("\n\n")]
        return dict(zip(names, blocks, strict=False))

    def _unloaded(self, unit: str, paths: Iterable[str]) -> list[str]:
        """Return the files that were written after the unit has read them."""
        ask = ["systemctl", "show", "--timestamp=us+utc", f"--property={_CHANGED}", "--value", unit]
        _status, output, _errors = self._run(ask)
        try:
            since = _time(output)
            return [f"{unit} has not loaded {path}" for path in paths if Path(path).stat().st_mtime > since]
        except (OSError, ValueError):
            return [f"it cannot be determined whether {unit} has loaded its files"]

    def _failing(self, commands: Iterable[Sequence[str]]) -> list[str]:
        found = []
        for command in commands:
            status, output, errors = self._run(["timeout", "--kill-after=5", str(_COMMAND_SECONDS), *command])
            if status:
                last = [line for line in (errors + output).splitlines() if line.strip()][-1:]
                found.append(f"{' '.join(command)} fails: {last[0].strip() if last else f'exit status {status}'}")
        return found


def files(paths: Iterable[str]) -> dict[str, str]:
    """Return mode, owner and content of the files and directories that match the patterns, by path."""
    found = {path for pattern in paths for path in _matches(pattern)}
    return {str(path): text for path in sorted(found) if (text := _text(path))}


def _matches(pattern: str) -> list[Path]:
    return list(Path("/").glob(pattern.lstrip("/")))


def _text(path: Path) -> str:
    """Return mode, owner and content of a file or directory in one line; "" for anything else."""
    if not (path.is_file() or path.is_dir()):
        return ""
    status = path.stat()
    content = "directory" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{status.st_mode & 0o7777:04o} {status.st_uid}:{status.st_gid} {content}"


def _time(text: str) -> float:
    """Return the time that systemd writes as `Mon 2026-11-30 11:44:11.123456 UTC`; ValueError without one."""
    _day, _space, rest = text.strip().partition(" ")
    return datetime.datetime.strptime(f"{rest}+0000", "%Y-%m-%d %H:%M:%S.%f UTC%z").timestamp()


def _silent(greetings: Iterable[Greeting]) -> list[str]:
    return [f"{each.address} port {each.port} does not greet" for each in greetings if not _greets(each)]


def _greets(where: Greeting) -> bool:
    """Return whether the greeting matches, also if it comes in several pieces."""
    line = b""
    try:
        with socket.create_connection((where.address, where.port), _GREETING_SECONDS) as connection:
            connection.settimeout(_GREETING_SECONDS)
            while b"\n" not in line and len(line) < _LINE and (piece := connection.recv(_LINE)):
                line += piece
            connection.sendall(b"QUIT\r\n")
    except OSError:
        return False
    return re.search(where.pattern, line.decode(errors="replace")) is not None
