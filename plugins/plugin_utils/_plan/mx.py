# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MX records by the three methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._inventory.host import OWN_STEP
from .._inventory.model import Campus, Host
from .._inventory.names import zone_of


@dataclass(frozen=True, slots=True)
class Mx:
    """One MX record of some owner name; ``exchange`` is a full host name without final dot."""

    preference: int
    exchange: str


# For each DNS server and each of its zones, the owner names with their records.
MxTables = dict[str, dict[str, dict[str, tuple[Mx, ...]]]]


class MxRecords:
    """The MX records of each domain; the same servers get the same tuple.

    * ``gateway``: the gateways by their preferences, then the own servers, 10 apart.
    * ``split``: the gateways alone in the external zone, `own` in the internal one.
    * ``fallback``: the own servers from 0, 10 apart, then the gateways in their order.

    Servers that no border protects are not named to external senders, who would reach them instead of the gateways.
    """

    def __init__(self, campus: Campus, method: str = "") -> None:
        self.method = method or campus.method
        self.gateways = [Mx(gateway.preference or 0, gateway.exchange) for gateway in campus.gateways]
        self.servers_of = campus.servers_of
        self.own_only = campus.kept | campus.retired
        self.beyond_border = campus.beyond_border
        self._own: dict[tuple[str, ...], tuple[Mx, ...]] = {}
        self._outside: dict[tuple[str, ...], tuple[Mx, ...]] = {}

    def own(self, domain: str) -> tuple[Mx, ...]:
        """Return the records without gateways, as they are before any of these methods: the own servers from 0."""
        servers = self.servers_of[domain]
        key = tuple(server.exchange for server in servers)
        if key not in self._own:
            self._own[key] = _in_steps(servers, 0)
        return self._own[key]

    def outside(self, domain: str) -> tuple[Mx, ...]:
        """Return what external senders find: the records of the method, or `own` of kept and retired domains."""
        if domain in self.own_only:
            return self.own(domain)
        servers = self.servers_of[domain]
        key = tuple(server.exchange for server in servers)
        if key not in self._outside:
            self._outside[key] = self._make(servers)
        return self._outside[key]

    def _make(self, servers: Sequence[Host]) -> tuple[Mx, ...]:
        gateways = self.gateways
        servers = [server for server in servers if server.name not in self.beyond_border]
        if self.method == "split" or not servers:
            return tuple(gateways)
        if self.method == "fallback":
            own = _in_steps(servers, 0)
            first = min((mx.preference for mx in gateways), default=0)
            after = own[-1].preference + OWN_STEP - first
            return (*own, *(Mx(mx.preference + after, mx.exchange) for mx in gateways))
        last = max((mx.preference for mx in gateways), default=0)
        return (*gateways, *_in_steps(servers, last + OWN_STEP))


def _in_steps(servers: Sequence[Host], first: int) -> tuple[Mx, ...]:
    return tuple(Mx(first + OWN_STEP * number, server.exchange) for number, server in enumerate(servers))


def mx_tables(campus: Campus) -> tuple[MxTables, MxTables]:
    """Return the records of the DNS servers' zones, and, for ``split``, of the external zones (else empty).

    A domain belongs to the longest zone that it lies in, over all servers; every server of a zone gets all of it.
    Domains that keep their MX records have no entry.
    """
    records = MxRecords(campus)
    split = campus.method == "split"
    zones: dict[str, list[str]] = {zone: [] for zone in campus.zones}
    for domain in campus.home_of():
        zone = zone_of(domain, campus.zones)
        if zone is not None and domain not in campus.kept:
            zones[zone].append(domain)
    inside = {
        zone: {domain: records.own(domain) if split else records.outside(domain) for domain in domains}
        for zone, domains in zones.items()
    }
    outside = (
        {zone: {domain: records.outside(domain) for domain in domains} for zone, domains in zones.items()}
        if split
        else None
    )
    return _by_server(campus, inside), _by_server(campus, outside) if outside is not None else {}


def _by_server(campus: Campus, zones: Mapping[str, dict[str, tuple[Mx, ...]]]) -> MxTables:
    return {server.name: {zone: zones[zone] for zone in server.zones} for server in campus.of_kind("dns")}
