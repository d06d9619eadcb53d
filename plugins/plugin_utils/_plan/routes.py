# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derive all tables from the campus: delivery, STATIC, MX, border. Nothing else in the collection derives a route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._inventory.model import Campus, Host
from .mx import Mx, MxTables, mx_tables
from .static import MailTable, Static, further_hops, mail_tables

__all__ = ["Border", "MailTable", "Mx", "PermitEntry", "Route", "Static", "Tables", "derive"]


@dataclass(frozen=True, slots=True)
class Route:
    """An entry of the gateways' delivery table. ``via`` is the host that ``next_hop`` belongs to.

    ``more`` are the addresses to try, in order, while that one does not answer. ``ask`` are the addresses of the
    domain's verification servers, in order; empty when they are the next hops themselves.
    """

    domain: str
    next_hop: str
    via: str
    home: str
    faculty: str
    more: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()

    @property
    def next_hops(self) -> tuple[str, ...]:
        """Return all addresses to deliver to, in order."""
        return (self.next_hop, *self.more)


@dataclass(frozen=True, slots=True)
class PermitEntry:
    """One address that the border leaves open, and the reason."""

    host: str
    address: str
    reason: str
    owner: str
    until: str


@dataclass(frozen=True, slots=True)
class Border:
    """The port-25 rule of one router: into ``networks`` only ``gateways`` and ``permits`` are open.

    A router that is not ``managed`` gets the rule from others, and may have no ``outside_interfaces`` here.
    """

    outside_interfaces: tuple[str, ...]
    networks: tuple[str, ...]
    gateways: tuple[str, ...]
    permits: tuple[PermitEntry, ...]
    expire_permits: bool = False
    managed: bool = True

    @property
    def open_addresses(self) -> frozenset[str]:
        """Return every address whose port 25 is reachable from outside."""
        return frozenset((*self.gateways, *(permit.address for permit in self.permits)))


@dataclass(frozen=True)
class Tables:
    """All tables: by domain, by host, by DNS server and zone, by router.

    ``mx`` is for the zones as they are; ``mx_outside`` for the external zones of ``split``, else empty.
    """

    routes: Sequence[Route]
    sendmail: Mapping[str, MailTable] = field(default_factory=dict)
    mx: MxTables = field(default_factory=dict)
    border: Mapping[str, Border] = field(default_factory=dict)
    mx_outside: MxTables = field(default_factory=dict)


def derive(campus: Campus) -> Tables:
    """Return the tables of a checked campus."""
    mx, mx_outside = mx_tables(campus)
    return Tables(
        routes=tuple(gateway_route(campus, domain, servers) for domain, servers in campus.servers_of.items()),
        sendmail=mail_tables(campus),
        mx=mx,
        border={host.name: border_of(campus, host) for host in campus.of_kind("borders")},
        mx_outside=mx_outside,
    )


def gateway_route(campus: Campus, domain: str, servers: Sequence[Host]) -> Route:
    """Return the gateways' route: the final server, or in tiered delivery its hub if it has one; then the backups."""
    home = servers[0]
    via = campus.hosts[home.hub] if home.behind_hub else home
    ask = () if via is home or home.asked_by_hub else tuple(server.next_hop for server in servers)
    return Route(domain, via.next_hop, via.name, home.name, home.faculty, further_hops(servers, via), ask)


def border_of(campus: Campus, router: Host) -> Border:
    """Return the rule of one router; a host with two addresses has two permit entries."""
    permits = [
        PermitEntry(host.name, address, host.permit.reason, host.permit.owner, host.permit.until.isoformat())
        for host in campus.permitted
        if host.permit and host.name not in campus.beyond_border
        for address in host.addresses
    ]
    gateways = tuple(address for gateway in campus.gateways for address in gateway.addresses)
    return Border(
        router.outside_interfaces,
        campus.networks,
        gateways,
        tuple(permits),
        campus.expire_permits,
        router.border_managed,
    )
