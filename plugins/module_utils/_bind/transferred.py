# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Zones that a server transfers from another one: they change there, and this server must serve the result."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from .._zone.edit import Plan
from .._zone.exchanges import Target
from .._zone.file import Name, ZoneError
from .._zone.lines import Mx
from .._zone.serial import is_later
from .authority import Authority, ZoneRequest
from .client import DnsClient
from .named_conf import ServedZone
from .server import Bind

_POLL_SECONDS = 0.25
_NULL = frozenset({"0 ."})


@dataclass(slots=True)
class TransferredZone:
    """A secondary zone of which nothing changes here; `primary` is the host on which its records are changed."""

    zone: ServedZone
    plan: Plan
    primary: str
    serial_before: int
    changed: bool = False
    needs_reload: bool = False
    method: str = "transfer"
    null_mx: Sequence[Name] = ()
    ttls: Mapping[Name, int] = field(default_factory=dict)
    backups: Sequence[str] = ()
    replaced: Mapping[Name, Sequence[Mx]] = field(default_factory=dict)

    @property
    def serial_after(self) -> int:
        """The serial that is served now; that of the next transfer is not known."""
        return self.serial_before

    def targets(self, names: Collection[Name]) -> Mapping[Name, Target]:
        """Return nothing: the primary decides."""
        return {}

    def texts(self) -> Sequence[tuple[str, str, str]]:
        """Return nothing: no text changes."""
        return ()


def primary_of(zone: ServedZone, name: Name, authorities: Sequence[Authority]) -> str:
    """Return the host among the campus's DNS servers that a secondary zone is transferred from, or ""."""
    sources = {_plain(address) for address in zone.primaries}
    for authority in authorities:
        if name in authority.zones and sources & {_plain(address) for address in authority.addresses}:
            return authority.host
    return ""


def foreign(zone: ServedZone) -> str:
    """Return the problem of a secondary zone that is not transferred from a DNS server of the plan."""
    sources = f" of {', '.join(zone.primaries)}" if zone.primaries else ""
    return (
        f"this server has it as {zone.kind}{sources}, and no host of the inventory with this address has it in its "
        "mailgate_dns.zones, so its MX records cannot be changed. Add its primary server with mailgate_dns (and "
        "mailgate_address6, if the transfer uses IPv6). If you do not manage that server, list the zone in keep_mx of "
        "mailgate_dns, and have its MX records set there"
    )


def wait(
    bind: Bind,
    client: DnsClient,
    zones: Sequence[ZoneRequest],
    primaries: Mapping[str, str],
    *,
    timeout: float,
    servers: Mapping[str, DnsClient] | None = None,
) -> list[str]:
    """Have the server transfer zones, and wait until it serves the planned records; return a problem for each other.

    A query may be answered from another view. So a zone in a view is complete when its serial is that of its primary.

    Args:
        bind: The server.
        client: A client of it.
        zones: The zones with their planned records.
        primaries: The host that each zone is transferred from, for messages.
        timeout: Seconds for all zones.
        servers: A client of that host for each zone.
    """
    for zone in zones:
        bind.refresh(zone.name, zone.view)
    deadline = time.monotonic() + timeout
    while True:
        missing = {zone.name: _missing(bind, client, zone, (servers or {}).get(zone.name)) for zone in zones}
        if not any(missing.values()) or time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    return [
        f"zone {name}: this server does not serve {what}. It is transferred from "
        f"{primaries.get(name) or 'its primary'}: run this for that server too, "
        "check that it permits the transfer (allow-transfer, which BIND 9.20 requires), and see the log of both servers"
        for name, what in missing.items()
        if what
    ]


def _missing(bind: Bind, client: DnsClient, zone: ZoneRequest, server: DnsClient | None) -> str:
    """Return what the server does not serve yet of a zone, or ""."""
    if zone.view:
        here, there = bind.loaded_in(zone.name, zone.view), server.served(zone.name) if server else None
        late = here is None or there is None or is_later(there, here)
        return f"the serial of its primary in view {zone.view} ({here} instead of {there})" if late else ""
    for owner, records, _ttl in zone.owners:
        planned = frozenset(f"{preference} {to.rstrip('.').lower()}" for preference, to in records or ())
        try:
            found = client.served_mx(zone.name, owner)
        except ZoneError:
            return "the zone"
        if found not in {planned, _NULL}:
            return f"the planned MX records of {owner}"
    return ""


def _plain(address: str) -> str:
    """Return an address in its usual form, other text as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
