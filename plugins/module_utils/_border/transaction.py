# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The transaction that changes the managed part of a family's table, from texts in the form of iptables-save. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .._iptables import text as saved_text
from .._iptables.model import INBOUND, OUTBOUND, PARENT

OURS = f"(?:{INBOUND}|{OUTBOUND})"
_CHAIN = re.compile(rf"^:({OURS}) ", re.MULTILINE)


def managed(saved: str, known: Iterable[str] = ()) -> list[str]:
    """Return the lines of a table that are managed: chains, their rules, and the jumps to them."""
    found = saved_text.parse_save(saved, known)
    if not saved_text.has_our_marks(found):
        return []
    jumps = [f"-A {PARENT} {rule}" for _position, rule in found.jumps]
    return [*(f":{name} -" for name in found.chains), *found.rules, *jumps]


def transaction(saved: str, rules: str, known: Iterable[str] = ()) -> str:
    """Return input for `iptables-restore --noflush` that replaces the managed part of a table by a file of rules.

    It removes the present jumps and adds the new ones in one commit, so packets meet either the old rules or the new
    ones, and loading is idempotent. Chains that are not in the file are deleted, or emptied if a rule of the admin's
    uses them. Without a file, chains of our name that are somebody else's stay.

    Args:
        saved: The table as iptables-save prints it.
        rules: The file; "" removes everything.
        known: Jumps that are managed although they have no comment.
    """
    found = saved_text.parse_save(saved, known)
    if not rules and (not found.chains or not saved_text.has_our_marks(found) or saved_text.gone(found)):
        return ""
    new = _CHAIN.findall(rules)
    body = [line for line in rules.splitlines() if line and line[0] not in ":*#" and line != "COMMIT"]
    lines = ["*filter", *(f":{name} - [0:0]" for name in sorted({*found.chains, *new}))]
    lines += [f"-D {PARENT} {jump}" for _position, jump in found.jumps]
    used = {rule.split()[-1] for rule in found.references}
    lines += [*body, *(f"-X {name}" for name in found.chains if name not in new and name not in used)]
    return "\n".join([*lines, "COMMIT", ""])


def without_sets(text: str) -> str:
    """Return a transaction without the rules that use address sets.

    Its chains still accept mail to the gateways and still block everything else; permitted servers are blocked too.
    """
    return "".join(f"{line}\n" for line in text.splitlines() if "--match-set" not in line)
