# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a sendmail host: routes, local and relay domains, options; and their validation. Pure, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .._routes import table
from .._routes.table import Route, in_order, is_address, is_domain, routes_in_order

_INTERVAL = re.compile(r"([0-9]+[smhdw])+\Z")
_ADDRESS = re.compile(r"[A-Za-z0-9._+-]+(@[A-Za-z0-9.-]+)?\Z")


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
        routes=routes_in_order(settings.routes),
        queue_interval=settings.queue_interval,
        max_daemon_children=settings.max_daemon_children,
        double_bounce_address=settings.double_bounce_address,
        extra=settings.extra,
        foreground=settings.foreground,
        external=tuple(in_order(settings.external)),
    )


def problems(settings: Settings) -> list[str]:
    """Return all problems of normalized `settings`, each with its fix."""
    return table.problems(settings) + _listen_problems(settings.listen) + _option_problems(settings)


def _listen_problems(listeners: tuple[Listener, ...]) -> list[str]:
    """Return all problems of the addresses to listen on."""
    found = [] if listeners else ["listen: is empty; at least one address and port is required"]
    for listener in listeners:
        if not is_address(listener.address):
            found.append(f"listen: '{listener.address}' is not an IP address")
        if not 0 < listener.port < 65536:
            found.append(f"listen: {listener.port} is not a valid port; use 1 to 65535")
    return found


def _option_problems(settings: Settings) -> list[str]:
    """Return all problems of the other options."""
    found = []
    if settings.hostname and not is_domain(settings.hostname):
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
