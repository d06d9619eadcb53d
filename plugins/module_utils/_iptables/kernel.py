# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""What a router's kernel has: the table filter of iptables, the sets of ipset, the table of nftables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import nft
from . import text as saved_text
from .text import Saved

PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
Find = Callable[[str], "str | None"]


class ApplyError(Exception):
    """The rules could not be read or loaded; the message has the cause and the state of the router."""


@dataclass(frozen=True)
class SetState:
    """The entries of a set of ipset, with their comments, and how many rules use it."""

    entries: dict[str, str]
    references: int


class Kernel:
    """The kernel of this router, read by its programs."""

    def __init__(self, run: Run, find: Find) -> None:
        """Use these functions: `run` runs a command, `find` finds a program."""
        self._run = run
        self._find = find

    def chains(self, family: str, known: Iterable[str], required: bool) -> Saved | None:
        """Return the managed part of the family's rules; None if the kernel does not support the family.

        Args:
            family: ipv4 or ipv6.
            known: Jumps that are managed although they have no comment.
            required: Whether it is an error that iptables cannot read the table.
        """
        if family == "ipv6" and not Path("/proc/sys/net/ipv6").is_dir():
            return None
        program = self._find(f"{PROGRAMS[family]}-save")
        if not program:
            return Saved()
        status, out, error = self._run([program, "-t", "filter"])
        if status:
            raise ApplyError(f"{program} cannot read the {family} rules: {format_error(error)}")
        if "is incompatible, use 'nft' tool" in out:
            if not required:
                return Saved()
            raise ApplyError(
                f"{program} cannot read the table 'filter': it has rules that only nft supports. "
                "Move those rules to another table, or set the backend to nft."
            )
        return saved_text.parse_save(out, known)

    def sets(self, names: Iterable[str]) -> dict[str, SetState]:
        """Return the sets of ipset that exist among these."""
        program = self._find("ipset")
        if not program:
            return {}
        status, out, error = self._run([program, "list", "-name"])
        if status:
            raise ApplyError(f"{program} cannot list the address sets: {format_error(error)}")
        existing = set(out.split())
        return {name: self._set(program, name) for name in names if name in existing}

    def _set(self, program: str, name: str) -> SetState:
        """Return one set."""
        status, out, error = self._run([program, "save", name])
        if status:
            raise ApplyError(f"ipset cannot read the set {name}: {format_error(error)}")
        _status, header, _error = self._run([program, "list", "-terse", name])
        references = re.search(r"^References: (\d+)$", header, re.MULTILINE)
        return SetState(saved_text.parse_set(out), int(references.group(1)) if references else 0)

    def nft_table(self) -> str:
        """Return the managed table as `nft --json` lists it, "" if there is none."""
        program = self._find("nft")
        if not program:
            return ""
        status, out, error = self._run([program, "--json", "list", "table", *nft.TABLE.split()])
        if status == 0:
            return out
        if "No such file or directory" in error:
            return ""
        raise ApplyError(f"{program} cannot read the table {nft.TABLE}: {format_error(error)}")


def format_error(error: str) -> str:
    """Return a program's error output as one line, without its advice to read the manual and the final period."""
    lines = (line.strip() for line in error.splitlines() if not line.startswith("Try `"))
    return " ".join(line for line in lines if line).rstrip(".")
