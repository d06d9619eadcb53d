# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a Postfix host. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .._routes.table import Route, in_order, is_wildcard, routes_in_order


@dataclass(frozen=True)
class Settings:
    """The domains and routes of one host.

    Attributes:
        local: The domains whose users are on this host; `*.suffix` is allowed.
        relay: The domains to which it relays for every client; `*.suffix` is allowed.
        routes: The routing table.
        external: Domains within a wildcard that a provider hosts; `*.suffix` is allowed.
    """

    local: tuple[str, ...] = ()
    relay: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    external: tuple[str, ...] = ()

    @property
    def domains(self) -> list[str]:
        """Return all domains, each parent before its subdomains."""
        return in_order([*self.local, *self.relay, *self.external, *(r.domain for r in self.routes)])


def normalize(settings: Settings) -> Settings:
    """Return `settings` with names in lower case, without duplicates, each parent domain before its subdomains."""
    return Settings(
        local=tuple(in_order(settings.local)),
        relay=tuple(in_order(settings.relay)),
        routes=routes_in_order(settings.routes),
        external=tuple(in_order(settings.external)),
    )


def without(settings: Settings, domains: Iterable[str]) -> Settings:
    """Return `settings` without these domains: an admin's own lines decide what happens to their mail."""
    left = set(in_order(domains))
    return replace(
        settings,
        local=tuple(d for d in settings.local if d not in left),
        relay=tuple(d for d in settings.relay if d not in left),
        routes=tuple(r for r in settings.routes if r.domain not in left),
    )


def covers(domain: str, name: str) -> bool:
    """Return whether a name is a domain, or lies in a domain `*.suffix`."""
    return name.endswith(domain[1:]) and len(name) >= len(domain) if is_wildcard(domain) else name == domain
