# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what contradicts the plan in an admin's configuration: pure functions, no I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .._routes.table import Route
from . import tables
from .resolver import FINAL, Answer
from .settings import Settings

#: The parameter that gives a domain its class.
PARAMETER = {
    "local": "mydestination",
    "virtual alias": "virtual_alias_domains",
    "virtual mailbox": "virtual_mailbox_domains",
    "relay": "relay_domains",
}


@dataclass
class Asked:
    """What an admin's configuration says about the planned domains, without our own lines.

    Attributes:
        answers: The answer for an address in each domain.
        entries: The domains with an entry of their own in a table of transport_maps: that table and the value.
        listed: The domains that relay_domains lists by name.
        clients: The services of master.cf that send by SMTP.
    """

    answers: Mapping[str, Answer]
    entries: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset(("smtp", "relay"))


def handled(domain: str, asked: Asked) -> bool:
    """Return whether the admin's configuration delivers the mail of a local domain on this host already."""
    answer = asked.answers[domain]
    if answer.kind in FINAL:
        return True
    return answer.kind == "relay" and domain in asked.entries and not _elsewhere(answer, asked)


def conflicts(planned: Settings, asked: Asked, taken: frozenset[str], where: Callable[[str, str], str]) -> list[str]:
    """Return a problem for each line that says something else of a planned domain.

    Args:
        planned: The domains and routes.
        asked: What the configuration says.
        taken: Domains whose entries in transport tables the plan overrides.
        where: Returns the line of a domain in the list of a parameter, or in a table, for messages.
    """
    found = {}
    for route in planned.routes:
        name, answer = route.domain, asked.answers[route.domain]
        wanted = f"{tables.key(name)} smtp:{tables.hop(route)}"
        if answer.kind in FINAL:
            found[name] = f"{where(name, PARAMETER[answer.kind])} delivers it here, the plan has {wanted!r}"
        elif name in asked.entries and not _same(asked.entries[name][1], route) and name not in taken:
            found[name] = f"{where(name, asked.entries[name][0])} contradicts the plan's {wanted!r}"
    for name in planned.relay:
        answer = asked.answers[name]
        if answer.kind in FINAL and name not in found:
            found[name] = f"{where(name, PARAMETER[answer.kind])} delivers it here, the plan only relays it"
    for name in planned.local:
        if handled(name, asked):
            continue
        if name in asked.entries:
            line = where(name, asked.entries[name][0])
            found[name] = f"{line} sends it elsewhere, the plan has its mailboxes on this host"
        elif name in asked.listed:
            found[name] = f"{where(name, 'relay_domains')} relays it, the plan has its mailboxes on this host"
    return [f"{name}: {text}" for name, text in found.items()]


def _same(value: str, route: Route) -> bool:
    """Return whether the value of a transport table is the next hops of a route."""
    service, _colon, nexthop = value.partition(":")
    hops = [hop.strip().removeprefix("[").removesuffix("]").lower().removeprefix("ipv6:") for hop in nexthop.split(",")]
    return service in ("smtp", "relay") and tuple(hops) == route.hops


def _elsewhere(answer: Answer, asked: Asked) -> bool:
    """Return whether mail leaves this host: by SMTP, and not to a loopback address."""
    if answer.transport not in asked.clients:
        return False
    host = answer.nexthop.partition("]")[0].removeprefix("[").lower()
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.partition(":")[0] != "localhost"
