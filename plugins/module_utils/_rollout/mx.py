# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MX records between the former and the planned ones: who serves which, and until when caches may have the former."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

Key = tuple[str, str, str]
"""Zone, view and owner name."""

_FORMAT = "campus.mailgate switched MX records"


@dataclass(frozen=True, slots=True)
class Switch:
    """What is known of a name.

    Attributes:
        ttl: The TTL in seconds of its former MX records, None when the planned ones are served.
        until: The time in seconds since 1970 until which caches may have former records that were replaced, or former
            records with a longer TTL than the present one; 0 if that is not so.
    """

    ttl: int | None
    until: int = 0


def observe(
    earlier: Mapping[Key, Switch], former: Mapping[Key, int], planned: Mapping[Key, int], now: int
) -> dict[Key, Switch]:
    """Return what is known after an observation.

    A change is treated as if it had been made just now, so the time is never too early. What was known of a name that
    was not observed stays.

    Args:
        earlier: What was known before.
        former: The names that still have other MX records than the planned ones, with their TTL.
        planned: The names that have the planned ones, with the TTL that former records of an unknown name may have.
        now: The time of the observation.
    """
    known = dict(earlier)
    for key, ttl in former.items():
        before = earlier.get(key)
        until = before.until if before and before.ttl is not None else 0
        if before and before.ttl is not None and before.ttl > ttl:
            until = max(until, now + before.ttl)
        known[key] = Switch(ttl, until)
    for key, ttl in planned.items():
        before = earlier.get(key)
        if before is None:
            known[key] = Switch(None, now + ttl)
        elif before.ttl is not None:
            known[key] = Switch(None, max(before.until, now + before.ttl))
    return known


def as_text(known: Mapping[Key, Switch]) -> str:
    """Return the content of the file that `read` reads."""
    names = [
        {"zone": zone, "view": view, "owner": owner, "ttl": each.ttl, "until": each.until}
        for (zone, view, owner), each in sorted(known.items())
    ]
    return json.dumps({"format": _FORMAT, "names": names}, indent=1) + "\n"


def read(text: str) -> dict[Key, Switch]:
    """Return the content of a file; raise ValueError if it is not from `as_text`."""
    try:
        data = json.loads(text)
        if data["format"] != _FORMAT:
            raise ValueError(f"the format is {data['format']!r}")
        return {
            (each["zone"], each["view"], each["owner"]): Switch(each["ttl"], each["until"]) for each in data["names"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"it has no valid {error}") from error


@dataclass(frozen=True, slots=True)
class Records:
    """The MX records of a name as `PREFERENCE EXCHANGE` in lower case, and their TTL."""

    mx: frozenset[str]
    ttl: int


NULL = frozenset({"0 ."})
"""A name that accepts no mail (RFC 7505), which bind_mx leaves alone."""


def compare(found: Records, allowed: Collection[frozenset[str]], exchanges: Collection[str]) -> str:
    """Return `planned`, `former`, or `other` for records that name a gateway but are not the planned ones."""
    if found.mx in allowed or found.mx == NULL:
        return "planned"
    targets = {record.partition(" ")[2] for record in found.mx}
    return "other" if targets & set(exchanges) else "former"


def with_ttl(lines: Collection[str]) -> dict[str, Records]:
    """Return the MX records of each name from records in BIND's full form, one a line."""
    mx: dict[str, set[str]] = {}
    ttl: dict[str, int] = {}
    for line in lines:
        words = line.lower().split()
        if len(words) == len(("owner", "ttl", "IN", "MX", "preference", "exchange")) and words[3] == "mx":
            owner = words[0].rstrip(".")
            target = words[5] if words[5] == "." else words[5].rstrip(".")
            mx.setdefault(owner, set()).add(f"{words[4]} {target}")
            ttl[owner] = int(words[1])
    return {owner: Records(frozenset(records), ttl[owner]) for owner, records in mx.items()}
