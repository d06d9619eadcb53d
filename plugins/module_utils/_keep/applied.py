# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role has applied to a host, so that a later run finds out by one look that nothing is to be done.

A role that has finished records a fingerprint of all that it was asked for, the hashes of the files that matter to it,
the state of its units, and where its daemons greet. While all of these are the same, its tasks would change nothing.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .._replace import replace_all
from .kept import STORE, make_private

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
"""Runs a command; returns its exit status, standard output and standard error."""

_FORMAT = "campus.mailgate applied"
_PROPERTIES = ("ActiveState", "UnitFileState", "NeedDaemonReload")
_GREETING_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Greeting:
    """An address and port where a mail server answers with 220."""

    address: str
    port: int


@dataclass(frozen=True)
class State:
    """What a look at a host has found.

    Attributes:
        fingerprint: The fingerprint of what the role was asked for.
        files: The SHA-256 of each file.
        units: The properties of each unit, as `ActiveState=active UnitFileState=enabled NeedDaemonReload=no`.
        silent: Where a mail server was expected to greet and did not.
    """

    fingerprint: str
    files: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    silent: Sequence[Greeting] = ()


def differences(recorded: State, now: State) -> list[str]:
    """Return why the tasks of a role are necessary, each as a line; [] if they would change nothing."""
    if recorded.fingerprint != now.fingerprint:
        return ["the plan, a variable of the role, or the collection has changed"]
    found = [
        f"{path} was {'created' if path not in recorded.files else 'removed' if path not in now.files else 'changed'}"
        for path in sorted(recorded.files.keys() | now.files.keys())
        if recorded.files.get(path) != now.files.get(path)
    ]
    found += [
        f"{unit} is {now.units.get(unit, 'unknown')}, was {recorded.units[unit]}"
        for unit in sorted(recorded.units)
        if recorded.units[unit] != now.units.get(unit)
    ]
    return found + [f"{each.address} port {each.port} does not greet" for each in now.silent]


class Applied:
    """The record of one role on this host."""

    def __init__(self, run: Run, role: str, store: Path = STORE) -> None:
        """Use the record of `role`, which need not exist."""
        self._run, self._store = run, store
        self._file = store / "applied" / f"{role}.json"

    def record(
        self, fingerprint: str, paths: Sequence[str], units: Sequence[str], greetings: Sequence[Greeting]
    ) -> bool:
        """Record the present state; return whether the record changes.

        Args:
            fingerprint: The fingerprint of what the role was asked for.
            paths: Patterns of the files that matter, such as `/etc/mail/*`.
            units: Units of systemd.
            greetings: Where a mail server greets. One that does not is no reason against the record, but for a further
                run.

        Raises:
            OSError: The store cannot be written.
        """
        state = State(fingerprint, self._files(paths), self._units(units))
        data = {
            "format": _FORMAT,
            "fingerprint": state.fingerprint,
            "paths": list(paths),
            "files": state.files,
            "units": state.units,
            "greetings": [asdict(each) for each in greetings],
        }
        text = (json.dumps(data, indent=1) + "\n").encode()
        before = self._file.read_bytes() if self._file.exists() else None
        if before == text:
            return False
        make_private(self._store)
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        replace_all({self._file: before}, {self._file: text}, modes={self._file: 0o600})
        return True

    def look(self, fingerprint: str) -> list[str]:
        """Return why the tasks of the role are necessary, each as a line; [] if they would change nothing."""
        try:
            data = json.loads(self._file.read_bytes())
            if data["format"] != _FORMAT:
                raise ValueError(data["format"])
            recorded = State(data["fingerprint"], data["files"], data["units"])
            greetings = [Greeting(**each) for each in data["greetings"]]
            if recorded.fingerprint != fingerprint:
                return differences(recorded, State(fingerprint))
            files = self._files(data["paths"])
        except FileNotFoundError:
            return ["nothing was applied yet"]
        except (OSError, ValueError, KeyError, TypeError):
            return [f"{self._file} cannot be read"]
        found = differences(recorded, State(fingerprint, files, self._units(recorded.units)))
        # A daemon that is to be restarted need not be waited for.
        return found or differences(recorded, State(fingerprint, files, recorded.units, _silent(greetings)))

    def forget(self) -> bool:
        """Remove the record; return whether there was one."""
        if not self._file.exists():
            return False
        self._file.unlink()
        for directory in (self._file.parent, self._store):
            if not any(directory.iterdir()):
                directory.rmdir()
        return True

    @staticmethod
    def _files(paths: Iterable[str]) -> dict[str, str]:
        found = {path for pattern in paths for path in Path("/").glob(pattern.lstrip("/"))}
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found) if path.is_file()}

    def _units(self, units: Iterable[str]) -> dict[str, str]:
        names = list(units)
        if not names:
            return {}
        properties = ",".join(_PROPERTIES)
        _status, output, _errors = self._run(["systemctl", "show", f"--property={properties}", *names])
        # The blocks have the order of the names.
        blocks = [" ".join(sorted(block.splitlines())) for block in output.strip().split("\n\n")]
        return dict(zip(names, blocks, strict=False))


def _silent(greetings: Iterable[Greeting]) -> list[Greeting]:
    return [each for each in greetings if not _greets(each)]


def _greets(where: Greeting) -> bool:
    try:
        with socket.create_connection((where.address, where.port), _GREETING_SECONDS) as connection:
            connection.settimeout(_GREETING_SECONDS)
            greeting = connection.recv(4)
            connection.sendall(b"QUIT\r\n")
    except OSError:
        return False
    return greeting.startswith(b"220")
