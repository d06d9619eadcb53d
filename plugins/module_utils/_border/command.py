# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The program mailgate-border: load the port-25 rules of this router from /etc/mailgate/border.

It runs at boot, when Ansible changes the rules, and when a change is rolled back. Other rules are never changed.

  mailgate-border load [PART...]    load the sets, then these parts (nft, ipv4, ipv6): all, or none if one is invalid
  mailgate-border boot              roll back an unconfirmed change, then load as much as possible
  mailgate-border sets              load the address sets only, for firewalls whose saved rules may refer to them
  mailgate-border undo              roll back the change that waits for confirmation
  mailgate-border confirm           keep that change
  mailgate-border expire            load all if a permit has expired since it was loaded
  mailgate-border check             print what is missing or changed; the exit status is 0 if all is in place, 1 if
                                    something is not, 2 if this cannot be determined now
  mailgate-border guard             keep checking, and put back what is missing or changed (a service)
  mailgate-border status            print what the guard has done
  mailgate-border left              print our rules in the tables of the iptables variant that is not in use
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from .._iptables.model import FAMILIES
from . import state
from .check import Check
from .iptables import Tables
from .nftables import NftTable
from .pending import Pending
from .sets import Sets
from .system import LoadError, System
from .watch import Watch

OK, FAILED, UNKNOWN, USAGE = 0, 1, 2, 64
"""Exit statuses."""
NFT = "nft"
_EXPIRED = "expired"


class Loader:
    """The commands. Each returns an exit status or raises LoadError."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._tables = Tables(system)
        self._sets = Sets(system)
        self._nft = NftTable(system)
        self._pending = Pending(system)
        self._check = Check(system, self._tables)

    def load(self, parts: list[str]) -> int:
        """Load all parts, or none. The rules of a new backend are loaded before those of the old one are removed."""
        self._load_sets()
        families = [family for family in self._tables.usable() if family in parts]
        if self._nft.wanted() and NFT in parts:
            self._nft.test()
            self._tables.test(families)
            self._nft.load()
        self._tables.load(families)
        self._remove_old()
        self._sets.tidy()
        self._record_expired()
        return OK

    def load_possible(self) -> int:
        """Load every part that can be loaded, unattended; the status is 1 if one is not loaded as written."""
        done = [self._attempt(self._load_sets)]
        if self._nft.wanted():
            done.append(self._nft.load_possible())
        done += [self._tables.load_possible(family) for family in self._tables.usable()]
        done.append(self._attempt(self._remove_old))
        self._sets.tidy()
        self._record_expired()
        return OK if all(done) else FAILED

    def _load_sets(self) -> None:
        """Load the sets, with the bans of the table if the backend was nft until now. Raises LoadError."""
        self._sets.load({} if self._nft.wanted() else self._nft.bans())

    def expire(self) -> int:
        """Load all parts if other permits have expired than when they were loaded, also after the clock was wrong."""
        expired = sorted(self._system.expired())
        if expired == self._recorded_expired():
            return OK
        status = self.load([NFT, *FAMILIES])
        self._system.say(f"loaded the rules without {len(expired)} lines of expired permits")
        return status

    def _record_expired(self) -> None:
        """Record what was left out."""
        self._system.runtime.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in sorted(self._system.expired()))
        (self._system.runtime / _EXPIRED).write_text(text, encoding="utf-8", errors="surrogateescape")

    def _recorded_expired(self) -> list[str] | None:
        """Return what was left out when the rules were loaded; None if they were not loaded since the last boot."""
        try:
            text = (self._system.runtime / _EXPIRED).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return None
        return text.splitlines()

    def _remove_old(self) -> None:
        """Remove what is not in use, after the rules in use are loaded. Raises LoadError."""
        if not self._nft.wanted():
            self._nft.remove()
        self._tables.remove_left()

    def boot(self) -> int:
        """Load what can be loaded; roll back first.

        While the timer runs, a change is in progress: this is a restart of the unit, not a boot.
        """
        rolled_back = True
        if self._pending.exists() and not self._pending.timer_runs():
            rolled_back = self._attempt(self._pending.roll_back)
        return self.load_possible() or (OK if rolled_back else FAILED)

    def sets(self) -> int:
        """Load the sets."""
        self._sets.load({})
        return OK

    def undo(self) -> int:
        """Roll back the change that waits for confirmation, and load the old rules."""
        if not self._pending.exists():
            raise LoadError("no change waits for confirmation")
        rolled_back = self._attempt(self._pending.roll_back)
        return self.load_possible() or (OK if rolled_back else FAILED)

    def confirm(self) -> int:
        """Keep the change."""
        self._pending.confirm()
        return OK

    def left(self) -> int:
        """Print what remains in the unused tables."""
        for family in self._tables.usable():
            sys.stdout.write(self._tables.left(family))
        return OK

    def problems(self) -> list[str]:
        """Return what is missing or changed. Raises LoadError if it cannot be determined."""
        nft = self._nft.check() if self._nft.wanted() else self._nft.stale()
        return self._check.problems() + nft + self._tables.stale()

    def check(self) -> int:
        """Print what is missing or changed."""
        try:
            self._system.lock()
            found = self.problems()
        except LoadError as error:
            self._system.say(str(error))
            return UNKNOWN
        sys.stdout.write("".join(f"{line}\n" for line in found))
        return FAILED if found else OK

    def guard(self) -> int:
        """Guard the rules until this process is stopped."""
        return Watch(self._system, self._problems_today, self.load_possible).run()

    def _problems_today(self) -> list[str]:
        """Return the problems, without permits that have just expired. Raises LoadError."""
        if self._recorded_expired() is not None:
            self.expire()
        return self.problems()

    def status(self) -> int:
        """Print what the guard has done."""
        sys.stdout.write(f"{state.read(self._system.bans_file.parent).text()}\n")
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
    command, parts = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    commands = ("load", "boot", "sets", "undo", "confirm", "expire", "check", "guard", "status", "left")
    if command not in commands or set(parts) - {NFT, *FAMILIES} or (parts and command != "load"):
        system.say(f"usage: mailgate-border {' | '.join(commands).replace('load', 'load [nft] [ipv4] [ipv6]')}")
        return USAGE
    loader = Loader(system)
    try:
        if command not in ("check", "guard", "status", "left"):
            # The lock is held until this process ends.
            system.lock()
        if command == "load":
            return loader.load(parts)
        status: int = getattr(loader, command)()
        return status
    except LoadError as error:
        system.say(str(error))
        return FAILED
