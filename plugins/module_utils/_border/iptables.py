# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The managed chains in the tables of iptables and ip6tables."""

from __future__ import annotations

from pathlib import Path

from .._iptables.model import FAMILIES
from .system import LOCK_SECONDS, BusyError, LoadError, System
from .transaction import managed, transaction, without_sets

PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}
# iptables exits with 4 for a lock, but iptables-nft does so for other errors too.
_LOCKED = 4


class Tables:
    """The table `filter` of both families."""

    def __init__(self, system: System) -> None:
        self._system = system

    def usable(self) -> list[str]:
        """Return the families that have tables. A router booted with ipv6.disable=1 forwards no IPv6 and has none."""
        return [family for family in FAMILIES if family != "ipv6" or Path("/proc/sys/net/ipv6").is_dir()]

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
            raise LoadError(
                f"{PROGRAMS[family]}: the table filter holds rules that only nft understands; "
                "move them to a table of another name"
            )
        return done.out

    def prepare(self, family: str) -> str:
        """Return the transaction that loads the family's file; "" if there is nothing to do. Raises LoadError."""
        return transaction(self.read(family), self._system.read(f"{family}.rules"))

    def restore(self, family: str, text: str, variant: str = "", test: bool = False) -> None:
        """Load a transaction, or only test it. Raises LoadError or BusyError, and then nothing was changed."""
        if text:
            program = f"{PROGRAMS[family]}{variant}-restore"
            options = ["-w", str(LOCK_SECONDS), "--noflush", *(["--test"] if test else [])]
            done = self._system.run(program, *options, text=text)
            if done.status:
                raise _error(family, done.status, done.error or f"{program} failed")

    def load(self, families: list[str]) -> None:
        """Load families, all or none: nothing is loaded if one is invalid. Raises LoadError or BusyError."""
        for test in (True, False):
            for family in families:
                self.restore(family, self.prepare(family), test=test)

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
            found = " -j " in managed(self.read(family))
        except LoadError as error:
            return f"{family}: NOT LOADED, and whether older rules are in place is unknown: {error}"
        if found:
            return f"{family}: NOT LOADED, the rules that were there before are still in place"
        return f"{family}: NOT LOADED, port 25 is open"

    def other_variant(self, family: str) -> str | None:
        """Return the suffix of the iptables variant that is not in use, if its table exists.

        Querying a legacy table would create it.
        """
        program = PROGRAMS[family]
        if "legacy" in self._system.run(program, "--version").out:
            variant = "-nft"
        else:
            variant = "-legacy"
            names = Path("/proc/net") / f"{program.replace('tables', '_tables')}_names"
            if not names.exists() or "filter" not in names.read_text(encoding="utf-8").split():
                return None
        return variant if self._system.find(f"{program}{variant}-save") else None

    def left(self, family: str) -> str:
        """Return the managed lines that remain in the tables of the variant that is not in use."""
        variant = self.other_variant(family)
        if variant is None:
            return ""
        try:
            return managed(self.read(family, variant))
        except LoadError:
            return ""

    def remove_left(self) -> None:
        """Remove them, after the rules in use are loaded, so that the router is never without. Raises LoadError."""
        for family in self.usable():
            text = self.left(family)
            if text:
                try:
                    self.restore(family, transaction(text, ""), self.other_variant(family) or "")
                except LoadError as error:
                    raise LoadError(
                        f"{error}; {family}: cannot remove the old chains from the tables of the other iptables variant"
                    ) from error


def _error(family: str, status: int, message: str) -> LoadError:
    """Return the error for a failed program."""
    kind = BusyError if status == _LOCKED and "xtables lock" in message else LoadError
    return kind(f"{family}: {' '.join(message.split())}")
