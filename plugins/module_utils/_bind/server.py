# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A running BIND 9 through its own programs: its zones, checks of zone files, the serials that it serves."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

from .._zone.file import ZoneError
from .named_conf import PRIMARY, SECONDARY, ServedZone, served_zones, zone_list

Run = Callable[[Sequence[str], "bytes | None"], "tuple[int, str, str]"]
"""Runs a command with bytes on standard input; returns exit status, standard output and standard error."""

Ask = Callable[[str], "int | None"]
"""Queries a server, as a client does, for the serial of a zone; None if there is no answer."""

_SERIAL = re.compile(r"^serial: (\d+)$", re.MULTILINE)
_INCLUDE = re.compile(rb'^\$INCLUDE[ \t]+"?([^\s";]+)', re.MULTILINE | re.IGNORECASE)
_COPIES = PRIMARY | SECONDARY | {"mirror"}
_POLL_SECONDS = 0.05
_STDIN = "/dev/stdin"


class Bind:
    """One server. Every method raises ZoneError with the message of the program."""

    def __init__(self, run: Run, named_conf: str, ask: Ask | None = None) -> None:
        """Keep the runner; `ask` is a fast way to a served serial, with `rndc` where it has no certain answer."""
        self._run = run
        self._named_conf = named_conf
        self._ask = ask

    def locate(
        self, wanted: Sequence[tuple[str, str]], obstacle: Callable[[ServedZone], str] | None = None
    ) -> list[ServedZone]:
        """Return the zones with these names and views, in order; the view "" stands for the only one.

        Args:
            wanted: Names and views.
            obstacle: Returns why a zone cannot be used, or "". By default, a zone must have a file of its own that can
                be edited, or accept updates.

        Raises:
            ZoneError: With a problem for each zone that is not found, or that has an obstacle.
        """
        obstacle = obstacle or (lambda zone: self.obstacle(zone, alone=True))
        problems: list[str] = []
        found: list[ServedZone] = []
        for name, view in wanted:
            same = [zone for zone in self.zones if zone.name == name.rstrip(".").lower() and zone.kind != "in-view"]
            same = [zone for zone in same if not view or zone.view == view]
            problem = self._missing(same, view) or obstacle(same[0])
            if problem:
                problems.append(f"zone {name}: {problem}")
            else:
                found += same
        if problems:
            raise ZoneError(*problems)
        return found

    def views_of(self, name: str, views: Sequence[str]) -> list[str]:
        """Return those of `views` that have a zone of their own with this name; all of them if none has."""
        name = name.rstrip(".").lower()
        found = [zone.view for zone in self.zones if zone.name == name and zone.kind != "in-view"]
        return [view for view in views if view in found] or list(views)

    def unplanned(self, planned: Sequence[ServedZone], other_views: Collection[str]) -> list[str]:
        """Return a problem for each planned zone of which a view that is not in `other_views` serves another copy."""
        views = {zone.name: {each.view for each in planned if each.name == zone.name} for zone in planned}
        return [
            f"zone {zone.name}: view {zone.view} of {self._named_conf} has a copy of its own, which would keep its MX "
            "records, and its clients would still find the old ones. Add the view to `views` to change it too (role "
            "bind_mx: bind_mx_views), or to `other_views` (bind_mx_other_views) if no sender outside the campus uses it"
            for zone in self.zones
            if zone.name in views and zone.kind in _COPIES and zone.view not in {*views[zone.name], *other_views}
        ]

    def unlisted(
        self, planned: Sequence[ServedZone], campus: Collection[str], other_views: Collection[str]
    ) -> list[str]:
        """Return a problem for each primary zone that is not `planned` here although it is one of `campus`."""
        wanted = {name.rstrip(".").lower() for name in campus} - {zone.name for zone in planned}
        return [
            f"zone {zone.name}: {self._named_conf} has it as primary{_in_view(zone)}, but it is not in this server's "
            f"mailgate_dns.zones, so this copy would keep its MX records. Add it there, or remove the zone from "
            f"{self._named_conf}"
            for zone in self.zones
            if zone.name in wanted and zone.kind in PRIMARY and zone.view not in other_views
        ]

    def deeper(self, zone: ServedZone, owners: Collection[str]) -> list[str]:
        """Return a problem for each of `owners` that another zone of this server answers for instead of `zone`."""
        below = [
            other.name
            for other in self.zones
            if other.view == zone.view
            and other.kind in {*_COPIES, "in-view"}
            and other.name.endswith(f".{zone.name}" if zone.name != "." else "")
            and other.name != zone.name
        ]
        problems = []
        for owner in owners:
            name = owner.rstrip(".").lower()
            nearest = max((each for each in below if f".{name}".endswith(f".{each}")), key=len, default="")
            if nearest:
                problems.append(
                    f"zone {zone.name}: {name} lies in the zone {nearest}, which this server has too, so records in "
                    f"{zone.name} would not be found. Add {nearest} to the mailgate_dns.zones of its primary server"
                )
        return problems

    def refresh(self, zone: str, view: str) -> None:
        """Have a secondary ask its primary for a newer zone; failure shows in what it serves."""
        self._run(["rndc", "refresh", zone, *(["IN", view] if view else [])], None)

    def find(self, name: str, view: str) -> ServedZone:
        """Return a zone of this server that is only read."""
        same = [zone for zone in self.zones if zone.name == name.rstrip(".").lower() and view in {"", zone.view}]
        if len(same) != 1 or not same[0].file:
            cause = "several views have it" if len(same) > 1 else "no view has it" if not same else "it has no file"
            raise ZoneError(f"zone {name}: internal zone in view {view!r} of {self._named_conf}: {cause}")
        return same[0]

    @cached_property
    def zones(self) -> list[ServedZone]:
        """All zones in the configuration."""
        # Some versions print warnings on standard output, before what is asked for, and without options only those.
        warnings = self._checkconf()
        printed, listed = self._checkconf("-p"), self._checkconf("-l")
        if not (printed.startswith(warnings) and listed.startswith(warnings)):
            raise ZoneError(
                f"{self._named_conf}: cannot separate the warnings of named-checkconf from its output. Correct what it "
                f"warns of: {warnings.strip() or (printed or listed).strip()[:200]}"
            )
        try:
            text = printed.removeprefix(warnings)
            _compare_lists(zone_list(text), listed.removeprefix(warnings).splitlines())
            return served_zones(text)
        except ValueError as error:
            raise ZoneError(f"{self._named_conf}: {error}") from error

    def _checkconf(self, *options: str) -> str:
        """Return the standard output of named-checkconf; raise ZoneError if it rejects the configuration."""
        status, output, errors = self._run(["named-checkconf", *options, self._named_conf], None)
        if status:
            raise ZoneError(f"{self._named_conf}: named-checkconf rejects it: {(errors or output).strip()}")
        return output

    @cached_property
    def _by_file(self) -> dict[Path, list[ServedZone]]:
        """The zones of each file, by its real path."""
        found: dict[Path, list[ServedZone]] = {}
        for zone in self.zones:
            if zone.file:
                found.setdefault(Path(zone.file).resolve(), []).append(zone)
        return found

    def _missing(self, same: list[ServedZone], view: str) -> str:
        """Return why `same` is not one zone, or ""."""
        if not same:
            return (
                f"{self._named_conf} has no such zone{f' in view {view}' if view else ''}. Add it, or correct "
                "the host's mailgate_dns.zones"
            )
        if len(same) > 1:
            views = ", ".join(zone.view for zone in same)
            return (
                f"it is in several views ({views}). Set `view` to one of them (role bind_mx: bind_mx_inside_view, "
                "bind_mx_outside_view), or `views` to all that are to be changed (bind_mx_views)"
            )
        return ""

    def obstacle(self, zone: ServedZone, *, alone: bool = False) -> str:
        """Return why a zone cannot be changed here, or ""; with `alone`, its file must be of this zone only."""
        if zone.kind not in PRIMARY:
            return f"this server has it as {zone.kind or 'no type'}, not as primary. Use the server that has its file"
        reasons = list(zone.obstacles)
        if not zone.updates:
            if not zone.file.startswith("/"):
                return f"its file {zone.file!r} is not an absolute path. Set `directory` in named.conf's options"
            journal = Path(zone.directory, zone.journal) if zone.journal else Path(f"{zone.file}.jnl")
            # BIND itself keeps a journal of changes in an edited file when it signs or sends incremental transfers.
            if journal.exists() and not (zone.signed or zone.differences):
                reasons.append(f"it has a journal of dynamic updates ({journal})")
            sharing = self.sharing(zone) if alone else []
            if sharing:
                reasons.append(f"it shares its file with {', '.join(map(display_name, sharing))}")
        return f"{' and '.join(reasons)}, so {zone.file} must not be edited" if reasons else ""

    def sharing(self, zone: ServedZone) -> list[ServedZone]:
        """Return the other zones that have the same file."""
        return [other for other in self._by_file[Path(zone.file).resolve()] if other != zone]

    def including(self, files: Collection[Path], but: ServedZone) -> dict[Path, list[ServedZone]]:
        """Return those of `files` that zones other than `but` include, each with these zones."""
        found: dict[Path, list[ServedZone]] = {}
        for zone in self.zones:
            if zone == but or not zone.file.startswith("/"):
                continue
            for path in set(files) & included_files(Path(zone.file), zone.directory):
                found.setdefault(path, []).append(zone)
        return found

    def check(self, zone: ServedZone, data: bytes) -> str:
        """Have named-checkzone check the content of a zone file; return its error message, or ""."""
        status, output, errors = self._run([*_checkzone(zone), zone.name, _STDIN], data)
        return _message(zone, output + errors) if status else ""

    def read(self, zone: ServedZone, data: bytes) -> list[bytes]:
        """Have named-checkzone read the content of a zone file; return all records, one a line, in BIND's full form."""
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory, "zone")
            command = [*_checkzone(zone), "-s", "full", "-o", str(out), "-D", zone.name, _STDIN]
            status, output, errors = self._run(command, data)
            if status:
                raise ZoneError(_message(zone, output + errors))
            return out.read_bytes().splitlines()

    def dump(self, zone: ServedZone) -> list[str]:
        """Return the records of a zone's file and journal, one a line, in BIND's full form."""
        command = ["named-checkzone", "-i", "none", "-q", "-j", *(["-w", zone.directory] if zone.directory else [])]
        status, output, errors = self._run([*command, "-s", "full", "-o", "-", "-D", zone.name, zone.file], None)
        if status:
            raise ZoneError(f"zone {zone.name}: named-checkzone rejects {zone.file}: {(errors or output).strip()}")
        return output.splitlines()

    def loaded(self, zone: ServedZone) -> int | None:
        """Return the serial that the server serves; None for a zone that it has not loaded."""
        quick = self._quick(zone)
        return self.loaded_in(zone.name, zone.view) if quick is None else quick

    def loaded_in(self, zone: str, view: str) -> int | None:
        """Return the serial of a zone by its name and view, from the server's own status; None if it has none."""
        status, output, _errors = self._run(["rndc", "zonestatus", zone, *(["IN", view] if view else [])], None)
        match = _SERIAL.search(output)
        return int(match[1]) if match and not status else None

    def serial(self, zone: ServedZone) -> int:
        """Return the serial that the running server serves."""
        quick = self._quick(zone)
        if quick is not None:
            return quick
        status, output, errors = self._run(["rndc", "zonestatus", *_named(zone)], None)
        match = _SERIAL.search(output)
        if status or not match:
            raise ZoneError(
                f"zone {zone.name}: cannot read the served serial: {(errors or output).strip()}. "
                "Start BIND, or load its configuration (rndc reconfig), or set `reload: false`"
            )
        return int(match[1])

    def _quick(self, zone: ServedZone) -> int | None:
        """Return the served serial from a query, None if the answer may be that of another zone file."""
        # A query may match another view, and a signed zone is served with another serial than that of its file.
        return None if zone.view or zone.signed or not self._ask else self._ask(zone.name)

    def reload(self, wanted: Mapping[ServedZone, int], timeout: float) -> list[str]:
        """Reload zones and wait until each is served with its serial; return a problem for each that is not.

        `rndc reload` only queues the loading of a file and succeeds even if that fails later, so the serial decides.

        Args:
            wanted: The serial of each zone.
            timeout: Seconds that the server may take for all zones.
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
            problems[zone] = f"zone {zone.name}: BIND does not load the new file (serial {wanted[zone]}); see its log"
        return list(problems.values())


def _compare_lists(read: Sequence[str], listed: Sequence[str]) -> None:
    """Raise ValueError unless `named-checkconf -l` lists exactly the zones that were read from the configuration."""
    for found, line in zip_longest(read, listed, fillvalue=""):
        if not found or not line.lower().startswith(f"{found.lower()} "):
            raise ValueError(
                f"named-checkconf -l lists {len(listed)} zones, and named-checkconf -p prints {len(read)}. The first "
                f"difference is {line or 'no zone'!r} against {found or 'no zone'!r}, so no zone of this server is "
                "changed. Report this with the output of both commands"
            )


def included_files(path: Path, directory: str) -> set[Path]:
    """Return the real paths of all files that a zone's file includes, directly or not; skip unreadable ones."""
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


def display_name(zone: ServedZone) -> str:
    """Return a zone's name and view, for messages."""
    return f"{zone.name} (view {zone.view})" if zone.view else zone.name


def _in_view(zone: ServedZone) -> str:
    """Return a zone's view, for messages."""
    return f" in view {zone.view}" if zone.view else ""


def _message(zone: ServedZone, output: str) -> str:
    """Return the messages of named-checkzone about text on its standard input, with the name of the zone's file."""
    return output.replace(_STDIN, zone.file).strip()


def _checkzone(zone: ServedZone) -> list[str]:
    """Return the command that checks a zone."""
    # `-i local` checks this zone's own records only, without DNS queries.
    return ["named-checkzone", "-i", "local", *(["-w", zone.directory] if zone.directory else [])]


def _named(zone: ServedZone) -> list[str]:
    """Return the arguments of rndc that name a zone."""
    return [zone.name, "IN", zone.view] if zone.view else [zone.name]
