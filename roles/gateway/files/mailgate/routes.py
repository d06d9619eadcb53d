# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery table: the next hops of each domain, and the servers that verify its recipients.

Servers are addresses only: a name would be resolved by its MX records, which lead back to the gateway.
"""

from __future__ import annotations

import csv
import gc
import io
import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mailgate.errors import Invalid
from mailgate.smtp.address import MAX_DOMAIN, is_domain

SMTP_PORT = 25
EXTERNAL = "-"  # in place of the next hops: the domain is hosted elsewhere
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_USUAL = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")  # already in the form that `_pattern` returns


class RoutesError(Invalid):
    """Invalid delivery table; `problems` lists every problem with its line."""


@dataclass(frozen=True, order=True)
class NextHop:
    """IP address and port of a server."""

    address: str
    port: int = SMTP_PORT

    def __str__(self) -> str:
        if self.port == SMTP_PORT:
            return self.address
        return f"[{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """A domain, or `*.suffix` for every name below it, and its next hops in order of preference.

    Without next hops it is an external domain, which a wildcard's route does not apply to.
    `verify_at` lists the servers that verify its recipients if they are behind the next hops (a hub); else it is empty.
    """

    pattern: str
    next_hops: tuple[NextHop, ...]
    verify_at: tuple[NextHop, ...] = ()

    @property
    def verification_servers(self) -> tuple[NextHop, ...]:
        """Servers that verify recipients."""
        return self.verify_at or self.next_hops


class Routes:
    """Delivery table, searched by domain: an exact entry first, then the longest matching `*.suffix`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_pattern = {route.pattern: route for route in routes}
        self._has_wildcards = any(pattern.startswith("*.") for pattern in self._by_pattern)
        self._delivered = [route for route in self._by_pattern.values() if route.next_hops]

    def __len__(self) -> int:
        return len(self._delivered)

    def __iter__(self) -> Iterator[Route]:
        return iter(sorted(self._delivered, key=lambda route: route.pattern))

    def find(self, domain: str) -> Route | None:
        """Return the route of `domain` (ASCII, any case, no final dot), or None if it has none or is external."""
        route = self._match(domain)
        return route if route and route.next_hops else None

    def _match(self, domain: str) -> Route | None:
        name = domain.lower()
        exact = self._by_pattern.get(name)
        if exact or not self._has_wildcards or name.startswith("["):
            return exact
        dot = name.find(".")
        while dot >= 0:
            wildcard = self._by_pattern.get(f"*{name[dot:]}")
            if wildcard:
                return wildcard
            dot = name.find(".", dot + 1)
        return None

    def render(self, style: str) -> str:
        """Return the table as `table`, `csv` or `json`, sorted by domain."""
        rows = [
            (route.pattern, list(map(str, route.next_hops)), list(map(str, route.verification_servers)))
            for route in self
        ]
        if style == "json":
            objects = [{"domain": domain, "next_hops": hops, "ask": servers} for domain, hops, servers in rows]
            return json.dumps(objects, indent=2) + "\n"
        if style == "csv":
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(["domain", "next_hops", "ask"])
            writer.writerows((domain, " ".join(hops), " ".join(servers)) for domain, hops, servers in rows)
            return out.getvalue()
        width = max((len(domain) for domain, _hops, _servers in rows), default=0)
        lines = []
        for domain, hops, servers in rows:
            verified = "" if servers == hops else f"  verified by {', '.join(servers)}"
            lines.append(f"{domain:<{width}}  {', '.join(hops)}{verified}\n")
        return "".join(lines)


def parse_routes(text: str, *, own_addresses: Iterable[str] = (), source: str = "routes") -> Routes:
    """Parse lines `DOMAIN<TAB>NEXTHOP[,NEXTHOP][<TAB>SERVER[,SERVER]]`; skip empty lines and those that begin with #.

    `DOMAIN<TAB>-` is an external domain: it has no route, although a `*.suffix` matches it.

    Args:
        text: The table. A server is an IP address, or `[ADDRESS]:PORT` for another port than 25.
        own_addresses: Addresses of the gateways. A server among them, or on port 25 of loopback, would be a loop.
        source: Name of the table in messages.

    Raises:
        RoutesError: The table is invalid; it lists every problem.
    """
    # Parsing creates no garbage, and collecting it would take a third of the time for a long table.
    enabled = gc.isenabled()
    gc.disable()
    try:
        return _parse(text, own_addresses, source)
    finally:
        if enabled:
            gc.enable()


