# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables, derived from the campus: delivery, STATIC, MX and border. Nothing else in the collection derives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ._host import OWN_STEP
from ._model import Campus, Host
from ._names import zone_of


@dataclass(frozen=True, slots=True)
class Route:
    """A line of the gateways' delivery table. ``via`` is the host that ``next_hop`` belongs to."""

    domain: str
    next_hop: str
    via: str
    home: str
    faculty: str


@dataclass(frozen=True, slots=True)
class Static:
    """A STATIC line: mail for ``domain`` goes to the address ``next_hop``, which is ``host``'s."""

    domain: str
    next_hop: str
    host: str


@dataclass(frozen=True, slots=True)
class MailTable:
    """What one sendmail delivers itself, passes on for others, and sends where."""

    local: tuple[str, ...]
    relay: tuple[str, ...]
    static: tuple[Static, ...]


@dataclass(frozen=True, slots=True)
class Mx:
    """One MX line of some owner name; ``exchange`` is a full host name without final dot."""

    preference: int
    exchange: str


@dataclass(frozen=True, slots=True)
class PermitEntry:
    """One address that the border leaves open, with the reason to print beside it."""

    host: str
    address: str
    reason: str
    owner: str
    until: str


@dataclass(frozen=True, slots=True)
class Border:
    """The port-25 rule of one router: into ``networks`` only ``gateways`` and ``permits`` are open."""

    outside_interface: str
    networks: tuple[str, ...]
    gateways: tuple[str, ...]
    permits: tuple[PermitEntry, ...]

    @property
    def open_addresses(self) -> frozenset[str]:
        """Return every address whose port 25 the outside can reach."""
        return frozenset((*self.gateways, *(permit.address for permit in self.permits)))


@dataclass(frozen=True)
class Tables:
    """All four tables: by domain, by host, by DNS server and zone, by router."""

    routes: tuple[Route, ...]
    sendmail: dict[str, MailTable] = field(default_factory=dict)
    mx: dict[str, dict[str, dict[str, tuple[Mx, ...]]]] = field(default_factory=dict)
    border: dict[str, Border] = field(default_factory=dict)


def derive(campus: Campus) -> Tables:
    """Return the tables of a checked campus."""
    homes = campus.home_of()
    routes = tuple(gateway_route(campus, domain, home) for domain, home in homes.items())
    ways = _Ways(campus, homes)
    sendmail = {
        host.name: ways.queue(routes) if "gateways" in host.kinds else ways.server(host)
        for host in campus.hosts.values()
        if "servers" in host.kinds or "gateways" in host.kinds
    }
    return Tables(
        routes=routes,
        sendmail=sendmail,
        mx=mx_by_server(campus, homes),
        border={host.name: border_of(campus, host) for host in campus.of_kind("borders")},
    )


def gateway_route(campus: Campus, domain: str, home: Host) -> Route:
    """Return the gateways' route: straight home, or to the home's hub when delivery is tiered and it has one."""
    via = campus.hosts[home.hub] if campus.delivery == "tiered" and home.hub else home
    return Route(domain, via.address, via.name, home.name, home.faculty)


class _Ways:
    """STATIC lines; equal lines are one object, because many servers share them."""

    def __init__(self, campus: Campus, homes: Mapping[str, Host]) -> None:
        self.campus = campus
        self.homes = homes
        self.made: dict[tuple[str, str], Static] = {}

    def line(self, domain: str, host: Host) -> Static:
        key = (domain, host.name)
        if key not in self.made:
            self.made[key] = Static(domain, host.address, host.name)
        return self.made[key]

    def queue(self, routes: tuple[Route, ...]) -> MailTable:
        """Return the table of a gateway's queue: it knows every domain and is home to none."""
        static = tuple(self.line(route.domain, self.campus.hosts[route.via]) for route in routes)
        return MailTable(local=(), relay=tuple(route.domain for route in routes), static=static)

    def server(self, host: Host) -> MailTable:
        """Return an inner server's table.

        A hub sends its own faculty's mail home and the rest to the other hubs. Any other server sends its own faculty's
        mail home and the rest to its hub, or, without one, as a hub would.
        """
        is_hub = host.hub == host.name
        static = tuple(
            self.line(domain, self._next(host, is_hub, home))
            for domain, home in self.homes.items()
            if home.name != host.name
        )
        relay = tuple(line.domain for line in static) if is_hub else ()
        return MailTable(local=tuple(sorted(host.domains)), relay=relay, static=static)

    def _next(self, host: Host, is_hub: bool, home: Host) -> Host:
        if is_hub and home.hub == host.name:
            return home
        if not is_hub and home.faculty == host.faculty:
            return home
        if not is_hub and host.hub:
            return self.campus.hosts[host.hub]
        return self.campus.hosts[home.hub] if home.hub else home


def mx_lines(campus: Campus, home: Host) -> tuple[Mx, ...]:
    """Return a domain's MX lines: each gateway by its preference, then the own server, 10 behind the last."""
    gateways = [Mx(gateway.preference or 0, gateway.exchange) for gateway in campus.gateways]
    own = max((line.preference for line in gateways), default=0) + OWN_STEP
    return (*gateways, Mx(own, home.exchange))


def mx_by_server(campus: Campus, homes: Mapping[str, Host]) -> dict[str, dict[str, dict[str, tuple[Mx, ...]]]]:
    """Return, for each DNS server and each zone in its order, the owner names in that zone with their MX lines.

    A domain belongs to the longest zone that it lies in, over all servers; a zone on several servers is told to each.
    """
    servers = campus.of_kind("dns")
    zones = frozenset(zone for server in servers for zone in server.zones)
    owners: dict[str, dict[str, tuple[Mx, ...]]] = {zone: {} for zone in zones}
    for domain, home in homes.items():
        zone = zone_of(domain, zones)
        if zone is not None:
            owners[zone][domain] = mx_lines(campus, home)
    return {server.name: {zone: owners[zone] for zone in server.zones} for server in servers}


def border_of(campus: Campus, router: Host) -> Border:
    """Return what one router must know; a host with two addresses has two permit entries."""
    permits = [
        PermitEntry(host.name, address, host.permit.reason, host.permit.owner, host.permit.until.isoformat())
        for host in campus.permitted
        if host.permit
        for address in host.addresses
    ]
    gateways = tuple(address for gateway in campus.gateways for address in gateway.addresses)
    return Border(router.outside_interface, campus.networks, gateways, tuple(permits))
