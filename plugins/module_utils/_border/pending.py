# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The change that waits for confirmation.

`undo/` holds the files from before the change. Renaming it decides atomically between undo and confirm.
"""

from __future__ import annotations

import shutil

from .system import LoadError, System

RULES = ("ipv4.rules", "ipv6.rules", "nft.rules")
FILES = ("sets", "expiry", *RULES)
TIMER = "mailgate-border-undo.timer"
_GONE = "no change waits for confirmation"


class Pending:
    """The change that waits for confirmation, if there is one."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._undo = system.directory / "undo"
        self._undoing = system.directory / "undoing"

    def exists(self) -> bool:
        """Return whether a change waits."""
        return self._undo.is_dir() or self._undoing.is_dir()

    def timer_runs(self) -> bool:
        """Return whether the timer that rolls the change back is active."""
        return self._system.run("systemctl", "--quiet", "is-active", TIMER).status == 0

    def roll_back(self) -> None:
        """Restore the old files. Raises LoadError; what is not restored then is restored the next time."""
        try:
            if not self._undoing.is_dir():
                if not self._undo.is_dir():
                    raise LoadError(_GONE)
                self._undo.rename(self._undoing)
            for name in FILES:
                target, old = self._system.directory / name, self._undoing / name
                if old.exists():
                    staged = target.with_name(f".{name}")
                    shutil.copy2(old, staged)
                    staged.replace(target)
                else:
                    target.unlink(missing_ok=True)
            shutil.rmtree(self._undoing)
        except OSError as error:
            raise LoadError(f"cannot restore the old files in {self._system.directory}: {error}") from error
        self._system.say("rolled back the last change: it was not confirmed in time")

    def confirm(self) -> None:
        """Keep the change. Raises LoadError."""
        confirmed = self._system.directory / "confirmed"
        shutil.rmtree(confirmed, ignore_errors=True)
        try:
            self._undo.rename(confirmed)
        except OSError as error:
            raise LoadError(f"{_GONE}: it was rolled back; run the role again") from error
        shutil.rmtree(confirmed, ignore_errors=True)
        # When the rules are removed, remove their bans too.
        if not any((self._system.directory / name).exists() for name in RULES):
            self._system.bans_file.unlink(missing_ok=True)
        self._system.run("systemctl", "--quiet", "stop", TIMER)
