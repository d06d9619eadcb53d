# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The files of several zones as one change: replace all or none, have BIND load them, restore them on failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

from .._zone.bridge import Bridge, replace_over
from .._zone.edit import with_serial
from .._zone.file import ZoneError
from .._zone.serial import is_later, latest, next_serial
from .change import FileZone
from .named_conf import ServedZone
from .server import Bind


class ZoneFiles:
    """A `Change` of all files of several zones."""

    def __init__(
        self,
        bind: Bind,
        zones: Sequence[FileZone],
        reload_timeout: int,
        keep: Callable[[Mapping[Path, bytes | None]], None] | None = None,
    ) -> None:
        """Collect the files of `zones`.

        Args:
            bind: The server.
            zones: The zones.
            reload_timeout: Seconds that BIND may take to load them.
            keep: Is called before files are replaced, with their new contents; raises OSError to prevent that.
        """
        self._bind, self._timeout, self._keep = bind, reload_timeout, keep
        self._old: dict[Path, bytes | None] = {path: data for zone in zones for path, data in zone.before.items()}
        self._new: dict[Path, bytes | None] = {path: data for zone in zones for path, data in zone.after.items()}
        self._bridge: Bridge = {path: steps for zone in zones for path, steps in zone.bridge.items()}
        loaded = [zone for zone in zones if zone.needs_reload]
        self._serials_after = {zone.zone: zone.serial_after for zone in loaded}
        # A rollback removes a file that did not exist before, so there is nothing to load.
        restorable = [zone for zone in loaded if zone.before and None not in zone.before.values()]
        self._serials_before = {zone.zone: zone.serial_before for zone in restorable}
        self._restorable = restorable
        self._replaced = False

    @property
    def changed(self) -> bool:
        """Whether a file is replaced."""
        return bool(self._new)

    @property
    def needs_reload(self) -> bool:
        """Whether BIND must load a file."""
        return bool(self._serials_after)

    def commit(self) -> None:
        """Replace the files and wait until BIND serves them; raise ZoneError on failure."""
        try:
            if self._keep:
                self._keep(self._new)
            replace_over(self._old, self._new, self._bridge)
        except OSError as error:
            raise ZoneError(f"cannot replace the zone files, all are unchanged: {error}") from error
        self._replaced = True
        problems = self._bind.reload(self._serials_after, self._timeout)
        if problems:
            raise ZoneError(*problems)

    def rollback(self) -> list[str]:
        """Restore the previous files and have BIND load them; return the problems that remain.

        Where BIND has loaded a later serial and would refuse the previous one, that zone's content has a new serial.
        """
        if not self._replaced or not self._new:
            return []
        try:
            later, serials = self._forward()
            old = {**self._old, **later}
            if later and self._keep:
                self._keep(later)
            backwards = {p: (after, during, old.get(p, before)) for p, (before, during, after) in self._bridge.items()}
            replace_over(self._new, old, backwards)
        except (OSError, ZoneError) as error:
            return [f"cannot restore the previous zone files: {error}"]
        self._replaced = False
        try:
            problems = self._bind.reload({**self._serials_before, **serials}, self._timeout)
        except ZoneError as error:
            problems = error.problems
        return [f"after the previous file was restored: {problem}" for problem in problems]

    def _forward(self) -> tuple[dict[Path, bytes | None], dict[ServedZone, int]]:
        """Return the previous files with a new serial of the zones that need one, and these serials.

        BIND compares the versions of a zone that it signs, or whose differences it keeps, so it loads no earlier one.
        """
        files: dict[Path, bytes | None] = {}
        serials: dict[ServedZone, int] = {}
        sharing: dict[Path, list[FileZone]] = {}
        for zone in self._restorable:
            sharing.setdefault(Path(zone.zone.file).resolve(), []).append(zone)
        for path, zones in sharing.items():
            compared = [each.zone for each in zones if each.zone.signed or each.zone.differences]
            loaded = [serial for each in compared if (serial := self._bind.loaded(each)) is not None]
            past = latest(serial for serial in loaded if is_later(serial, zones[0].serial_before))
            if past is not None:
                serial = next_serial(past, date.today())
                serials.update({each.zone: serial for each in zones})
                files.update(_with_serial(zones[0], path, serial))
        return files, serials


def _with_serial(zone: FileZone, path: Path, serial: int) -> dict[Path, bytes | None]:
    """Return the previous content of those files of a zone that change, with another serial."""

    def real(name: str) -> Path:
        return Path(zone.zone.directory, name).resolve()

    def previous(file: Path) -> bytes:
        return zone.before.get(file) or file.read_bytes()

    apex = tuple(label.encode() for label in zone.zone.name.split("."))
    own, included = with_serial(
        previous(path), apex, serial, path=zone.zone.file, include=lambda name: previous(real(name))
    )
    texts = {path: own, **{real(name): text for name, text in included.items()}}
    return {file: text for file, text in texts.items() if file in zone.before}