def _parse(text: str, own_addresses: Iterable[str], source: str) -> Routes:
    own = {_plain(ipaddress.ip_address(address)) for address in own_addresses}
    problems: list[str] = []
    routes: dict[str, Route] = {}
    checked: dict[str, tuple[tuple[NextHop, ...], tuple[NextHop, ...]]] = {}  # many domains share their servers
    usual = _USUAL.fullmatch
    for number, line in enumerate(text.splitlines(), start=1):
        domain, _tab, targets = line.partition("\t")
        # Fast path for most lines of a large table.
        if targets in checked and domain not in routes and usual(domain) and len(domain) <= MAX_DOMAIN:
            hops, verify_at = checked[targets]
            routes[domain] = Route(domain, hops, verify_at)
            continue
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{source}:{number}"
        route, found = _parse_line(line, own)
        if route and route.pattern in routes:
            found = [f"{route.pattern} is already defined; put all its next hops in one line"]
        elif route:
            routes[route.pattern] = route
            if not found:
                checked[targets] = route.next_hops, route.verify_at
        problems += [f"{where}: {each}" for each in found]
    if not problems and not any(route.next_hops for route in routes.values()):
        problems.append(f"{source}: contains no routes; every recipient would be refused")
    if problems:
        raise RoutesError(problems)
    return Routes(routes.values())


def _parse_line(line: str, own: Collection[str]) -> tuple[Route | None, list[str]]:
    """Return the route of a line, or None if it has none, and the problems of the line."""
    domain, *columns = line.rstrip().split("\t")
    if not 1 <= len(columns) <= 2 or not columns[0].strip():
        return None, [f"{line!r} is not valid; expected DOMAIN<TAB>NEXTHOP[,NEXTHOP][<TAB>SERVER[,SERVER]]"]
    pattern = _pattern(domain.strip())
    if pattern is None:
        return None, [f"{domain.strip()!r} is not a valid domain, *.domain or address in brackets"]
    if columns == [EXTERNAL]:
        return Route(pattern, ()), []
    problems = []
    found: list[tuple[NextHop, ...]] = []
    for targets, name, effect in zip(
        columns,
        ("next hop", "verification server"),
        ("mail would loop", "it would verify with itself"),
        strict=False,
    ):
        hops = []
        for target in targets.split(","):
            hop = _next_hop(target.strip())
            if hop is None:
                problems.append(f"{name} {target.strip()!r} is not a valid IP address or [ADDRESS]:PORT")
            elif hop.address in own or _is_local(hop):
                problems.append(f"{name} {hop} of {pattern} is a gateway's own address: {effect}")
            else:
                hops.append(hop)
        found.append(tuple(hops))
    next_hops, verify_at = (*found, ())[:2]
    return Route(pattern, next_hops, () if verify_at == next_hops else verify_at), problems


def load_routes(path: Path, *, own_addresses: Iterable[str] = ()) -> Routes:
    """Read and parse the table; raise RoutesError if it cannot be read or is invalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RoutesError([f"{path}: cannot be read: {error}"]) from error
    return parse_routes(text, own_addresses=own_addresses, source=str(path))


def _pattern(text: str) -> str | None:
    """Return the domain in lower-case A-labels, or None if it is not valid."""
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if not star and name.startswith("[") and name.endswith("]"):
        try:
            literal = ipaddress.ip_address(name[1:-1].removeprefix("IPv6:"))
        except ValueError:
            return None
        return f"[{literal}]" if literal.version == 4 else f"[ipv6:{literal}]"
    try:
        name = name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return star + name if is_domain(name) else None


def _next_hop(text: str) -> NextHop | None:
    address, port = text, str(SMTP_PORT)
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") if bracket and port else str(SMTP_PORT)
    try:
        number = int(port)
        if not 0 < number < 65536:
            return None
        return NextHop(_plain(ipaddress.ip_address(address)), number)
    except ValueError:
        return None


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return the canonical text of an address; IPv4-mapped IPv6 addresses become IPv4."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)


def _is_local(hop: NextHop) -> bool:
    address = ipaddress.ip_address(hop.address)
    return address.is_unspecified or address.is_multicast or (address.is_loopback and hop.port == SMTP_PORT)
