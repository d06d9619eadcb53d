# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The campus: checked facts, nothing derived."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from .names import Patterns, zone_of

KINDS = ("gateways", "borders", "dns", "servers")
# Servers and routers that others maintain: in the plan, but never logged in to.
OTHERS = {"servers": "destinations", "borders": "handed_borders"}
MTAS = ("sendmail", "postfix", "none")  # what runs on a server; "none": others maintain it
DELIVERIES = ("direct", "tiered")  # how gateways reach a final server; the first is the default
MIXED = "mixed"  # the delivery of a campus whose servers differ
METHODS = ("gateway", "split", "fallback")  # how MX records are made; the first is the default


@dataclass(frozen=True, slots=True)
class Permit:
    """Why port 25 of a host stays open to the outside, for whom, and until which day."""

    reason: str
    owner: str
    until: datetime.date


@dataclass(frozen=True, slots=True)
class EventDatabase:
    """The host on which the role event_database sets up the PostgreSQL of all gateways, and its port there."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class External:
    """A domain that a provider hosts. ``within`` is the campus's wildcard that it lies in, "" if in none.

    ``faculty`` is the one that lists it, "" for the whole campus.
    """

    domain: str
    within: str
    faculty: str


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the inventory. What does not apply to it is empty (``preference``: None).

    ``name`` is the inventory host name; ``exchange`` the full host name in A-labels, for MX records and greetings.
    ``faculty`` and ``hub`` are set for servers only; a hub is its own hub. ``domains`` are those whose final server
    it is, ``backup_domains`` those that it accepts while their final server is down, ``kept_domains`` those of its
    own whose MX records are not changed; ``kept_zones`` are those of a DNS server's ``zones`` in which no MX records
    are. ``asked_by_hub``: its recipients are verified at its hub. ``delivery`` is one of `DELIVERIES`.
    ``external_domains`` are hosted by a provider. ``mta`` is a server's one of `MTAS`, "" for what runs there;
    ``kept_routes`` are the domains for which its admin's own route stays. ``border_managed``: its rules are ours.
    """

    name: str
    exchange: str = ""
    kinds: tuple[str, ...] = ()
    address: str = ""
    address6: str = ""
    faculty: str = ""
    hub: str = ""
    domains: tuple[str, ...] = ()
    permit: Permit | None = None
    preference: int | None = None
    outside_interfaces: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    backup_domains: tuple[str, ...] = ()
    kept_domains: tuple[str, ...] = ()
    kept_zones: tuple[str, ...] = ()
    asked_by_hub: bool = False
    delivery: str = DELIVERIES[0]
    external_domains: tuple[str, ...] = ()
    mta: str = ""
    kept_routes: tuple[str, ...] = ()
    border_managed: bool = True

    @property
    def is_destination(self) -> bool:
        """Return whether it is a server that others maintain: it receives mail, and its settings are not planned."""
        return self.mta == "none" and "servers" in self.kinds

    @property
    def managed_kinds(self) -> tuple[str, ...]:
        """Return its kinds as groups of the playbooks: what others maintain has a kind of its own (`OTHERS`)."""
        others = {"servers"} if self.is_destination else set()
        others |= set() if self.border_managed else {"borders"}
        return tuple(OTHERS[kind] if kind in others else kind for kind in self.kinds)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the IPv4 address, then the IPv6 address, without empty ones."""
        return tuple(address for address in (self.address, self.address6) if address)

    @property
    def next_hop(self) -> str:
        """Return the address that mail is sent to: the IPv4 address, or the IPv6 address of a host without one."""
        return self.address or self.address6

    @property
    def families(self) -> str:
        """Return the IP versions of its addresses: "4", "6", "46" or ""."""
        return ("4" if self.address else "") + ("6" if self.address6 else "")

    @property
    def only_ipv6(self) -> bool:
        """Return whether it has an IPv6 address and no IPv4 address."""
        return bool(self.address6) and not self.address

    def has_family_of(self, address: str) -> bool:
        """Return whether it has an address of the same IP version as this one."""
        return bool(self.address6 if ":" in address else self.address)

    def shares_family(self, other: Host) -> bool:
        """Return whether both have an IPv4 address or both an IPv6 address."""
        return bool((self.address and other.address) or (self.address6 and other.address6))

    @property
    def behind_hub(self) -> bool:
        """Return whether the gateways deliver its mail to its hub, which may be the server itself."""
        return self.delivery == "tiered" and bool(self.hub)


def _inside(addresses: Iterable[str], networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    ips = [ipaddress.ip_address(address) for address in addresses]
    return any(ip in network for network in networks for ip in ips)


@dataclass(frozen=True)
class Campus:
    """All hosts, by inventory name and in inventory order, and the settings of the whole campus.

    ``retired`` are the domains that are about to leave: their MX records name their own servers, but they have routes.
    ``expire_permits``: the border itself closes a permit after its last day. ``event_database``: None without one.
    """

    name: str
    networks: tuple[str, ...]
    method: str
    language: str
    hosts: dict[str, Host] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    expire_permits: bool = False
    event_database: EventDatabase | None = None

    @cached_property
    def beyond_border(self) -> frozenset[str]:
        """Return the servers of others that are in none of the campus's networks, so that no border protects them."""
        networks = [ipaddress.ip_network(network) for network in self.networks]
        return frozenset(
            host.name
            for host in self.hosts.values()
            if networks and host.is_destination and not _inside(host.addresses, networks)
        )

    def of_kind(self, kind: str) -> list[Host]:
        """Return the hosts of one of `KINDS`, in inventory order."""
        return [host for host in self.hosts.values() if kind in host.kinds]

    @cached_property
    def delivery(self) -> str:
        """Return how the gateways reach all servers: one of `DELIVERIES`, or `MIXED`."""
        found = {server.delivery for server in self.of_kind("servers")}
        return MIXED if len(found) > 1 else next(iter(found), DELIVERIES[0])

    @cached_property
    def gateways(self) -> list[Host]:
        """Return the gateways in the order in which senders try them: by preference, then by name."""
        return sorted(self.of_kind("gateways"), key=lambda host: (host.preference or 0, host.name))

    @cached_property
    def permitted(self) -> list[Host]:
        """Return the hosts with a permit, by name."""
        return sorted((host for host in self.hosts.values() if host.permit), key=lambda host: host.name)

    def home_of(self) -> dict[str, Host]:
        """Return the final server of each mail domain, sorted by domain."""
        return self._homes

    @cached_property
    def _homes(self) -> dict[str, Host]:
        homes = {domain: host for host in self.hosts.values() for domain in host.domains}
        return dict(sorted(homes.items(), key=lambda item: item[0]))

    @cached_property
    def servers_of(self) -> dict[str, tuple[Host, ...]]:
        """Return the servers of each mail domain, sorted by domain: the final one, then backups in inventory order."""
        alone: dict[str, tuple[Host, ...]] = {host.name: (host,) for host in self.hosts.values() if host.domains}
        servers = {domain: alone[home.name] for domain, home in self._homes.items()}
        shared: dict[tuple[Host, ...], tuple[Host, ...]] = {}  # equal ones are one object
        for host in self.hosts.values():
            for domain in host.backup_domains:
                together = (*servers[domain], host)
                servers[domain] = shared.setdefault(together, together)
        return servers

    @cached_property
    def zones(self) -> frozenset[str]:
        """Return the zones of all DNS servers."""
        return frozenset(zone for server in self.of_kind("dns") for zone in server.zones)

    @cached_property
    def external(self) -> dict[str, External]:
        """Return the domains that a provider hosts, sorted."""
        faculties: dict[str, set[str]] = {}
        for host in self.hosts.values():
            for domain in host.external_domains:
                faculties.setdefault(domain, set()).add(host.faculty)
        wildcards = Patterns((domain, domain) for domain in self._homes if domain.startswith("*."))
        return {
            domain: External(
                domain,
                within=wildcards.find(domain.removeprefix("*.")) or "",
                faculty=next(iter(names)) if len(names) == 1 else "",
            )
            for domain, names in sorted(faculties.items())
        }

    @cached_property
    def kept(self) -> frozenset[str]:
        """Return the domains whose MX records are not changed."""
        kept = {domain for host in self.hosts.values() for domain in host.kept_domains}
        kept_zones = {zone for server in self.of_kind("dns") for zone in server.kept_zones}
        if kept_zones:
            kept.update(domain for domain in self._homes if zone_of(domain, self.zones) in kept_zones)
        return frozenset(kept)
