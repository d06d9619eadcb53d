# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Names whose MX records lead to a gateway that has no route for them: their mail would be refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .._zone.file import ZoneError
from .former import Former, Key, Present, date_text, remember
from .named_conf import PRIMARY, ServedZone
from .server import Bind

_MX_WORDS = 6
_SOA_REFRESH = 7


@dataclass(frozen=True, slots=True, order=True)
class Unplanned:
    """A name without a route, the zone that has it, and the gateways that its MX records name.

    `until` is the time, in seconds since 1970, until which caches may have records that have left the zone; 0 for
    records in the zone.
    """

    zone: str
    view: str
    owner: str
    exchanges: tuple[str, ...]
    until: int = 0

    def __str__(self) -> str:
        view = f" (view {self.view})" if self.view else ""
        cached = f", no longer in the zone, but in caches until {date_text(self.until)}" if self.until else ""
        return f"{self.owner} in zone {self.zone}{view}: MX {', '.join(self.exchanges)}{cached}"


@dataclass(frozen=True)
class Found:
    """All MX records of gateways in a server's primary zones.

    Attributes:
        unplanned: The names without a route that have such records.
        cached: The names that had such records, with or without a route, while caches may have these.
        former: What to store for the next call.
        warnings: One for each zone that cannot be read.
    """

    unplanned: list[Unplanned]
    cached: list[Unplanned]
    former: dict[Key, Former]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Routes:
    """The domains and wildcards that gateways route, without those that a provider hosts. The longest decides."""

    planned: Collection[str]
    external: Collection[str] = ()

    @classmethod
    def of(cls, planned: Iterable[str], external: Iterable[str] = ()) -> Routes:
        """Return the routes of names in any case, with or without the final dot."""
        return cls(frozenset(map(_plain, planned)), frozenset(map(_plain, external)))

    def cover(self, owner: str) -> bool:
        """Return whether the gateways have a route for an owner name, its own or that of a wildcard above it."""
        labels = owner.split(".")
        for name in (owner, *(".".join(("*", *labels[number:])) for number in range(1, len(labels)))):
            if name in self.external:
                return False
            if name in self.planned:
                return True
        return False


def find_unplanned(
    bind: Bind,
    exchanges: Collection[str],
    routes: Routes,
    zones: Collection[str],
    *,
    earlier: Mapping[Key, Former] | None = None,
    now: int = 0,
) -> Found:
    """Return the MX records of gateways in all primary zones of a server, compared with the routes.

    Args:
        bind: The server.
        exchanges: The names of the gateways.
        routes: The names that the gateways have routes for.
        zones: The zones that must be readable.
        earlier: `former` of the previous call.
        now: The time in seconds since 1970.

    Raises:
        ZoneError: One of `zones` cannot be read.
    """
    gateways = frozenset(map(_plain, exchanges))
    required = frozenset(map(_plain, zones))
    present: dict[Key, Present] = {}
    unread: set[tuple[str, str]] = set()
    warnings: list[str] = []
    problems: list[str] = []
    for zone in bind.zones:
        if zone.kind not in PRIMARY or not zone.file or zone.name.endswith(".arpa"):
            continue
        try:
            present |= _present(zone, bind.dump(zone), gateways)
        except ZoneError as error:
            (problems if zone.name in required else warnings).extend(error.problems)
            unread.add((zone.name, zone.view))
    if problems:
        raise ZoneError(*problems)
    former = remember(earlier or {}, present, unread, now)
    return Found(
        sorted(Unplanned(*key, each.exchanges) for key, each in present.items() if not routes.cover(key[2])),
        sorted(
            Unplanned(*key, each.exchanges, each.until)
            for key, each in former.items()
            if key not in present and each.until > now
        ),
        former,
        warnings,
    )


def owners_of(records: Iterable[str], gateways: Collection[str]) -> dict[str, tuple[list[str], int]]:
    """Return the names with MX records of a gateway, from records in BIND's full form.

    Each has its gateways, and the time in seconds for which others may have the records when they have left: the TTL,
    and the zone's refresh interval for a secondary server that missed the change.
    """
    found: dict[str, tuple[list[str], int]] = {}
    refresh = 0
    for line in records:
        words = line.split()
        if words[3:4] == ["SOA"] and len(words) > _SOA_REFRESH:
            refresh = int(words[_SOA_REFRESH])
        if len(words) == _MX_WORDS and words[3] == "MX" and _plain(words[5]) in gateways:
            names, lifetime = found.setdefault(_plain(words[0]), ([], 0))
            found[_plain(words[0])] = ([*names, _plain(words[5])], max(lifetime, int(words[1])))
    return {owner: (names, lifetime + refresh) for owner, (names, lifetime) in found.items()}


def _present(zone: ServedZone, records: Iterable[str], gateways: Collection[str]) -> dict[Key, Present]:
    """Return the names of a zone with MX records of a gateway; a gateway itself takes mail for its own name."""
    return {
        (zone.name, zone.view, owner): Present(tuple(sorted(names)), lifetime)
        for owner, (names, lifetime) in owners_of(records, gateways).items()
        if owner not in gateways
    }


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def as_dict(found: Unplanned, routes: Routes) -> Mapping[str, object]:
    """Return a name as plain data."""
    return {
        "zone": found.zone,
        "view": found.view,
        "owner": found.owner,
        "exchanges": list(found.exchanges),
        "until": date_text(found.until) if found.until else "",
        "routed": routes.cover(found.owner),
        "text": str(found),
    }
