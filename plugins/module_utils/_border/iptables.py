# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The managed chains in the tables of iptables and ip6tables."""

from __future__ import annotations

import time
from pathlib import Path

from .._iptables.model import FAMILIES
from .._iptables.text import file_jumps
from .system import LOCK_SECONDS, BusyError, LoadError, System
from .transaction import managed, transaction, without_sets

PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}
# iptables exits with 4 for a lock, but iptables-nft does so for other errors too.
_LOCKED = 4


class UnreadableError(LoadError):
    """The table holds rules that iptables does not understand."""


class Tables:
    """The table `filter` of both families."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._deadline = time.monotonic() + LOCK_SECONDS

    def usable(self) -> list[str]:
        """Return the families that have tables. A router booted with ipv6.disable=1 forwards no IPv6 and has none.

        A family without a file of rules counts only if its tables can be read without being created.
        """
        families = [family for family in FAMILIES if family != "ipv6" or Path("/proc/sys/net/ipv6").is_dir()]
        return [family for family in families if self._system.read(f"{family}.rules") or self._readable(family)]

    def _readable(self, family: str) -> bool:
        """Return whether iptables is installed and its table exists, or can be read without being created."""
        program = PROGRAMS[family]
        done = self._system.run(program, "--version")
        return done.status == 0 and ("legacy" not in done.out or _has_legacy_table(program))

    def read(self, family: str, variant: str = "") -> str:
        """Return the table as iptables-save prints it. Raises LoadError or BusyError.

        Args:
            family: ipv4 or ipv6.
            variant: "-nft" or "-legacy"; "" is the one in use.
        """
        program = f"{PROGRAMS[family]}{variant}-save"
        done = self._system.run(program, "-t", "filter")
        if done.status:
            raise _error(family, done.status, done.error or f"{program} failed")
        if "is incompatible, use 'nft' tool" in done.out:
            raise UnreadableError(
                f"{PROGRAMS[family]}: the table filter holds rules that only nft understands; "
                "move them to a table of another name"
            )
        return done.out

    def prepare(self, family: str) -> str:
        """Return the transaction that loads the family's file; "" if there is nothing to do. Raises LoadError."""
        rules = self._system.read(f"{family}.rules")
        try:
            return transaction(self.read(family), rules, self._known_jumps(family))
        except UnreadableError:
            # With the backend nft our chains cannot be there, as iptables could not have written them.
            if rules:
                raise
            return ""

    def _known_jumps(self, family: str) -> list[str]:
        """Return the jumps in the family's present and former files."""
        texts = (self._system.read(f"{place}{family}.rules") for place in ("", "undo/", "undoing/"))
        return [jump for text in texts for jump in file_jumps(text)]

    def restore(self, family: str, text: str, variant: str = "", test: bool = False) -> None:
        """Load a transaction, or only test it. Raises LoadError or BusyError, and then nothing was changed."""
        if text:
            program = f"{PROGRAMS[family]}{variant}-restore"
            # One limit for all calls, so that a unit that loads both families ends in time.
            wait = max(1, round(self._deadline - time.monotonic()))
            options = ["-w", str(wait), "--noflush", *(["--test"] if test else [])]
            done = self._system.run(program, *options, text=text)
            if done.status:
                raise _error(family, done.status, done.error or f"{program} failed")

    def load(self, families: list[str]) -> None:
        """Load families, all or none: nothing is loaded if one is invalid. Raises LoadError or BusyError."""
        self.test(families)
        for family in families:
            self.restore(family, self.prepare(family))

    def test(self, families: list[str]) -> None:
        """Test families without loading them. Raises LoadError or BusyError."""
        for family in families:
            self.restore(family, self.prepare(family), test=True)

    def load_possible(self, family: str) -> bool:
        """Load a family as written or, if that is impossible, without sets; return whether it is loaded as written."""
        text = ""
        try:
            text = self.prepare(family)
            self.restore(family, text)
        except BusyError as error:
            self._system.say(f"{error}; {self.present(family)}")
            return False
        except LoadError as error:
            self._system.say(str(error))
        else:
            return True
        self._system.say(f"{family}: cannot load the rules as written; trying without address sets")
        try:
            if not text:
                raise LoadError(f"{family}: nothing can be loaded")
            self.restore(family, without_sets(text))
        except LoadError as error:
            self._system.say(f"{error}; {self.present(family)}")
        return False

    def present(self, family: str) -> str:
        """Return a sentence on what the kernel has of a family's rules now."""
        try:
            found = any(line.startswith("-A") for line in managed(self.read(family), self._known_jumps(family)))
        except LoadError as error:
            return f"{family}: NOT LOADED, and whether older rules are in place is unknown: {error}"
        if found:
            return f"{family}: NOT LOADED, the rules that were there before are still in place"
        return f"{family}: NOT LOADED, port 25 is open"

    def stale(self) -> list[str]:
        """Return a line for each family whose chains are loaded without a file: somebody loaded saved rules."""
        found = []
        for family in self.usable():
            if not self._system.read(f"{family}.rules"):
                try:
                    lines = managed(self.read(family), self._known_jumps(family))
                except UnreadableError:
                    lines = []
                found += (
                    [f"{family}: old port-25 chains are loaded again"] if any("-A" in line for line in lines) else []
                )
        return found

    def other_variant(self, family: str) -> str | None:
        """Return the suffix of the iptables variant that is not in use, if its table exists.

        Querying a legacy table would create it.
        """
        program = PROGRAMS[family]
        if "legacy" in self._system.run(program, "--version").out:
            variant = "-nft"
        else:
            variant = "-legacy"
            if not _has_legacy_table(program):
                return None
        return variant if self._system.find(f"{program}{variant}-save") else None

    def left(self, family: str) -> str:
        """Return the managed lines that remain in the tables of the variant that is not in use."""
        return "".join(f"{line}\n" for line in managed(self._other_table(family), self._known_jumps(family)))

    def _other_table(self, family: str) -> str:
        """Return the table of the variant that is not in use, "" if there is none or it cannot be read."""
        variant = self.other_variant(family)
        try:
            return "" if variant is None else self.read(family, variant)
        except LoadError:
            return ""

    def remove_left(self) -> None:
        """Remove them, after the rules in use are loaded, so that the router is never without. Raises LoadError."""
        for family in self.usable():
            text = transaction(self._other_table(family), "", self._known_jumps(family))
            if text:
                try:
                    self.restore(family, text, self.other_variant(family) or "")
                except LoadError as error:
                    raise LoadError(
                        f"{error}; {family}: cannot remove the old chains from the tables of the other iptables variant"
                    ) from error


def _has_legacy_table(program: str) -> bool:
    """Return whether the table of iptables-legacy exists."""
    names = Path("/proc/net") / f"{program.replace('tables', '_tables')}_names"
    return names.exists() and "filter" in names.read_text(encoding="utf-8").split()


def _error(family: str, status: int, message: str) -> LoadError:
    """Return the error for a failed program."""
    kind = BusyError if status == _LOCKED and "xtables lock" in message else LoadError
    return kind(f"{family}: {' '.join(message.split())}")
