# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a sendmail host's files, from its table of routes: pure functions, no I/O.

Source: cf/README of sendmail 8.17 (MAILERTABLE, ACCESS DATABASE).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

HEADER = "# Made by campus.mailgate from the inventory; a change made here is lost at its next run.\n"
ACCESS_BEGIN = "# BEGIN campus.mailgate: domains this host relays to"
ACCESS_END = "# END campus.mailgate"

# `relay` is sendmail's ESMTP mailer that always keeps 8-bit data, so that no message is re-encoded on its way.
MAILER = "relay"

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_INTERVAL = re.compile(r"([0-9]+[smhdw])+\Z")
_ADDRESS = re.compile(r"[A-Za-z0-9._+-]+(@[A-Za-z0-9.-]+)?\Z")


@dataclass(frozen=True)
class Route:
    """Mail for `domain` (a name, or `*.suffix`) goes to `next_hop`, an IPv4 or IPv6 address; `host` names it.

    `next_hops`, if any, are all addresses in the order in which they are tried, `next_hop` the first of them.
    """

    domain: str
    next_hop: str
    host: str = ""
    next_hops: tuple[str, ...] = ()

    @property
    def hops(self) -> tuple[str, ...]:
        """Return all addresses, in order."""
        return self.next_hops or (self.next_hop,)


@dataclass(frozen=True)
class Listener:
    """An address and TCP port that the daemon listens on; `::` takes IPv4 too."""

    address: str
    port: int


@dataclass(frozen=True)
class Settings:
    """All that the files of one host are made from.

    `hostname` is the name it greets with ("" lets sendmail find out), `local` and `relay` are domains (`*.suffix`
    allowed), `queue_interval` is a sendmail time such as `10m`, `extra` are lines of m4 for sendmail.mc, `foreground`
    says that the daemon is to run under systemd's eyes (`-bD`).
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


def normal(settings: Settings) -> Settings:
    """Return `settings` with names in lower case, without duplicates, each parent domain before its children."""
    return Settings(
        hostname=settings.hostname.lower().rstrip("."),
        listen=settings.listen,
        local=tuple(in_order(settings.local)),
        relay=tuple(in_order(settings.relay)),
        routes=tuple(
            sorted(
                {
                    Route(_name(r.domain), _address(r.next_hop), r.host, tuple(map(_address, r.next_hops)))
                    for r in settings.routes
                },
                key=lambda r: (_tree(r.domain), r.hops, r.host),
            )
        ),
        queue_interval=settings.queue_interval,
        max_daemon_children=settings.max_daemon_children,
        double_bounce_address=settings.double_bounce_address,
        extra=settings.extra,
        foreground=settings.foreground,
    )


def problems(settings: Settings) -> list[str]:
    """Return everything that is wrong with normalised `settings`, each with the way to mend it; [] if all is well."""
    found = [
        f"{kind}: '{d}' is not a domain; give a name in A-labels such as mech.eng.univ.example, or *.suffix"
        for kind, domains in (
            ("local", settings.local),
            ("relay", settings.relay),
            ("routes", [r.domain for r in settings.routes]),
        )
        for d in domains
        if not _is_domain(d)
    ]
    return found + _route_problems(settings) + _listen_problems(settings.listen) + _option_problems(settings)


def _route_problems(settings: Settings) -> list[str]:
    found = []
    hops: dict[str, Route] = {}
    for route in settings.routes:
        where = f"routes: {route.domain}" + (f" (server {route.host})" if route.host else "")
        for each in dict.fromkeys((route.next_hop, *route.next_hops)):
            if not _is_address(each):
                found.append(f"{where}: next hop '{each}' is not an IP address; a name would be looked up by MX")
            elif ipaddress.ip_address(each).is_loopback:
                found.append(f"{where}: next hop {each} is this host itself; mail would loop")
        if route.hops[0] != route.next_hop:
            found.append(f"{where}: next_hops begin with {route.hops[0]}, not with next_hop, {route.next_hop}")
        if len(set(route.hops)) < len(route.hops):
            found.append(f"{where}: next_hops name an address twice: {', '.join(route.hops)}")
        if route.domain in settings.local:
            found.append(f"{where}: is local here too; remove it from one of the two")
        first = hops.setdefault(route.domain, route)
        if first.hops != route.hops:
            both = " and ".join(", ".join(each.hops) for each in (first, route))
            found.append(f"{where}: has two lines, to {both}; keep one, with next_hops in the order to try them")
    return found


def _listen_problems(listeners: tuple[Listener, ...]) -> list[str]:
    found = [] if listeners else ["listen: is empty; give at least one address and port"]
    for listener in listeners:
        if not _is_address(listener.address):
            found.append(f"listen: '{listener.address}' is not an IP address")
        if not 0 < listener.port < 65536:
            found.append(f"listen: {listener.port} is not a port; give 1 to 65535")
    return found


def _option_problems(settings: Settings) -> list[str]:
    found = []
    if settings.hostname and not _is_domain(settings.hostname):
        found.append(f"hostname: '{settings.hostname}' is not a full host name such as mail.eng.univ.example")
    if not _INTERVAL.match(settings.queue_interval):
        found.append(f"queue_interval: '{settings.queue_interval}' is not a sendmail time such as 10m or 1h30m")
    if settings.max_daemon_children < 1:
        found.append(f"max_daemon_children: {settings.max_daemon_children} would refuse all mail; give 1 or more")
    if settings.double_bounce_address and not _ADDRESS.match(settings.double_bounce_address):
        found.append(f"double_bounce_address: '{settings.double_bounce_address}' is not a mail address")
    return found


def static_route(settings: Settings) -> str:
    """Return the STATIC file as the CF package has it: `STATIC domain smtp:[address]`, `.suffix` for a wildcard.

    More addresses follow after colons, `[first]:[second]`: sendmail tries them in order.
    """
    head = HEADER + "# The routes of this host, to read and to print. sendmail reads the same table as mailertable.\n"
    return head + "".join(f"STATIC {_dotted(r.domain)} smtp:{hop(r)}\n" for r in _by_domain(settings.routes))


def mailertable(settings: Settings) -> str:
    """Return the mailertable: a line a route, and one for each local wildcard, which class w can't express."""
    lines = {_dotted(r.domain): f"{MAILER}:{hop(r)}" for r in settings.routes}
    lines |= {_dotted(d): "local:" for d in settings.local if _is_wildcard(d)}
    return HEADER + "".join(f"{k}\t{v}\n" for k, v in sorted(lines.items(), key=lambda kv: _tree(kv[0])))


