# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The domains and routes of a host, the same for each kind of mail server; and their validation."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, Protocol

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")


@dataclass(frozen=True)
class Route:
    """Mail for `domain` (a name or `*.suffix`) is delivered to `next_hop`, an IPv4 or IPv6 address; `host` names it.

    `next_hops`, if any, are all addresses in the order in which they are tried; `next_hop` is the first of them.
    `distance` is the number of hosts on the way to the final server, 1 if that is the next hop.
    """

    domain: str
    next_hop: str
    host: str = ""
    next_hops: tuple[str, ...] = ()
    distance: int = field(default=1, compare=False)

    @property
    def hops(self) -> tuple[str, ...]:
        """Return all addresses, in order."""
        return self.next_hops or (self.next_hop,)


class Table(Protocol):
    """The domains and routes of a host: a frozen dataclass with these fields.

    Attributes:
        local: The domains whose users are on this host; `*.suffix` is allowed.
        relay: The domains to which it relays for every client; `*.suffix` is allowed.
        routes: The routing table.
        external: Domains within a wildcard that a provider hosts; `*.suffix` is allowed.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def local(self) -> tuple[str, ...]:  # noqa: D102
        ...

    @property
    def relay(self) -> tuple[str, ...]:  # noqa: D102
        ...

    @property
    def routes(self) -> tuple[Route, ...]:  # noqa: D102
        ...

    @property
    def external(self) -> tuple[str, ...]:  # noqa: D102
        ...


def problems(table: Table) -> list[str]:
    """Return all problems of a normalized table, each with its fix."""
    found = [
        f"{kind}: '{d}' is not a valid domain; use A-labels such as mech.eng.univ.example, or *.suffix"
        for kind, domains in (
            ("local", table.local),
            ("relay", table.relay),
            ("routes", [r.domain for r in table.routes]),
            ("external", table.external),
        )
        for d in domains
        if not is_domain(d)
    ]
    ours = {*table.local, *table.relay, *(r.domain for r in table.routes)}
    found += [
        f"external: {d}: is also listed in local, relay or routes; remove it from one of them"
        for d in table.external
        if d in ours
    ]
    return found + _route_problems(table)


def _route_problems(table: Table) -> list[str]:
    """Return all problems of the routes."""
    found = []
    hops: dict[str, Route] = {}
    for route in table.routes:
        where = f"routes: {route.domain}" + (f" (server {route.host})" if route.host else "")
        for each in dict.fromkeys((route.next_hop, *route.next_hops)):
            if not is_address(each):
                found.append(
                    f"{where}: next hop '{each}' is not an IP address; for a name, the server would follow MX records"
                )
            elif ipaddress.ip_address(each).is_loopback:
                found.append(f"{where}: next hop {each} is a loopback address; mail would loop")
        if route.hops[0] != route.next_hop:
            found.append(f"{where}: next_hops starts with {route.hops[0]}, but next_hop is {route.next_hop}")
        if len(set(route.hops)) < len(route.hops):
            found.append(f"{where}: next_hops lists an address twice: {', '.join(route.hops)}")
        if route.domain in table.local:
            found.append(f"{where}: is also listed in local; remove it from one of the two")
        first = hops.setdefault(route.domain, route)
        if first.hops != route.hops:
            both = " and ".join(", ".join(each.hops) for each in (first, route))
            found.append(f"{where}: has two routes, to {both}; keep one, with all addresses in next_hops in order")
    return found


def own_addresses(table: Table) -> list[str]:
    """Return a problem for each next hop that is an address of this host: such mail would loop."""
    found = []
    for address in sorted({hop for r in table.routes for hop in r.hops}):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((address, 0))
        except OSError:
            continue
        domains = ", ".join(r.domain for r in table.routes if address in r.hops)
        found.append(f"routes: next hop {address} is an address of this host; mail would loop: {domains}")
    return found


def routes_in_order(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Return routes with canonical names and addresses, without duplicates, each parent before its subdomains."""
    canonical = {
        Route(
            canonical_name(r.domain),
            canonical_address(r.next_hop),
            r.host,
            tuple(map(canonical_address, r.next_hops)),
            r.distance,
        )
        for r in routes
    }
    return tuple(sorted(canonical, key=lambda r: (tree_key(r.domain), r.hops, r.host)))


def in_order(domains: Iterable[str]) -> list[str]:
    """Return domains in lower case, without duplicates, each parent before its subdomains."""
    return sorted({canonical_name(d) for d in domains}, key=tree_key)


def canonical_name(domain: str) -> str:
    """Return a domain in lower case without the final dot."""
    return domain.strip().lower().rstrip(".")


def is_wildcard(domain: str) -> bool:
    """Return whether a domain has the form `*.suffix`."""
    return domain.startswith("*.")


def is_domain(domain: str) -> bool:
    """Return whether a text is a domain of at least two labels, or `*.` and such a domain."""
    name = domain.removeprefix("*.")
    return len(name) <= 253 and "." in name and all(_LABEL.match(label) for label in name.split("."))


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def canonical_address(text: str) -> str:
    """Return an IP address in its canonical form; any other text stays."""
    return str(ipaddress.ip_address(text)) if is_address(text) else text


def tree_key(domain: str) -> tuple[str, ...]:
    """Return a sort key that puts each parent domain before its subdomains."""
    return tuple(reversed(domain.split(".")))
