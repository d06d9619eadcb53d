# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A running BIND 9, through its own programs: which zones it has, whether it accepts a file, what it serves now."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from .._zone.file import ZoneError
from .named_conf import ServedZone, served_zones

Run = Callable[[Sequence[str], "bytes | None"], "tuple[int, str, str]"]
"""Runs a command with bytes on its standard input; gives status, output and errors."""

Ask = Callable[[str], "int | None"]
"""Asks a server, as a client does, which serial of a zone it serves; None when it does not say."""

_SERIAL = re.compile(r"^serial: (\d+)$", re.MULTILINE)
_INCLUDE = re.compile(rb'^\$INCLUDE[ \t]+"?([^\s";]+)', re.MULTILINE | re.IGNORECASE)
_POLL_SECONDS = 0.05


class Bind:
    """One server. Every method raises ZoneError with what the program itself said."""

    def __init__(self, run: Run, named_conf: str, ask: Ask | None = None) -> None:
        """`ask` is the quick way to a served serial; what it can't tell, or not for certain, `rndc` is asked."""
        self._run = run
        self._named_conf = named_conf
        self._ask = ask

    def locate(self, wanted: Sequence[tuple[str, str]]) -> list[ServedZone]:
        """Finds these zones, each by name and view, in the configuration, in order; view "": the only one.

        A problem for each that neither by its file nor by updates can be changed.
        """
        problems: list[str] = []
        found: list[ServedZone] = []
        for name, view in wanted:
            same = [zone for zone in self.zones if zone.name == name.rstrip(".").lower() and zone.kind != "in-view"]
            same = [zone for zone in same if not view or zone.view == view]
            obstacle = self._obstacle(same, view)
            if obstacle:
                problems.append(f"zone {name}: {obstacle}")
            else:
                found += same
        if problems:
            raise ZoneError(*problems)
        return found

    def find(self, name: str, view: str) -> ServedZone:
        """Finds a zone of this server that is to be read only."""
        same = [zone for zone in self.zones if zone.name == name.rstrip(".").lower() and view in {"", zone.view}]
        if len(same) != 1 or not same[0].file:
            said = "several views have it" if len(same) > 1 else "no view has it" if not same else "it has no file"
            raise ZoneError(f"zone {name}: the inside zone in view {view!r} of {self._named_conf}: {said}")
        return same[0]

    @cached_property
    def zones(self) -> list[ServedZone]:
        """All zones of the configuration."""
        status, output, errors = self._run(["named-checkconf", "-p", self._named_conf], None)
        if status:
            raise ZoneError(f"{self._named_conf}: named-checkconf refuses it: {(errors or output).strip()}")
        try:
            return served_zones(output)
        except ValueError as error:
            raise ZoneError(f"{self._named_conf}: {error}") from error

    @cached_property
    def _by_file(self) -> dict[Path, list[ServedZone]]:
        found: dict[Path, list[ServedZone]] = {}
        for zone in self.zones:
            if zone.file:
                found.setdefault(Path(zone.file).resolve(), []).append(zone)
        return found

    def _obstacle(self, same: list[ServedZone], view: str) -> str:
        if not same:
            return (
                f"{self._named_conf} has no such zone{f' in view {view}' if view else ''}. Add it there, or correct "
                "the host's mailgate_dns.zones"
            )
        if len(same) > 1:
            views = ", ".join(zone.view for zone in same)
            return (
                f"it is in several views ({views}). Say which one's by `view` (role bind_mx: bind_mx_inside_view, "
                "bind_mx_outside_view)"
            )
        zone = same[0]
        if zone.kind not in {"primary", "master"}:
            return f"this server has it as {zone.kind or 'no type'}, not as primary. Name the server that has its file"
        reasons = list(zone.obstacles)
        if not zone.updates:
            if not zone.file.startswith("/"):
                return f"its file {zone.file!r} is not an absolute path. Set `directory` in named.conf's options"
            journal = Path(zone.directory, zone.journal) if zone.journal else Path(f"{zone.file}.jnl")
            # BIND itself keeps one of what an edited file changed, when it signs or tells secondaries the difference.
            if journal.exists() and not (zone.signed or zone.differences):
                reasons.append(f"it has a journal of dynamic updates ({journal})")
            sharing = [other for other in self._by_file[Path(zone.file).resolve()] if other is not zone]
            if sharing:
                reasons.append(f"its file is that of {', '.join(map(_told, sharing))} too")
        return f"{' and '.join(reasons)}, so {zone.file} must not be edited" if reasons else ""

    def including(self, files: Collection[Path], but: ServedZone) -> dict[Path, str]:
        """Tells which of these files another zone of the configuration includes, and one such zone of each."""
        found: dict[Path, str] = {}
        for zone in self.zones:
            if zone == but or not zone.file.startswith("/"):
                continue
            for path in set(files) & included_files(Path(zone.file), zone.directory):
                found.setdefault(path, _told(zone))
        return found

    def check(self, zone: ServedZone, data: bytes) -> str:
        """Has named-checkzone read a file's bytes; gives what it objects to, or ""."""
        status, output, errors = self._run([*_checkzone(zone), zone.name, "/dev/stdin"], data)
        return (output + errors).strip() if status else ""

    def read(self, zone: ServedZone, data: bytes) -> list[bytes]:
        """Has named-checkzone read a file's bytes; gives all records, one a line, in BIND's full form."""
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory, "zone")
            command = [*_checkzone(zone), "-s", "full", "-o", str(out), "-D", zone.name, "/dev/stdin"]
            status, output, errors = self._run(command, data)
            if status:
                raise ZoneError((output + errors).strip())
            return out.read_bytes().splitlines()

    def dump(self, zone: ServedZone) -> list[str]:
        """Gives the records of a zone's file and journal, one a line, in BIND's full form."""
        command = ["named-checkzone", "-i", "none", "-q", "-j", *(["-w", zone.directory] if zone.directory else [])]
        status, output, errors = self._run([*command, "-s", "full", "-o", "-", "-D", zone.name, zone.file], None)
        if status:
            raise ZoneError(f"zone {zone.name}: named-checkzone refuses {zone.file}: {(errors or output).strip()}")
        return output.splitlines()

    def loaded(self, zone: ServedZone) -> int | None:
        """Asks which serial the server serves; None for a zone that it has not loaded."""
        quick = self._quick(zone)
        if quick is not None:
            return quick
        status, output, _errors = self._run(["rndc", "zonestatus", *_named(zone)], None)
        match = _SERIAL.search(output)
        return int(match[1]) if match and not status else None

    def serial(self, zone: ServedZone) -> int:
        """Asks the running server which serial it serves."""
        quick = self._quick(zone)
        if quick is not None:
            return quick
        status, output, errors = self._run(["rndc", "zonestatus", *_named(zone)], None)
        match = _SERIAL.search(output)
        if status or not match:
            raise ZoneError(
                f"zone {zone.name}: BIND does not say what it serves: {(errors or output).strip()}. "
                "Start it, or load its configuration (rndc reconfig), or say `reload: false`"
            )
        return int(match[1])

    def _quick(self, zone: ServedZone) -> int | None:
        # A query may fall into another view, and the serial of a signed zone is another than that of its file.
        return None if zone.view or zone.signed or not self._ask else self._ask(zone.name)

    def reload(self, wanted: Mapping[ServedZone, int], timeout: float) -> list[str]:
        """Reloads zones and waits until each is served with its serial; gives a problem for each that is not.

        `rndc reload` only queues the loading of a file and succeeds even if that fails later; the serial tells.
        """
        problems = {}
        for zone in wanted:
            status, output, errors = self._run(["rndc", "reload", *_named(zone)], None)
            if status:
                problems[zone] = f"zone {zone.name}: rndc reload: {(errors or output).strip()}"
        waiting = [zone for zone in wanted if zone not in problems]
        deadline = time.monotonic() + timeout
        while waiting:
            waiting = [zone for zone in waiting if self.loaded(zone) != wanted[zone]]
            if waiting and time.monotonic() > deadline:
                break
            if waiting:
                time.sleep(_POLL_SECONDS)
        for zone in waiting:
            problems[zone] = (
                f"zone {zone.name}: BIND does not load the new file (serial {wanted[zone]}); its log says why"
            )
        return list(problems.values())


def included_files(path: Path, directory: str) -> set[Path]:
    """Gives the real paths of all files that a zone's file includes, by whatever way; unreadable ones are left out."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        try:
            data = waiting.pop().read_bytes()
        except OSError:
            continue
        for match in _INCLUDE.finditer(data):
            included = Path(directory, os.fsdecode(match[1])).resolve()
            if included not in found:
                found.add(included)
                waiting.append(included)
    return found


def _told(zone: ServedZone) -> str:
    return f"{zone.name} (view {zone.view})" if zone.view else zone.name


def _checkzone(zone: ServedZone) -> list[str]:
    # `-i local` looks at this zone's own records only and asks no other server.
    return ["named-checkzone", "-i", "local", *(["-w", zone.directory] if zone.directory else [])]


def _named(zone: ServedZone) -> list[str]:
    return [zone.name, "IN", zone.view] if zone.view else [zone.name]
