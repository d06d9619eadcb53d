# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Whether the kernel has the rules and sets of the files."""

from __future__ import annotations

import re

from .._iptables import text as saved_text
from .._iptables.model import PARENT
from .._iptables.text import rule_key
from .iptables import Tables
from .sets import FILE
from .system import LoadError, System

_JUMP = re.compile(rf"^-I {PARENT} (\d+) (.*-[jg] (\S+))$", re.MULTILINE)
_PARENT_RULE = re.compile(rf"^(?:\[\d+:\d+\] )?-A {PARENT} (.*)$", re.MULTILINE)
_SET = re.compile(r"^create (\S+) ", re.MULTILINE)
_VARIES = re.compile(r"^#.*\n|\[\d+:\d+\]", re.MULTILINE)


def differences(saved: str, rules: str) -> list[str]:
    """Return what a family's table lacks of its file, a text for each difference. Pure.

    Other rules are not compared, also further jumps to the managed chains.

    Args:
        saved: The table as iptables-save prints it.
        rules: The file.
    """
    live, wanted = saved_text.parse_save(saved), saved_text.parse_save(rules)
    found = []
    for name, lines in wanted.chains.items():
        if name not in live.chains:
            found.append(f"chain {name} is gone")
        elif list(map(rule_key, live.chains[name])) != list(map(rule_key, lines)):
            found.append(f"chain {name} was changed" if live.chains[name] else f"chain {name} is empty")
    present = _PARENT_RULE.findall(saved)
    for place, jump, name in _JUMP.findall(rules):
        places = [number for number, rule in enumerate(present, 1) if rule_key(rule) == rule_key(jump)]
        if not places:
            found.append(f"the jump from {PARENT} to {name} is gone")
        elif places[0] != int(place):
            before = present[places[0] - 2]
            found.append(f"the jump to {name} is rule {places[0]} of {PARENT}, after '{before}'")
    return found


def entries(text: str, name: str) -> dict[str, str]:
    """Return the entries (address, comment) of a set in the file. Pure."""
    return saved_text.parse_set("\n".join(line for line in text.splitlines() if line.startswith(f"add {name}.new ")))


class Check:
    """The comparison of the kernel with the files."""

    def __init__(self, system: System, tables: Tables) -> None:
        self._system = system
        self._tables = tables
        # What was compared and found in place, so that a guard of many rules need not compare it again.
        self._good: dict[str, tuple[str, str]] = {}

    def problems(self) -> list[str]:
        """Return what is missing or changed. Raises LoadError if it cannot be determined."""
        found = []
        for family in self._tables.usable():
            rules = self._system.read(f"{family}.rules")
            if rules:
                saved = _VARIES.sub("", self._tables.read(family))
                if self._good.get(family) != (saved, rules):
                    lacks = [f"{family}: {text}" for text in differences(saved, rules)]
                    found += lacks
                    self._note(family, (saved, rules), bool(lacks))
        return found + self._sets()

    def _note(self, key: str, compared: tuple[str, str], differ: bool) -> None:
        """Remember texts that do not differ."""
        if differ:
            self._good.pop(key, None)
        else:
            self._good[key] = compared

    def _sets(self) -> list[str]:
        """Return the differences of the sets. The entries of the bans are not compared, as they end by themselves."""
        text = self._system.read(FILE)
        names = [name for name in _SET.findall(text) if not name.endswith(".new")]
        if not names:
            return []
        done = self._system.run("ipset", "list", "-name")
        if done.status:
            raise LoadError(f"cannot list the address sets: {done.error.strip()}")
        existing = done.out.split()
        found = [f"set {name} is gone" for name in names if name not in existing]
        for name in names:
            if name in existing and f"create {name}.new " in text:
                done = self._system.run("ipset", "save", name)
                if done.status:
                    raise LoadError(f"cannot read the set {name}: {done.error.strip()}")
                if self._good.get(name) != (done.out, text):
                    differ = saved_text.parse_set(done.out) != entries(text, name)
                    found += [f"set {name} was changed"] if differ else []
                    self._note(name, (done.out, text), differ)
        return found
