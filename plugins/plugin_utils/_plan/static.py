# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""STATIC tables: the domains that each sendmail delivers locally, relays, and sends to a fixed next hop.

Every server has a line for nearly every domain, so the lines are shared: the table of a host is a view that needs
memory for its local domains only. This scales to many thousand servers and a million domains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

from .._inventory.model import MIXED, Campus, Host


@dataclass(frozen=True, slots=True)
class Static:
    """A STATIC line: mail for ``domain`` goes to the address ``next_hop``, which is ``host``'s.

    ``more`` are the addresses to try, in order, while that one does not answer.
    """

    domain: str
    next_hop: str
    host: str
    more: tuple[str, ...] = ()

    @property
    def next_hops(self) -> tuple[str, ...]:
        """Return all addresses to send to, in order."""
        return (self.next_hop, *self.more)


def further_hops(servers: Sequence[Host], first: Host) -> tuple[str, ...]:
    """Return the addresses of a domain's backups (all ``servers`` but the first), for mail sent to ``first``."""
    return tuple(server.next_hop for server in servers[1:] if server is not first) if len(servers) > 1 else ()


@dataclass(frozen=True, slots=True)
class MailTable:
    """Domains that one sendmail delivers locally and relays, and its STATIC lines; each sorted by domain."""

    local: tuple[str, ...]
    relay: Sequence[str]
    static: Sequence[Static]


class OtherDomains(Sequence[str]):
    """All domains of the campus but the local ones of a host."""

    def __init__(self, homes: Mapping[str, Host], own: frozenset[str]) -> None:
        self.homes = homes
        self.own = own

    def __len__(self) -> int:
        return len(self.homes) - len(self.own)

    def __iter__(self) -> Iterator[str]:
        own = self.own
        return (domain for domain in self.homes if domain not in own)

    def __contains__(self, domain: object) -> bool:
        return domain in self.homes and domain not in self.own

    @overload
    def __getitem__(self, index: int) -> str:
        """Return one domain."""

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]:
        """Return some domains."""

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return tuple(self)[index]


class SharedLines(Sequence[Static]):
    """The STATIC lines of a host: direct for domains of the servers in ``near``, as ``rest`` for the others.

    ``rest`` is one host that gets all of them, or the lines that many hosts share. ``own`` domains have no line.
    """

    def __init__(
        self,
        homes: Mapping[str, Host],
        direct: Mapping[str, Static],
        own: frozenset[str],
        near: frozenset[str],
        rest: Mapping[str, Static] | Host,
    ) -> None:
        self.homes = homes
        self.direct = direct
        self.own = own
        self.near = near
        self.rest = rest

    def __len__(self) -> int:
        return len(self.homes) - len(self.own)

    def __iter__(self) -> Iterator[Static]:
        return (line for line in map(self.line, self.homes) if line is not None)

    @overload
    def __getitem__(self, index: int) -> Static:
        """Return one line."""

    @overload
    def __getitem__(self, index: slice) -> Sequence[Static]:
        """Return some lines."""

    def __getitem__(self, index: int | slice) -> Static | Sequence[Static]:
        return tuple(self)[index]

    def line(self, domain: str) -> Static | None:
        """Return the line of a domain of the campus; None for a local one."""
        if domain in self.own:
            return None
        if self.homes[domain].name in self.near:
            return self.direct[domain]
        if isinstance(self.rest, Host):
            return Static(domain, self.rest.next_hop, self.rest.name)
        return self.rest[domain]

    def next_hop(self, domain: str) -> str:
        """Return the address of the first next hop, or "" for a local domain."""
        if domain in self.own:
            return ""
        if self.homes[domain].name in self.near:
            return self.direct[domain].next_hop
        return self.rest.next_hop if isinstance(self.rest, Host) else self.rest[domain].next_hop


def distance(tables: Mapping[str, MailTable], homes: Mapping[str, Host], static: Static) -> int:
    """Return the number of hosts on the way of a line to the final server: 1 if that is its next hop."""
    count, seen = 1, {static.host}
    line: Static | None = static
    while line is not None and line.host != homes[line.domain].name:
        lines = tables[line.host].static if line.host in tables else ()
        line = lines.line(line.domain) if isinstance(lines, SharedLines) else None
        if line is None or line.host in seen:
            break  # a backup, which accepts the domain itself; the proof refuses loops
        seen.add(line.host)
        count += 1
    return count


def mail_tables(campus: Campus) -> dict[str, MailTable]:
    """Return the table of every server but those that others maintain, and of every gateway's queue."""
    builder = _Builder(campus)
    return {
        host.name: builder.queue(host) if "gateways" in host.kinds else builder.server(host)
        for host in campus.hosts.values()
        if "gateways" in host.kinds or ("servers" in host.kinds and not host.is_destination)
    }


