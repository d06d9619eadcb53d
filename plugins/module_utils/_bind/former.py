# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""MX records that have left a zone and that caches may still have. Pure: two observations in, the record out.

A record that is missing at an observation has left after the one before. It is treated as if it had left just now, so
the time is never too early. Observe at the end of each change too, or it is later than necessary.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

Key = tuple[str, str, str]
"""Zone, view and owner name."""

_FORMAT = "campus.mailgate former MX records"


@dataclass(frozen=True, slots=True)
class Present:
    """MX records in a zone: the gateways, and for how many seconds others may have the records once they have left."""

    exchanges: tuple[str, ...]
    lifetime: int


@dataclass(frozen=True, slots=True)
class Former:
    """What is known of a name.

    Attributes:
        exchanges: The gateways in its MX records, present or former.
        lifetime: The lifetime of the present records, None when they have left.
        until: The time in seconds since 1970 until which others may have records that have left or changed.
    """

    exchanges: tuple[str, ...]
    lifetime: int | None
    until: int = 0


def remember(
    earlier: Mapping[Key, Former], present: Mapping[Key, Present], unread: Collection[tuple[str, str]], now: int
) -> dict[Key, Former]:
    """Return what is known after an observation.

    Args:
        earlier: What was known before.
        present: The records in the zones.
        unread: The zones and views that could not be read; what was known of them stays.
        now: The time of the observation.
    """
    known = {}
    for key in sorted({*earlier, *present}):
        before, after = earlier.get(key), present.get(key)
        if before and key[:2] in unread:
            known[key] = before
            continue
        until = before.until if before else 0
        if before and before.lifetime is not None and (not after or before.lifetime != after.lifetime):
            until = max(until, now + before.lifetime)
        if after:
            known[key] = Former(after.exchanges, after.lifetime, until if until > now else 0)
        elif before and until > now:
            known[key] = Former(before.exchanges, None, until)
    return known


def as_text(known: Mapping[Key, Former]) -> str:
    """Return the content of the file that `read` reads."""
    names = [
        {
            **dict(zip(("zone", "view", "owner"), key, strict=True)),
            "exchanges": list(each.exchanges),
            "lifetime": each.lifetime,
            "until": each.until,
        }
        for key, each in known.items()
    ]
    return json.dumps({"format": _FORMAT, "names": names}, indent=1) + "\n"


def read(text: str) -> dict[Key, Former]:
    """Return the content of a file; raise ValueError if it is not from `as_text`."""
    try:
        data = json.loads(text)
        if data["format"] != _FORMAT:
            raise ValueError(f"the format is {data['format']!r}")
        return {
            (each["zone"], each["view"], each["owner"]): Former(
                tuple(each["exchanges"]), each["lifetime"], each["until"]
            )
            for each in data["names"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"it has no valid {error}") from error


def date_text(seconds: int) -> str:
    """Return a time as text, as 2027-03-31 12:00 UTC."""
    return datetime.fromtimestamp(seconds + 59, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
