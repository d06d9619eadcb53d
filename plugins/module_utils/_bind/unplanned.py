# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Names whose MX records lead to a gateway that has no route for them: their mail would be refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .._zone.file import ZoneError
from .named_conf import PRIMARY, ServedZone
from .server import Bind


@dataclass(frozen=True, slots=True, order=True)
class Unplanned:
    """A name without a route, the zone that has it, and the gateways that its MX records name."""

    zone: str
    view: str
    owner: str
    exchanges: tuple[str, ...]

    def __str__(self) -> str:
        view = f" (view {self.view})" if self.view else ""
        return f"{self.owner} in zone {self.zone}{view}: MX {', '.join(self.exchanges)}"


def find_unplanned(
    bind: Bind, exchanges: Collection[str], planned: Collection[str], zones: Collection[str]
) -> tuple[list[Unplanned], list[str]]:
    """Return the names without a route in all primary zones of a server, and a warning for each unreadable zone.

    Args:
        bind: The server.
        exchanges: The names of the gateways.
        planned: The domains and wildcards that the gateways have routes for.
        zones: The zones that must be readable.

    Raises:
        ZoneError: One of `zones` cannot be read.
    """
    gateways = frozenset(map(_plain, exchanges))
    routed = frozenset(map(_plain, planned))
    required = frozenset(map(_plain, zones))
    found: list[Unplanned] = []
    warnings: list[str] = []
    problems: list[str] = []
    for zone in bind.zones:
        if zone.kind not in PRIMARY or not zone.file or zone.name.endswith(".arpa"):
            continue
        try:
            records = bind.dump(zone)
        except ZoneError as error:
            (problems if zone.name in required else warnings).extend(error.problems)
            continue
        owners = owners_of(records, gateways)
        found += [_unplanned(zone, owner, names) for owner, names in owners.items() if not is_routed(owner, routed)]
    if problems:
        raise ZoneError(*problems)
    return sorted(each for each in found if each.owner not in gateways), warnings


def owners_of(records: Iterable[str], gateways: Collection[str]) -> dict[str, list[str]]:
    """Return the names with MX records of a gateway, each with its gateways, from records in BIND's full form."""
    found: dict[str, list[str]] = {}
    for line in records:
        words = line.split()
        if len(words) == 6 and words[3] == "MX" and _plain(words[5]) in gateways:
            found.setdefault(_plain(words[0]), []).append(_plain(words[5]))
    return found


def is_routed(owner: str, planned: Collection[str]) -> bool:
    """Return whether the gateways have a route for an owner name, its own or that of a wildcard above it."""
    if owner in planned:
        return True
    labels = owner.split(".")
    return any(".".join(("*", *labels[number:])) in planned for number in range(1, len(labels)))


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def _unplanned(zone: ServedZone, owner: str, names: Iterable[str]) -> Unplanned:
    return Unplanned(zone.name, zone.view, owner, tuple(sorted(names)))


def as_dict(found: Unplanned) -> Mapping[str, object]:
    """Return a name without a route as plain data."""
    return {"zone": found.zone, "view": found.view, "owner": found.owner, "exchanges": list(found.exchanges)}