class _View:
    """The lines of all domains as hosts with the same address families send them: with 4, 6, or both ("46").

    Hosts with IPv4 send to IPv4 addresses where there are any. Backups that they do not reach are left out.
    """

    def __init__(self, campus: Campus, families: str) -> None:
        self.hosts: Mapping[str, Host] = campus.hosts
        servers_of: Mapping[str, tuple[Host, ...]] = campus.servers_of
        if families == "6":
            self.hosts = {
                name: replace(host, address="") if host.address6 else host for name, host in campus.hosts.items()
            }
        if families != "46":
            servers_of = {domain: self.reached(servers, families) for domain, servers in servers_of.items()}
        self.direct = {
            domain: Static(domain, servers[0].next_hop, servers[0].name, further_hops(servers, servers[0]))
            for domain, servers in servers_of.items()
        }
        self.by_hub = {
            domain: self.via_hub(domain, servers) or self.direct[domain] for domain, servers in servers_of.items()
        }

    def reached(self, servers: Sequence[Host], families: str) -> tuple[Host, ...]:
        """Return the final server of a domain, and those of its backups that have one of these families."""
        backups = (server for server in servers[1:] if set(families) & set(server.families))
        return tuple(self.hosts[server.name] for server in (servers[0], *backups))

    def via_hub(self, domain: str, servers: Sequence[Host]) -> Static | None:
        """Return the line to the hub of a domain's final server, if that hub is another host."""
        home = servers[0]
        if not home.hub or home.hub == home.name:
            return None
        hub = self.hosts[home.hub]
        return Static(domain, hub.next_hop, hub.name, further_hops(servers, hub))


class _Builder:
    def __init__(self, campus: Campus) -> None:
        self.campus = campus
        self.homes = campus.home_of()
        self.views: dict[str, _View] = {}
        self.queues: dict[_View, Mapping[str, Static]] = {}
        self.reached: dict[tuple[str, str], frozenset[str]] = {}
        self.mixed = any(host.only_ipv6 for host in campus.of_kind("servers"))
        hubs: dict[str, list[str]] = {}
        faculties: dict[str, list[str]] = {}
        for host in campus.of_kind("servers"):
            hubs.setdefault(host.hub, []).append(host.name)
            faculties.setdefault(host.faculty, []).append(host.name)
        self.of_hub = {hub: frozenset(names) for hub, names in hubs.items()}
        self.of_faculty = {faculty: frozenset(names) for faculty, names in faculties.items()}

    def view(self, host: Host) -> _View:
        """Return the lines as a host sends them; one view serves all if every server has an IPv4 address."""
        families = host.families if self.mixed else "46"
        if families not in self.views:
            self.views[families] = _View(self.campus, families)
        return self.views[families]

    def near(self, host: Host) -> frozenset[str]:
        """Return the servers that a server sends to directly; one with a hub only if they share an address family."""
        if host.hub == host.name:
            return self.of_hub[host.name]
        near = self.of_faculty[host.faculty]
        if not self.mixed or not host.hub:
            return near
        key = (host.faculty, host.families)
        if key not in self.reached:
            self.reached[key] = frozenset(n for n in near if host.shares_family(self.campus.hosts[n]))
        return self.reached[key]

    def queue(self, gateway: Host) -> MailTable:
        """Return the table of a gateway's queue, to which no domain is local."""
        none: frozenset[str] = frozenset()
        view = self.view(gateway)
        if view not in self.queues:
            self.queues[view] = self.by_delivery(view)
        lines = SharedLines(self.homes, view.direct, none, none, self.queues[view])
        return MailTable(local=(), relay=OtherDomains(self.homes, none), static=lines)

    def by_delivery(self, view: _View) -> Mapping[str, Static]:
        """Return the line of each domain as the gateways deliver it, directly or to the hub."""
        if self.campus.delivery == MIXED:
            return {d: (view.by_hub if home.behind_hub else view.direct)[d] for d, home in self.homes.items()}
        return view.by_hub if self.campus.delivery == "tiered" else view.direct

    def server(self, host: Host) -> MailTable:
        """Return an inner server's table.

        A hub sends mail of its own faculty to the final servers and the rest to the other hubs. Any other server sends
        mail of its own faculty to the final servers and the rest to its hub, or, without one, as a hub would.
        """
        own = frozenset((*host.domains, *host.backup_domains))
        is_hub = host.hub == host.name
        view = self.view(host)
        rest = view.by_hub if is_hub or not host.hub else view.hosts[host.hub]
        lines = SharedLines(self.homes, view.direct, own, self.near(host), rest)
        relay = OtherDomains(self.homes, own) if is_hub else ()
        return MailTable(local=tuple(sorted(own)), relay=relay, static=lines)