def local_host_names(settings: Settings) -> str:
    """Return the file of class w: the domains whose users live here."""
    return HEADER + "".join(f"{d}\n" for d in settings.local if not _is_wildcard(d))


def access(current: str, settings: Settings) -> str:
    """Return the access file `current` with our block of `To:` lines in it; other lines stay as they are.

    `To:` lets anybody send *to* a domain. Class R (relay-domains) would also let each client with a name in that
    domain send anywhere, so it is left to the host's admin. A wildcard needs its line although it is local.
    """
    domains = in_order([*settings.relay, *(d for d in settings.local if _is_wildcard(d))])
    keys = dict.fromkeys(d.removeprefix("*.") for d in domains)
    block = "".join(f"{line}\n" for line in (ACCESS_BEGIN, *(f"To:{k}\tRELAY" for k in keys), ACCESS_END))
    ours = re.compile(rf"^{re.escape(ACCESS_BEGIN)}\n.*?^{re.escape(ACCESS_END)}\n", re.MULTILINE | re.DOTALL)
    if ours.search(current):
        return ours.sub(lambda _: block, current, count=1)
    if current and not current.endswith("\n"):
        current += "\n"
    return current + block


def conf(current: str, settings: Settings) -> str:
    """Return Debian's sendmail.conf `current` with the queue interval set; all else stays as it is."""
    line = f'QUEUE_INTERVAL="{settings.queue_interval}";'
    changed, count = re.subn(r"^QUEUE_INTERVAL=.*$", line, current, flags=re.MULTILINE)
    if count:
        return changed
    return (current if not current or current.endswith("\n") else current + "\n") + line + "\n"


def aliases(current: str, settings: Settings) -> str:
    """Return the aliases `current` with those added that must exist; an alias that exists stays as it is.

    Postmaster must be there in every domain (RFC 5321, section 4.5.1), and error messages name mailer-daemon as their
    author. A bare double-bounce address is sent to /dev/null: its mailbox would fill up with what nobody reads.
    """
    needed = {"postmaster": "root", "mailer-daemon": "postmaster"}
    if settings.double_bounce_address and "@" not in settings.double_bounce_address:
        needed.setdefault(settings.double_bounce_address, "/dev/null")
    existing = {name.lower() for name in re.findall(r"^[ \t]*([^#\s:]+)[ \t]*:", current, re.MULTILINE)}
    missing = [f"{name}: {target}\n" for name, target in needed.items() if name.lower() not in existing]
    if missing and current and not current.endswith("\n"):
        current += "\n"
    return current + "".join(missing)


def hop(route: Route) -> str:
    """Return a route's addresses as sendmail's mailers read them: in brackets, in order, with colons between."""
    return ":".join(f"[IPv6:{address}]" if ":" in address else f"[{address}]" for address in route.hops)


def in_order(domains: Iterable[str]) -> list[str]:
    """Return domains in lower case, each once, each parent before its children."""
    return sorted({_name(d) for d in domains}, key=_tree)


def map_entries(text: str) -> Mapping[str, str]:
    """Return the entries of a makemap source or of `makemap -u`: keys in lower case, as makemap folds them."""
    entries = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            key, *value = line.split(maxsplit=1)
            entries[key.lower()] = "".join(value).strip()
    return entries


def _name(domain: str) -> str:
    return domain.strip().lower().rstrip(".")


def _is_wildcard(domain: str) -> bool:
    return domain.startswith("*.")


def _is_domain(domain: str) -> bool:
    name = domain.removeprefix("*.")
    return len(name) <= 253 and "." in name and all(_LABEL.match(label) for label in name.split("."))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text)) if _is_address(text) else text


def _dotted(domain: str) -> str:
    return domain.removeprefix("*")


def _tree(domain: str) -> tuple[str, ...]:
    return tuple(reversed(domain.split(".")))


def _by_domain(routes: Iterable[Route]) -> list[Route]:
    return list({r.domain: r for r in routes}.values())
