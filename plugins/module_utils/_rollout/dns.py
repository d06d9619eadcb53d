# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an authoritative DNS server serves for the planned names, and what the other servers of its zones serve."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._bind.client import DNSPYTHON_ERROR, DnsClient
from .._bind.copies import copies
from .._bind.originals import Originals
from .._bind.server import Bind
from .._replace import make_directory, replace_all
from .._zone.file import ZoneError
from . import mx
from .mx import Key, Records, Switch

DEFAULT_TTL = 86400
"""The TTL that former records may have had if nothing is known of them: the longest that BIND's caches keep by default
is a week, but a day is the longest that zones of mail domains have in practice."""

_THREADS = 16


@dataclass
class Server:
    """A DNS server to look at.

    Attributes:
        bind: Its configuration.
        client: A client of it.
        exchanges: The names of the gateways.
        other_views: Views that may have other MX records.
        originals: The MX records before the first change.
        file: Where the times of changes are kept.
        port: The port of all DNS servers.
        timeout: Seconds for each answer of other servers.
    """

    bind: Bind
    client: DnsClient
    exchanges: Sequence[str]
    other_views: Sequence[str]
    originals: Originals
    file: Path
    port: int = 53
    timeout: float = 3.0
    _present: dict[Key, int] = field(default_factory=dict)
    _planned: dict[Key, int] = field(default_factory=dict)

    def look(self, zones: Sequence[Mapping[str, Any]], *, check_only: bool) -> list[dict[str, Any]]:
        """Return the state of each zone; times of changes are stored unless `check_only`."""
        if DNSPYTHON_ERROR:
            problem = "its MX records cannot be queried: dnspython (python3-dnspython) is not installed there"
            return [{"zone": zone["zone"], "problem": problem} for zone in zones]
        found = [self._zone(zone) for zone in zones]
        earlier = self._read()
        known = mx.observe(earlier, self._present, self._planned, int(time.time()))
        if not check_only and known != earlier:
            self._write(known)
        for zone in found:
            for owner in zone.get("owners", []):
                keys = [(zone["zone"], view, owner["owner"]) for view in owner["views"]]
                owner["until"] = max((known[key].until for key in keys if key in known), default=0)
        return found

    def _read(self) -> dict[Key, Switch]:
        """Return what was stored; nothing if it cannot be read, so that all changes count as made now."""
        try:
            return mx.read(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _write(self, known: Mapping[Key, Switch]) -> None:
        make_directory(self.file.parent)
        path = self.file.resolve()
        before = path.read_bytes() if path.exists() else None
        replace_all({path: before}, {path: mx.as_text(known).encode()})

    def _zone(self, zone: Mapping[str, Any]) -> dict[str, Any]:
        name = zone["zone"].rstrip(".").lower()
        try:
            views: dict[str, dict[str, Records] | None] = {
                copy.view: mx.with_ttl(self.bind.dump(copy)) for copy in copies(self.bind, name, self.other_views)
            }
            serial = self.client.soa(name, None)[0]
            # A query reaches one view only; without several views, it says what is served.
            owners = [self._owner(name, owner, views or {"": None}) for owner in zone["owners"]]
            return {"zone": name, "serial": serial, "owners": owners, "others": self._others(name, serial)}
        except ZoneError as error:
            return {"zone": name, "problem": "; ".join(error.problems)}

    def _owner(
        self, zone: str, owner: Mapping[str, Any], views: Mapping[str, Mapping[str, Records] | None]
    ) -> dict[str, Any]:
        name = owner["owner"].rstrip(".").lower()
        allowed = [frozenset(map(str.lower, records)) for records in owner["allowed"]]
        served = self._served(zone, name)
        states = []
        for view, copy in views.items():
            records = served if copy is None else copy.get(name, Records(frozenset(), 0))
            state = mx.compare(records, allowed, self.exchanges)
            states.append(state)
            key = zone, view, name
            if state == "planned":
                self._planned[key] = self._former_ttl(key)
            else:
                self._present[key] = records.ttl
        states.append(mx.compare(served, allowed, self.exchanges))
        worst = next(each for each in ("other", "former", "planned") if each in states)
        return {"owner": name, "state": worst, "mx": sorted(served.mx), "ttl": served.ttl, "views": list(views)}

    def _served(self, zone: str, owner: str) -> Records:
        return Records(*self.client.served_mx_ttl(zone, owner))

    def _former_ttl(self, key: Key) -> int:
        """Return the TTL before the first change, if it is known."""
        zone, view, name = key
        try:
            record = self.originals.zones().get((zone, view))
        except ValueError:
            return DEFAULT_TTL
        owner = record.owners.get(name) or record.owners.get(f"{name}.") if record else None
        if owner is None:
            return DEFAULT_TTL if record is None else 0  # planned records from the beginning
        return owner.ttl or 0

    def _others(self, zone: str, serial: int) -> list[dict[str, Any]]:
        """Return the other servers in the zone's NS records, each with its serial, None without an answer."""
        servers = [
            (name, address) for name, found in self.client.name_servers(zone).items() for address in found or [""]
        ]

        def ask(server: tuple[str, str]) -> dict[str, Any]:
            name, address = server
            found = DnsClient(address, self.port, self.timeout).served(zone) if address else None
            return {"server": name, "address": address, "serial": found, "equal": found == serial}

        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(ask, servers))
