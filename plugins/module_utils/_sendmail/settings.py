# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a sendmail host: routes, local and relay domains, options; and their validation. Pure, no I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_INTERVAL = re.compile(r"([0-9]+[smhdw])+\Z")
_ADDRESS = re.compile(r"[A-Za-z0-9._+-]+(@[A-Za-z0-9.-]+)?\Z")


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


@dataclass(frozen=True)
class Listener:
    """An address and TCP port that the daemon listens on; `::` accepts IPv4 too."""

    address: str
    port: int


@dataclass(frozen=True)
class Settings:
    """The settings from which all files of one host are generated.

    Attributes:
        hostname: The name in its SMTP greeting; with "" sendmail determines it.
        listen: Where the daemon listens.
        local: The domains whose users are on this host; `*.suffix` is allowed.
        relay: The domains to which it relays for every client; `*.suffix` is allowed.
        routes: The routing table.
        external: Domains within a wildcard that a provider hosts; `*.suffix` is allowed.
        queue_interval: The time between two queue runs, a sendmail time such as `10m`.
        max_daemon_children: The maximum number of daemon processes.
        double_bounce_address: The recipient of undeliverable bounces.
        extra: Lines of m4 for sendmail.mc.
        foreground: Whether systemd runs the daemon in the foreground (`-bD`).
    """

    hostname: str
    listen: tuple[Listener, ...]
    local: tuple[str, ...]
    relay: tuple[str, ...]
    routes: tuple[Route, ...]
    queue_interval: str = "10m"
    max_daemon_children: int = 60
    double_bounce_address: str = "nobody"
    extra: tuple[str, ...] = ()
    foreground: bool = False
    external: tuple[str, ...] = ()


def normalize(settings: Settings) -> Settings:
    """Return `settings` with names in lower case, without duplicates, each parent domain before its subdomains."""
    return Settings(
        hostname=settings.hostname.lower().rstrip("."),
        listen=settings.listen,
        local=tuple(in_order(settings.local)),
        relay=tuple(in_order(settings.relay)),
        routes=tuple(
            sorted(
                {
                    Route(_name(r.domain), _address(r.next_hop), r.host, tuple(map(_address, r.next_hops)), r.distance)
                    for r in settings.routes
                },
                key=lambda r: (tree_key(r.domain), r.hops, r.host),
            )
        ),
        queue_interval=settings.queue_interval,
        max_daemon_children=settings.max_daemon_children,
        double_bounce_address=settings.double_bounce_address,
        extra=settings.extra,
        foreground=settings.foreground,
        external=tuple(in_order(settings.external)),
    )


def problems(settings: Settings) -> list[str]:
    """Return all problems of normalized `settings`, each with its fix."""
    found = [
        f"{kind}: '{d}' is not a valid domain; use A-labels such as mech.eng.univ.example, or *.suffix"
        for kind, domains in (
            ("local", settings.local),
            ("relay", settings.relay),
            ("routes", [r.domain for r in settings.routes]),
            ("external", settings.external),
        )
        for d in domains
        if not _is_domain(d)
    ]
    ours = {*settings.local, *settings.relay, *(r.domain for r in settings.routes)}
    found += [
        f"external: {d}: is also listed in local, relay or routes; remove it from one of them"
        for d in settings.external
        if d in ours
    ]
    return found + _route_problems(settings) + _listen_problems(settings.listen) + _option_problems(settings)


def _route_problems(settings: Settings) -> list[str]:
    """Return all problems of the routes."""
    found = []
    hops: dict[str, Route] = {}
    for route in settings.routes:
        where = f"routes: {route.domain}" + (f" (server {route.host})" if route.host else "")
        for each in dict.fromkeys((route.next_hop, *route.next_hops)):
            if not _is_address(each):
                found.append(
                    f"{where}: next hop '{each}' is not an IP address; for a name, sendmail would follow MX records"
                )
            elif ipaddress.ip_address(each).is_loopback:
                found.append(f"{where}: next hop {each} is a loopback address; mail would loop")
        if route.hops[0] != route.next_hop:
            found.append(f"{where}: next_hops starts with {route.hops[0]}, but next_hop is {route.next_hop}")
        if len(set(route.hops)) < len(route.hops):
            found.append(f"{where}: next_hops lists an address twice: {', '.join(route.hops)}")
        if route.domain in settings.local:
            found.append(f"{where}: is also listed in local; remove it from one of the two")
        first = hops.setdefault(route.domain, route)
        if first.hops != route.hops:
            both = " and ".join(", ".join(each.hops) for each in (first, route))
            found.append(f"{where}: has two routes, to {both}; keep one, with all addresses in next_hops in order")
    return found


def _listen_problems(listeners: tuple[Listener, ...]) -> list[str]:
    """Return all problems of the addresses to listen on."""
    found = [] if listeners else ["listen: is empty; at least one address and port is required"]
    for listener in listeners:
        if not _is_address(listener.address):
            found.append(f"listen: '{listener.address}' is not an IP address")
        if not 0 < listener.port < 65536:
            found.append(f"listen: {listener.port} is not a valid port; use 1 to 65535")
    return found


def _option_problems(settings: Settings) -> list[str]:
    """Return all problems of the other options."""
    found = []
    if settings.hostname and not _is_domain(settings.hostname):
        found.append(
            f"hostname: '{settings.hostname}' is not a fully qualified host name such as mail.eng.univ.example"
        )
    if not _INTERVAL.match(settings.queue_interval):
        found.append(
            f"queue_interval: '{settings.queue_interval}' is not a valid sendmail time; use for example 10m or 1h30m"
        )
    if settings.max_daemon_children < 1:
        found.append(f"max_daemon_children: {settings.max_daemon_children} would reject all mail; use 1 or more")
    if settings.double_bounce_address and not _ADDRESS.match(settings.double_bounce_address):
        found.append(f"double_bounce_address: '{settings.double_bounce_address}' is not a valid mail address")
    return found


def in_order(domains: Iterable[str]) -> list[str]:
    """Return domains in lower case, without duplicates, each parent before its subdomains."""
    return sorted({_name(d) for d in domains}, key=tree_key)


def _name(domain: str) -> str:
    """Return a domain in lower case without the final dot."""
    return domain.strip().lower().rstrip(".")


def is_wildcard(domain: str) -> bool:
    """Return whether a domain has the form `*.suffix`."""
    return domain.startswith("*.")


def _is_domain(domain: str) -> bool:
    """Return whether a text is a domain of at least two labels, or `*.` and such a domain."""
    name = domain.removeprefix("*.")
    return len(name) <= 253 and "." in name and all(_LABEL.match(label) for label in name.split("."))


def _is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    """Return an IP address in its canonical form; any other text stays."""
    return str(ipaddress.ip_address(text)) if _is_address(text) else text


def tree_key(domain: str) -> tuple[str, ...]:
    """Return a sort key that puts each parent domain before its subdomains."""
    return tuple(reversed(domain.split(".")))
