# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The MX records of a zone in each view that has a copy of its own. A query reaches only the view of its client."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .named_conf import PRIMARY, ServedZone
from .server import Bind

_MX_WORDS = 6


def copies(bind: Bind, zone: str, other_views: Collection[str]) -> list[ServedZone]:
    """Return the copies of a zone in several views, but those in `other_views`; empty for a zone in one view only.

    Raises:
        ZoneError: The server's configuration cannot be read.
    """
    name = zone.rstrip(".").lower()
    found = [each for each in bind.zones if each.name == name and each.kind in PRIMARY and each.file]
    return [each for each in found if each.view not in other_views] if len(found) > 1 else []


def mx_of(records: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the MX records of each name, as `PREFERENCE EXCHANGE`, from records in BIND's full form."""
    found: dict[str, set[str]] = {}
    for line in records:
        words = line.lower().split()
        if len(words) == _MX_WORDS and words[3] == "mx":
            target = words[5] if words[5] == "." else words[5].rstrip(".")
            found.setdefault(words[0].rstrip("."), set()).add(f"{words[4]} {target}")
    return {owner: frozenset(mx) for owner, mx in found.items()}
