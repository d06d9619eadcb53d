# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The zones of a BIND: who is primary, which are dynamic, signed or in views, and what would prevent a change."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from .._bind.named_conf import PRIMARY, SECONDARY, ServedZone
from .._bind.server import Bind
from .._zone.file import ZoneError
from .reader import Reader

_SHOWN = 400
_BUILT_IN = re.compile(r"^(\.|localhost|.*\.in-addr\.arpa|.*\.ip6\.arpa)$")


def facts(reader: Reader, named_conf: str, zones: Sequence[str]) -> dict[str, Any]:
    """Return the zones of this server; `zones` are those of the inventory, which get an obstacle if there is one."""
    _status, out, _errors = reader.run(["named", "-V"])
    found: dict[str, Any] = {
        "version": match[1] if (match := re.search(r"^BIND (\S+)", out)) else "",
        "named_conf": named_conf,
        "zones": [],
        "views": [],
        "errors": [],
    }
    if not reader.find("named-checkconf"):
        if found["version"]:
            found["errors"].append("named-checkconf (package bind9-utils) is not installed")
        return found
    if not reader.exists(named_conf):
        found["errors"].append(f"{named_conf} does not exist")
        return found
    bind = Bind(reader.run, named_conf)
    try:
        served = bind.zones
    except ZoneError as error:
        found["errors"] += error.problems
        return found
    wanted = {zone.rstrip(".").lower() for zone in zones}
    shown = [zone for zone in served if zone.name in wanted or not _BUILT_IN.match(zone.name)]
    found["views"] = sorted({zone.view for zone in served if zone.view})
    found["zones"] = [_zone(bind, zone, wanted) for zone in shown[:_SHOWN]]
    found["hidden"] = max(0, len(shown) - _SHOWN)
    found["missing"] = sorted(wanted - {zone.name for zone in served})
    return found


def _zone(bind: Bind, zone: ServedZone, wanted: Collection[str]) -> dict[str, Any]:
    """Return one zone. Name servers are read for zones of the inventory only, as each read takes a moment."""
    obstacle, servers = "", []
    if zone.name in wanted:
        obstacle = bind.obstacle(zone)
        if zone.kind in PRIMARY and zone.file.startswith("/") and not zone.obstacles:
            servers = _name_servers(bind, zone)
    return {
        "name": zone.name,
        "view": zone.view,
        "kind": "primary" if zone.kind in PRIMARY else "secondary" if zone.kind in SECONDARY else zone.kind,
        "dynamic": zone.updates,
        "signed": zone.signed,
        "primaries": list(zone.primaries),
        "obstacle": obstacle,
        "name_servers": servers,
    }


def _name_servers(bind: Bind, zone: ServedZone) -> list[str]:
    """Return the NS records at the top of a zone."""
    try:
        records = [line.split() for line in bind.dump(zone)]
    except ZoneError:
        return []
    apex = f"{zone.name}."
    return sorted(
        {fields[4].rstrip(".").lower() for fields in records if fields[0].lower() == apex and fields[3:4] == ["NS"]}
    )
