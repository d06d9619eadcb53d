# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MX lines by the three methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._inventory.host import OWN_STEP
from .._inventory.model import Campus, Host
from .._inventory.names import zone_of


@dataclass(frozen=True, slots=True)
class Mx:
    """One MX line of some owner name; ``exchange`` is a full host name without final dot."""

    preference: int
    exchange: str


# For each DNS server and each of its zones, the owner names with their lines.
MxTables = dict[str, dict[str, dict[str, tuple[Mx, ...]]]]


class MxLines:
    """Makes a domain's MX lines; the same servers get the same tuple.

    * ``gateway``: the gateways by their preferences, then the own servers, 10 apart.
    * ``split``: outside the gateways alone; inside the own servers, as `own`.
    * ``fallback``: the own servers from 0, 10 apart, then the gateways in their order.
    """

    def __init__(self, campus: Campus, method: str = "") -> None:
        self.method = method or campus.method
        self.gateways = [Mx(gateway.preference or 0, gateway.exchange) for gateway in campus.gateways]
        self.servers_of = campus.servers_of
        self.kept = campus.kept
        self._own: dict[tuple[str, ...], tuple[Mx, ...]] = {}
        self._outside: dict[tuple[str, ...], tuple[Mx, ...]] = {}

    def own(self, domain: str) -> tuple[Mx, ...]:
        """Return the lines without gateways, as they are before any of these methods: the own servers from 0."""
        servers = self.servers_of[domain]
        key = tuple(server.exchange for server in servers)
        if key not in self._own:
            self._own[key] = _in_steps(servers, 0)
        return self._own[key]

    def outside(self, domain: str) -> tuple[Mx, ...]:
        """Return what senders outside find: the method's lines, or `own` where the MX is kept."""
        if domain in self.kept:
            return self.own(domain)
        servers = self.servers_of[domain]
        key = tuple(server.exchange for server in servers)
        if key not in self._outside:
            self._outside[key] = self._make(servers)
        return self._outside[key]

    def _make(self, servers: Sequence[Host]) -> tuple[Mx, ...]:
        gateways = self.gateways
        if self.method == "split":
            return tuple(gateways)
        if self.method == "fallback":
            own = _in_steps(servers, 0)
            first = min((line.preference for line in gateways), default=0)
            after = own[-1].preference + OWN_STEP - first
            return (*own, *(Mx(line.preference + after, line.exchange) for line in gateways))
        last = max((line.preference for line in gateways), default=0)
        return (*gateways, *_in_steps(servers, last + OWN_STEP))


def _in_steps(servers: Sequence[Host], first: int) -> tuple[Mx, ...]:
    return tuple(Mx(first + OWN_STEP * number, server.exchange) for number, server in enumerate(servers))


def mx_tables(campus: Campus) -> tuple[MxTables, MxTables]:
    """Return what stands in the DNS servers' zones, and, for ``split``, in the copy for outside (else empty).

    A domain belongs to the longest zone that it lies in, over all servers; a zone on several servers is told to each.
    Domains that keep their MX have no entry.
    """
    lines = MxLines(campus)
    split = campus.method == "split"
    zones: dict[str, list[str]] = {zone: [] for zone in campus.zones}
    for domain in campus.home_of():
        zone = zone_of(domain, campus.zones)
        if zone is not None and domain not in campus.kept:
            zones[zone].append(domain)
    inside = {
        zone: {domain: lines.own(domain) if split else lines.outside(domain) for domain in domains}
        for zone, domains in zones.items()
    }
    outside = (
        {zone: {domain: lines.outside(domain) for domain in domains} for zone, domains in zones.items()}
        if split
        else None
    )
    return _by_server(campus, inside), _by_server(campus, outside) if outside is not None else {}


def _by_server(campus: Campus, zones: Mapping[str, dict[str, tuple[Mx, ...]]]) -> MxTables:
    return {server.name: {zone: zones[zone] for zone in server.zones} for server in campus.of_kind("dns")}
