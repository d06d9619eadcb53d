# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Checks of MX targets: a target has an address record and is not an alias (RFC 5321, section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from enum import Enum

from .file import Name, ZoneFile


class Target(Enum):
    """What is known about a name as an MX target."""

    ADDRESS = "has an address"
    ALIAS = "is an alias (CNAME)"
    MISSING = "has no address record"
    UNKNOWN = "cannot be looked up"


Ask = Callable[[Name], Target]
"""Queries a server for a name."""

_DECISIVE = frozenset({"A", "AAAA", "CNAME", "DNAME", "NS", "TYPE1", "TYPE28"})


def targets_in(files: Iterable[ZoneFile], zone: Name, names: Collection[Name]) -> dict[Name, Target]:
    """Return what a zone's files say about names; leave out those about which they are not decisive.

    `files` are the zone's own and all that it includes.
    """
    names = {name for name in names if name[-len(zone) :] == zone}
    if not names:
        return {}
    above = {name[cut:] for name in names for cut in range(len(name) - len(zone) + 1)}
    watched = above | {(b"*", *name) for name in above}
    types: dict[Name, set[str]] = {}
    generates = False
    for file in files:
        for entry in file.entries:
            if entry.kind == "record":
                if entry.rtype in _DECISIVE and entry.owner in watched:
                    types.setdefault(entry.owner, set()).add(entry.rtype)
            elif entry.kind == "generate":
                generates = True
    found: dict[Name, Target] = {}
    for name in names:
        target = _target(name, zone, types)
        if target != Target.UNKNOWN and not (generates and target == Target.MISSING):
            found[name] = target
    return found


def _target(name: Name, zone: Name, types: dict[Name, set[str]]) -> Target:
    """Return what the record types of all watched names say about one name."""
    own = types.get(name, set())
    parents = [name[cut:] for cut in range(1, len(name) - len(zone) + 1)]
    if any("DNAME" in types.get(parent, ()) for parent in parents):
        return Target.UNKNOWN
    if any("NS" in types.get(cut, ()) for cut in (name, *parents) if cut != zone):
        return Target.UNKNOWN  # delegated
    if "CNAME" in own:
        return Target.ALIAS
    if own - {"NS", "DNAME"}:
        return Target.ADDRESS
    if any((b"*", *parent) in types for parent in parents):
        return Target.UNKNOWN  # only the server can tell whether a wildcard matches
    return Target.MISSING
