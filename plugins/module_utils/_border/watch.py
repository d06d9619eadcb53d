# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The service mailgate-border-guard: check the rules, put them back when another program changed them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import state
from .events import Events
from .guard import GAP, REPAIRS, WINDOW, Guard, Next
from .system import LoadError, System

STOPPED = 3
"""The exit status after which systemd does not start the guard again."""
# The files of a change are written before they are loaded.
_WRITING_SECONDS = 3.0
_LAST_LOOK_SECONDS = 15.0
_UNKNOWN_SECONDS = 60.0
_ERR, _INFO = 3, 6
# The loader's programs, in the kernel's names of processes, which are 15 bytes at most.
_OWN = ("iptables-restor", "ip6tables-resto", "nft ")


class Watch:
    """The running guard."""

    def __init__(
        self,
        system: System,
        problems: Callable[[], list[str]],
        load: Callable[[], int],
        settle: float = _LAST_LOOK_SECONDS,
    ) -> None:
        """Use these functions: `problems` returns what is missing or changed, `load` loads all that can be loaded.

        `settle` is the time until the last look of a guard that stops.
        """
        self._system = system
        self._problems = problems
        self._load = load
        self._settle = settle
        self._guard = Guard(time.monotonic())
        self._by: dict[str, None] = {}
        self._first_event = 0.0
        self._unknown_since = 0.0
        try:
            self._events: Events | None = Events()
        except OSError:
            self._events = None

    def run(self) -> int:
        """Guard the rules until another program changes them again and again, and return the exit status."""
        count = state.read(self._system.bans_file.parent)
        if count.stopped:
            self._save(replace(count, stopped=""))
        _say(_INFO, "the guard of the port-25 rules watches")
        while True:
            self._wait()
            follows = self._look()
            if follows is not Next.WATCH:
                return self._stop(follows)

    def _wait(self) -> None:
        """Wait until the next check is due."""
        while (seconds := self._guard.wait(time.monotonic())) > 0:
            if self._events is None:
                time.sleep(seconds)
                continue
            found = self._events.wait(seconds)
            if found is not None:
                now = time.monotonic()
                self._by.update(dict.fromkeys(found))
                self._first_event = self._first_event or now
                self._guard.event(now)

    def _look(self) -> Next:
        """Check once, and put the rules back if they are not in place."""
        began = time.monotonic()
        try:
            lock = self._system.lock()
        except LoadError as error:
            return self._unknown(str(error))
        try:
            found = self._problems()
            now = time.monotonic()
            self._guard.checked(now, now - began, self._has_events())
            self._unknown_since = 0.0
            if not found:
                self._by, self._first_event = {}, 0.0
                return Next.WATCH
            if self._being_written():
                self._guard.soon(now)
                return Next.WATCH
            return self._repair(found, self._first_event or began)
        except LoadError as error:
            return self._unknown(str(error))
        finally:
            if lock is not None:
                os.close(lock)

    def _repair(self, found: list[str], since: float) -> Next:
        """Put the rules back and report it."""
        # Another program may change them again at once; the next check tells.
        loaded = self._load() == 0
        now = time.monotonic()
        by, self._by, self._first_event = list(self._by), {}, 0.0
        if self._events is not None:
            # The repair itself is reported too.
            self._by = {each: None for each in self._events.read() if not each.startswith(_OWN)}
        who = f"Changed by {', '.join(by[-3:])}" if by else "What changed them is not known"
        self._guard.soon(now)
        follows = self._guard.repaired(now, in_place=loaded)
        if not loaded:
            _say(_ERR, f"the port-25 rules CANNOT be put back: {'; '.join(found)}. {who}. See the messages above")
            return follows
        count = state.read(self._system.bans_file.parent).repaired(int(time.time()), by, found, now - since)
        self._save(count)
        _say(
            _ERR,
            f"the port-25 rules were not in place and are back after {now - since:.1f} s: {'; '.join(found)}. {who}. "
            f"This was repair {count.repairs}",
        )
        return follows

    def _stop(self, why: Next) -> int:
        """Report why the guard stops; put the rules back once more when the other program may have finished."""
        directory = self._system.bans_file.parent
        count = state.read(directory)
        if why is Next.CONFLICT:
            names = ", ".join(count.last_by) or "a program that is not known"
            reason = f"{REPAIRS} repairs in {WINDOW / 60:.0f} minutes, the last change was made by {names}"
        else:
            reason = "the rules cannot be put back"
        time.sleep(self._settle)
        try:
            lock = self._system.lock()
            if self._problems():
                self._load()
            left = self._problems()
            if lock is not None:
                os.close(lock)
        except LoadError as error:
            left = [str(error)]
        now = (
            f"NOT in place, port 25 may be open: {'; '.join(left)}"
            if left
            else "in place now, but not guarded any more"
        )
        self._save(replace(count, stopped=reason))
        _say(
            _ERR,
            f"the guard STOPS: {reason}. The port-25 rules are {now}. Stop what changes them, for example its unit or "
            "timer, or let it keep rules that are not its own; then run: systemctl restart mailgate-border.service "
            "mailgate-border-guard.service",
        )
        return STOPPED

    def _unknown(self, error: str) -> Next:
        """Check again soon; report it once if it lasts."""
        now = time.monotonic()
        self._unknown_since = self._unknown_since or now
        if 0 < now - self._unknown_since < _UNKNOWN_SECONDS:
            self._guard.soon(now, 2 * GAP)
            return Next.WATCH
        if now > self._unknown_since:
            _say(_ERR, f"whether the port-25 rules are in place cannot be determined: {error}")
            self._unknown_since = now
        self._guard.soon(now, 2 * GAP)
        return Next.WATCH

    def _has_events(self) -> bool:
        """Return whether the kernel reports changes of the tables in use."""
        return self._events is not None and "legacy" not in str(Path("/usr/sbin/iptables").resolve())

    def _being_written(self) -> bool:
        """Return whether files were written so recently that the loader, which loads them next, may not run yet."""
        try:
            directory = self._system.directory
            times = [path.stat().st_mtime for path in (directory, *directory.iterdir())]
        except OSError:
            return False
        return 0 <= time.time() - max(times) < _WRITING_SECONDS

    def _save(self, count: state.Count) -> None:
        """Write the count; the guard works without it too."""
        try:
            self._system.bans_file.parent.mkdir(parents=True, exist_ok=True)
            state.write(self._system.bans_file.parent, count)
        except OSError as error:
            _say(_ERR, f"cannot write the guard's count: {error}")


def _say(level: int, message: str) -> None:
    """Write a message with its level for the journal, sd-daemon(3)."""
    sys.stderr.write(f"<{level}>mailgate-border: {message}\n")
    sys.stderr.flush()
