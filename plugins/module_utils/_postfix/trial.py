# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as tables of one Postfix host, and the tests that they must pass: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .._routes.table import is_wildcard
from . import tables
from .conflicts import Asked, handled
from .known import Known, probe
from .resolver import FINAL, Answer
from .settings import Settings, covers

TRANSPORT, TAKEN = "mailgate-transport", "mailgate-transport-taken"
LOCAL, RELAY, RECIPIENTS = "mailgate-local-domains", "mailgate-relay-domains", "mailgate-relay-recipients"
#: All tables, in the order in which they are written.
TABLES = (TRANSPORT, TAKEN, LOCAL, RELAY, RECIPIENTS)
#: The parameter and the type of each table.
_USE = {
    TRANSPORT: ("transport_maps", "texthash"),
    TAKEN: ("transport_maps", "regexp"),
    LOCAL: ("mydestination", "regexp"),
    RELAY: ("relay_domains", "regexp"),
    RECIPIENTS: ("relay_recipient_maps", "regexp"),
}
PARAMETERS = tuple(dict.fromkeys(parameter for parameter, _type in _USE.values()))


@dataclass(frozen=True)
class Base:
    """What an admin's configuration says, without our own lines.

    Attributes:
        asked: Its answers for the planned domains.
        known: What it handles.
        answers: Its answers for all addresses that are asked about.
        foreign: Its answer for a domain of nobody.
        values: The expanded values of its parameters.
        service: The SMTP client in master.cf.
    """

    asked: Asked
    known: Known
    answers: Mapping[str, Answer]
    foreign: Answer
    values: Mapping[str, str]
    service: str = "smtp"


@dataclass(frozen=True)
class Files:
    """The content of our tables by name, without those that are not needed, and what main.cf needs for them."""

    content: Mapping[str, str]
    additions: Mapping[str, str] = field(default_factory=dict)


def files(settings: Settings, base: Base, taken: Iterable[str]) -> Files:
    """Return our tables for these settings."""
    local = [d for d in settings.local if not (d in base.asked.answers and handled(d, base.asked))]
    relay = [d for d in settings.relay if d not in settings.local and not _relayed(d, base)]
    over = [r for r in settings.routes if r.domain in set(taken) and r.domain in base.asked.entries]
    content = {TRANSPORT: tables.transport(settings.routes, _others(settings, local, base), base.service)}
    if over:
        content[TAKEN] = tables.taken(over, base.service)
    if local:
        # A wildcard is not local for a name that the plan sends elsewhere, or that has another class already.
        elsewhere = {*settings.external, *settings.relay, *(r.domain for r in settings.routes)}
        elsewhere |= {n for n in base.known.names if base.answers[probe(n)].kind not in ("local", "other")}
        content[LOCAL] = tables.domain_set(local, elsewhere)
    if relay:
        content[RELAY] = tables.domain_set(relay, settings.external)
        if base.values.get("relay_recipient_maps"):
            content[RECIPIENTS] = tables.domain_set(relay, settings.external, before="@")
    additions: dict[str, list[str]] = {}
    for name in content:
        parameter, kind = _USE[name]
        additions.setdefault(parameter, []).append(f"{kind}:$config_directory/{name}")
    return Files(content, {parameter: " ".join(each) for parameter, each in additions.items()})


def failures(settings: Settings, base: Base, new: Mapping[str, Answer], made: Files) -> list[str]:
    """Return what is wrong with the answers of the new configuration, by the addresses of `base.answers`."""
    found = []
    routes = {r.domain: r for r in settings.routes}
    ours = {
        *tables.domains_of(made.content.get(LOCAL, "")),
        *tables.domains_of(made.content.get(RELAY, "")),
    }
    for address, before in base.answers.items():
        after, name = new[address], address.rpartition("@")[2]
        domain = next((d for d in settings.domains if not is_wildcard(d) and d == name), "")
        wild = [d for d in settings.domains if is_wildcard(d) and covers(d, name)]
        key = domain or (max(wild, key=len) if wild else "")
        route, exact = routes.get(key), bool(domain) or name == key.replace("*", "mailgate-probe", 1)
        if route and after.transport == base.service and after.nexthop == tables.hop(route) and after.kind not in FINAL:
            continue
        if after == before and not (route and exact and not _more_specific(address, base)):
            if exact and key in settings.local and after.kind not in FINAL and not handled(key, base.asked):
                found.append(f"{address}: expected a local domain, got {after}")
            continue
        if not route and key in ours and before.kind not in FINAL and after.kind != "other":
            continue
        expected = f"{base.service}:{tables.hop(route)}" if route else str(before)
        found.append(f"{address}: expected {expected}, got {after}")
    return found


def _more_specific(address: str, base: Base) -> bool:
    """Return whether a transport table of the admin has this address itself."""
    return address in base.known.addresses


def _others(settings: Settings, local: Iterable[str], base: Base) -> dict[str, str]:
    """Return what our transport table says of domains that must not follow a wildcard, ours or the admin's."""
    routes = {r.domain for r in settings.routes}
    wild = [d for d in routes if is_wildcard(d)]
    found = dict.fromkeys(local, tables.UNCHANGED)
    for name in sorted({*base.known.names, *settings.local, *settings.external} - routes - found.keys()):
        within = any(covers(d, name.replace("*", "x")) for d in wild)
        answer = base.answers.get(probe(name))
        if not within or answer is None or name in base.asked.entries:
            continue
        if answer.kind in FINAL or name in settings.external or name in settings.local:
            found[name] = tables.UNCHANGED if _default(name, answer, base) else f"{answer.transport}:{answer.nexthop}"
    return found


def _default(name: str, answer: Answer, base: Base) -> bool:
    """Return whether an answer comes from the class of the domain, without a transport table."""
    own = {probe(name).rpartition("@")[2], base.values.get("myhostname", "")}
    catch_all = any(entries is None or "*" in entries for entries in base.known.transports.values())
    return answer.nexthop in (own if catch_all else {*own, base.foreign.nexthop})


def _relayed(domain: str, base: Base) -> bool:
    answer = base.asked.answers.get(domain)
    return answer is not None and answer.kind == "relay"
