# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The transaction that changes the managed part of a family's table, from texts in the form of iptables-save. Pure."""

from __future__ import annotations

import re

from .._iptables.model import INBOUND, OUTBOUND, PARENT

OURS = f"(?:{INBOUND}|{OUTBOUND})"
_CHAIN = re.compile(rf"^:({OURS}) ", re.MULTILINE)
_JUMP = re.compile(rf"^-A ({PARENT} .*-[jg] {OURS})$", re.MULTILINE)
_MANAGED = re.compile(rf"^(?::{OURS} |-A {OURS} |-A {PARENT} .*-[jg] {OURS}$).*", re.MULTILINE)


def chains(text: str) -> list[str]:
    """Return the names of the managed chains in a text."""
    return _CHAIN.findall(text)


def managed(saved: str) -> str:
    """Return the lines of a table that are managed: chains, their rules and jumps to them."""
    return "".join(f"{match[0]}\n" for match in _MANAGED.finditer(saved))


def transaction(saved: str, rules: str) -> str:
    """Return input for `iptables-restore --noflush` that replaces the managed part of a table by a file of rules.

    It removes the present jumps and adds the new ones in one commit, so packets meet either the old rules or the new
    ones, and loading is idempotent. Chains that are not in the file are deleted.

    Args:
        saved: The table as iptables-save prints it.
        rules: The file; "" removes everything.
    """
    old, new = chains(saved), chains(rules)
    if not old and not rules:
        return ""
    body = [line for line in rules.splitlines() if line and line[0] not in ":*#" and line != "COMMIT"]
    lines = ["*filter", *(f":{name} - [0:0]" for name in sorted({*old, *new}))]
    lines += [f"-D {jump}" for jump in _JUMP.findall(saved)]
    lines += [*body, *(f"-X {name}" for name in old if name not in new)]
    return "\n".join([*lines, "COMMIT", ""])


def without_sets(text: str) -> str:
    """Return a transaction without the rules that use address sets.

    Its chains still accept mail to the gateways and still block everything else; permitted servers are blocked too.
    """
    return "".join(f"{line}\n" for line in text.splitlines() if "--match-set" not in line)
