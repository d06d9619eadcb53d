# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The program mailgate-border: load the port-25 rules of this router from /etc/mailgate/border.

It runs at boot, when Ansible changes the rules, and when a change is rolled back. Other rules are never changed.

  mailgate-border load [FAMILY...]  load the sets, then these families (ipv4, ipv6): all, or none if one is invalid
  mailgate-border boot              roll back an unconfirmed change, then load as much as possible
  mailgate-border sets              load the address sets only, for firewalls whose saved rules may refer to them
  mailgate-border undo              roll back the change that waits for confirmation
  mailgate-border confirm           keep that change
  mailgate-border left              print our rules in the tables of the iptables variant that is not in use
  mailgate-border check             print what is missing or changed; the exit status is 0 if all is in place, 1 if
                                    something is not, 2 if this cannot be determined now
  mailgate-border guard             keep checking, and put back what is missing or changed (a service)
  mailgate-border status            print what the guard has done
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from .._iptables.model import FAMILIES
from . import state
from .check import Check
from .iptables import Tables
from .pending import Pending
from .sets import Sets
from .system import LoadError, System
from .watch import Watch

OK, FAILED, UNKNOWN, USAGE = 0, 1, 2, 64
"""Exit statuses."""


class Loader:
    """The commands. Each returns an exit status or raises LoadError."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._tables = Tables(system)
        self._sets = Sets(system)
        self._pending = Pending(system)
        self._check = Check(system, self._tables)

    def load(self, families: list[str]) -> int:
        """Load all families, or none."""
        self._sets.load()
        self._tables.load([family for family in families if family in self._tables.usable()])
        self._tables.remove_left()
        self._sets.drop_unused()
        return OK

    def load_possible(self) -> int:
        """Load every part that can be loaded, unattended; the status is 1 if one is not loaded as written."""
        status = OK if self._attempt(self._sets.load) else FAILED
        for family in self._tables.usable():
            if not self._tables.load_possible(family):
                status = FAILED
        if not self._attempt(self._tables.remove_left):
            status = FAILED
        self._sets.drop_unused()
        return status

    def boot(self) -> int:
        """Load what can be loaded; roll back first.

        While the timer runs, a change is in progress: this is a restart of the unit, not a boot.
        """
        rolled_back = True
        if self._pending.exists() and not self._pending.timer_runs():
            rolled_back = self._attempt(self._pending.roll_back)
        return self.load_possible() if rolled_back else self.load_possible() or FAILED

    def sets(self) -> int:
        """Load the sets."""
        self._sets.load()
        return OK

    def undo(self) -> int:
        """Roll back the change that waits for confirmation, and load the old rules."""
        self._pending.roll_back()
        return self.load_possible()

    def confirm(self) -> int:
        """Keep the change."""
        self._pending.confirm()
        return OK

    def left(self) -> int:
        """Print what remains in the unused tables."""
        for family in self._tables.usable():
            print(self._tables.left(family), end="")
        return OK

    def problems(self) -> list[str]:
        """Return what is missing or changed. Raises LoadError if it cannot be determined."""
        return self._check.problems()

    def check(self) -> int:
        """Print what is missing or changed."""
        try:
            self._system.lock()
            found = self.problems()
        except LoadError as error:
            self._system.say(str(error))
            return UNKNOWN
        for line in found:
            print(line)
        return FAILED if found else OK

    def guard(self) -> int:
        """Guard the rules until this process is stopped."""
        return Watch(self._system, self.problems, self.load_possible).run()

    def status(self) -> int:
        """Print what the guard has done."""
        print(state.read(self._system.bans_file.parent).text())
        return OK

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Do something, report an error, and return whether it worked."""
        try:
            action()
        except LoadError as error:
            self._system.say(str(error))
            return False
        return True


def main() -> int:
    """Run the program and return its exit status."""
    system = System()
    command, families = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    unknown = [family for family in families if family not in FAMILIES]
    commands = ("load", "boot", "sets", "undo", "confirm", "left", "check", "guard", "status")
    if command not in commands or unknown or (families and command != "load"):
        system.say(
            "usage: mailgate-border load [ipv4] [ipv6] | boot | sets | undo | confirm | left | check | guard | status"
        )
        return USAGE
    loader = Loader(system)
    try:
        if command not in ("left", "check", "guard", "status"):
            # The lock is held until this process ends.
            system.lock()
        if command == "load":
            return loader.load(families)
        status: int = getattr(loader, command)()
        return status
    except LoadError as error:
        system.say(str(error))
        return FAILED
