# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The files of several zones as one change: replace all or none, have BIND load them, restore them on failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .._zone.bridge import Bridge, replace_over
from .._zone.file import ZoneError
from .change import FileZone
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
        """Restore the previous files and have BIND load them; return the problems that remain."""
        if not self._replaced or not self._new:
            return []
        backwards = {path: (after, during, before) for path, (before, during, after) in self._bridge.items()}
        try:
            replace_over(self._new, self._old, backwards)
        except OSError as error:
            return [f"cannot restore the previous zone files: {error}"]
        self._replaced = False
        try:
            problems = self._bind.reload(self._serials_before, self._timeout)
        except ZoneError as error:
            problems = error.problems
        return [f"after the previous file was restored: {problem}" for problem in problems]
