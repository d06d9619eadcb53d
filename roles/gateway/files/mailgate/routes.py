# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery table: which next hops take a domain's mail, and who knows its recipients.

Addresses only: a name would be looked up by MX, which leads back to the gateway.
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

from mailgate.smtp.address import MAX_DOMAIN, is_domain

SMTP_PORT = 25
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_USUAL = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")  # a pattern that `_pattern` would leave as it is


class RoutesError(ValueError):
    """A table that is refused; `problems` names each bad line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, order=True)
class NextHop:
    """Address and port that mail is delivered to."""

    address: str
    port: int = SMTP_PORT

    def __str__(self) -> str:
        if self.port == SMTP_PORT:
            return self.address
        return f"[{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """A domain, or `*.suffix` for every name below it, and its next hops in order of preference.

    `ask` are the servers that know its recipients, where those are behind the next hops (a hub); else it is empty.
    """

    pattern: str
    next_hops: tuple[NextHop, ...]
    ask: tuple[NextHop, ...] = ()

    @property
    def asked(self) -> tuple[NextHop, ...]:
        """Who is asked about recipients."""
        return self.ask or self.next_hops


class Routes:
    """The table, looked up by domain: an exact entry first, then the longest matching `*.suffix`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_pattern = {route.pattern: route for route in routes}

    def __len__(self) -> int:
        return len(self._by_pattern)

    def __iter__(self) -> Iterator[Route]:
        return iter(sorted(self._by_pattern.values(), key=lambda route: route.pattern))

    def find(self, domain: str) -> Route | None:
        """Route of `domain` (ASCII, any case; no final dot), or None: the domain is not ours."""
        name = domain.lower()
        exact = self._by_pattern.get(name)
        if exact or name.startswith("["):
            return exact
        dot = name.find(".")
        while dot >= 0:
            wildcard = self._by_pattern.get(f"*{name[dot:]}")
            if wildcard:
                return wildcard
            dot = name.find(".", dot + 1)
        return None

    def render(self, style: str) -> str:
        """The table as `table`, `csv` or `json`, sorted by domain."""
        rows = [(route.pattern, list(map(str, route.next_hops)), list(map(str, route.asked))) for route in self]
        if style == "json":
            told = [{"domain": domain, "next_hops": hops, "ask": asked} for domain, hops, asked in rows]
            return json.dumps(told, indent=2) + "\n"
        if style == "csv":
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(["domain", "next_hops", "ask"])
            writer.writerows((domain, " ".join(hops), " ".join(asked)) for domain, hops, asked in rows)
            return out.getvalue()
        width = max((len(domain) for domain, _hops, _asked in rows), default=0)
        lines = []
        for domain, hops, asked in rows:
            asks = "" if asked == hops else f"  asks {', '.join(asked)}"
            lines.append(f"{domain:<{width}}  {', '.join(hops)}{asks}\n")
        return "".join(lines)


def parse_routes(text: str, *, own_addresses: Iterable[str] = (), source: str = "routes") -> Routes:
    """Parse `DOMAIN<TAB>NEXTHOP[,NEXTHOP][<TAB>ASK[,ASK]]` lines; empty lines and those that begin with # are skipped.

    A server is an IPv4 or IPv6 address, with another port as `[ADDRESS]:PORT`. One that is among
    `own_addresses`, or port 25 on loopback, would make a loop. Raises RoutesError with every problem.
    """
    # Nothing made here is garbage, and to look for some in a long table takes a third of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _parse(text, own_addresses, source)
    finally:
        if collects:
            gc.enable()


def _parse(text: str, own_addresses: Iterable[str], source: str) -> Routes:
    own = {_plain(ipaddress.ip_address(address)) for address in own_addresses}
    problems: list[str] = []
    routes: dict[str, Route] = {}
    checked: dict[str, tuple[tuple[NextHop, ...], tuple[NextHop, ...]]] = {}  # many domains share their servers
    usual = _USUAL.fullmatch
    for number, line in enumerate(text.splitlines(), start=1):
        domain, _tab, targets = line.partition("\t")
        # Most of a large table needs no more than this.
        if targets in checked and domain not in routes and usual(domain) and len(domain) <= MAX_DOMAIN:
            hops, ask = checked[targets]
            routes[domain] = Route(domain, hops, ask)
            continue
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{source}:{number}"
        route, said = _parse_line(line, own)
        if route and route.pattern in routes:
            said = [f"{route.pattern} has a second line; give all its next hops in one"]
        elif route:
            routes[route.pattern] = route
            if not said:
                checked[targets] = route.next_hops, route.ask
        problems += [f"{where}: {each}" for each in said]
    if not routes and not problems:
        problems.append(f"{source}: no route at all; every recipient would be refused")
    if problems:
        raise RoutesError(problems)
    return Routes(routes.values())


def _parse_line(line: str, own: Collection[str]) -> tuple[Route | None, list[str]]:
    """The route of a line, as far as it has one, and what is wrong with the line."""
    domain, *columns = line.rstrip().split("\t")
    if not 1 <= len(columns) <= 2 or not columns[0].strip():
        return None, [f"write DOMAIN<TAB>NEXTHOP[,NEXTHOP][<TAB>ASK[,ASK]], not {line!r}"]
    pattern = _pattern(domain.strip())
    if pattern is None:
        return None, [f"{domain.strip()!r} is neither a domain, *.domain nor an address in brackets"]
    problems = []
    found: list[tuple[NextHop, ...]] = []
    for targets, name, wrong in zip(
        columns, ("next hop", "server to ask"), ("mail would loop", "it would ask itself"), strict=False
    ):
        hops = []
        for target in targets.split(","):
            hop = _next_hop(target.strip())
            if hop is None:
                problems.append(f"{name} {target.strip()!r} must be an IP address or [ADDRESS]:PORT")
            elif hop.address in own or _is_here(hop):
                problems.append(f"{name} {hop} of {pattern} is a gateway's own address: {wrong}")
            else:
                hops.append(hop)
        found.append(tuple(hops))
    next_hops, ask = (*found, ())[:2]
    return Route(pattern, next_hops, () if ask == next_hops else ask), problems


def load_routes(path: Path, *, own_addresses: Iterable[str] = ()) -> Routes:
    """Read and parse the table; raises RoutesError, also for a file that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RoutesError([f"{path}: cannot be read: {error}"]) from error
    return parse_routes(text, own_addresses=own_addresses, source=str(path))


def _pattern(text: str) -> str | None:
    """The domain in lower-case A-labels, or None if it is none."""
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
    """Canonical text; an IPv4 address written as IPv6 is still that IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)


def _is_here(hop: NextHop) -> bool:
    address = ipaddress.ip_address(hop.address)
    return address.is_unspecified or address.is_multicast or (address.is_loopback and hop.port == SMTP_PORT)
