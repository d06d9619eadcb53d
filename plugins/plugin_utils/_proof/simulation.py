# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows one message through the planned tables, host by host, for each kind of sender.

A walk believes nothing but the tables: it looks up the next hop of each host in that host's own table and asks the
inventory only whose address it is. So a wrong table shows as a loop, as lost mail, or as a server that is exposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from .._inventory.model import Campus, Host
from .._inventory.names import Patterns
from .._plan.mx import Mx, MxLines
from .._plan.routes import Tables
from .._plan.static import MailTable, OtherDomains, SharedLines, Static

DELIVERED, HELD, BLOCKED, EXPOSED, LOOP, LOST = VERDICTS = ("delivered", "held", "blocked", "exposed", "loop", "lost")
OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Scenario:
    """``kind`` is ``all_up``, ``gateway_down``, ``hub_down``, ``server_down`` (a home that has a backup) or
    ``border_open``; ``host`` is the one that is down.
    """

    kind: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What becomes of mail for ``domain``. ``path`` begins with the sender and ends where the mail then is.

    Verdicts: delivered (at home or at a backup, by a planned way or by a permit), held (in the last host's queue),
    blocked (never accepted), exposed (an inner server takes it from outside, unscanned), loop, lost (no way home).
    ``alike`` is the number of domains that fare the same, this one included, where one case stands for them.
    """

    scenario: Scenario
    sender: str
    domain: str
    verdict: str
    path: tuple[str, ...]
    alike: int = 1


class Alike(NamedTuple):
    """Domains whose lines are the same in every table, so that mail for all of them goes one way; ``domain`` is one."""

    domain: str
    size: int


class Walk(NamedTuple):
    """A way through the tables: the hosts in order, and DELIVERED, LOOP, LOST, or HELD by the last of them."""

    hosts: tuple[str, ...]
    end: str


class Found(NamedTuple):
    """What a sender meets. Other hosts than those in ``touched`` may be up or down, it makes no difference.

    ``blocked`` counts the connections that the border refuses (and logs) before the mail is in.
    """

    verdict: str
    path: tuple[str, ...]
    touched: tuple[str, ...]
    blocked: int = 0


class Node:
    """One sendmail's own table, ready for look-up of planned domains, each with a name that only it matches."""

    def __init__(self, table: MailTable, planned: Patterns[Host]) -> None:
        self.planned = planned
        self.own = frozenset(table.local)
        static = table.static
        self.shared = static if isinstance(static, SharedLines) and static.own == self.own else None
        self.local = Patterns((domain, True) for domain in table.local)
        self.ways: Patterns[tuple[str, ...]] = Patterns()
        if self.shared is None:
            here = [(own, ("",)) for own in table.local]
            self.ways = Patterns([*((line.domain, line.next_hops) for line in static), *here])
        self.others = table.relay if isinstance(table.relay, OtherDomains) else None
        self.relay = Patterns((domain, True) for domain in ([] if self.others else table.relay))

    @property
    def regular(self) -> bool:
        """Tell whether its lines are those that it shares with other hosts, and nothing else."""
        return self.shared is not None and not len(self.relay)

    @property
    def takes_others(self) -> bool:
        """Tell whether it may take mail from anybody for domains that are not its own."""
        return self.others is not None or not self.regular

    def hop(self, domain: str, sample: str) -> str | None:
        """Return the first next hop's address, "" when mail ends here, None when the table has no way."""
        if self.shared is not None:
            return self.shared.next_hop(domain)
        hops = self.ways.find(sample)
        return hops[0] if hops else None

    def hops(self, domain: str, sample: str) -> tuple[str, ...]:
        """Return the addresses of all next hops, in order."""
        if self.shared is None:
            return self.ways.find(sample) or ()
        line = self.shared.line(domain)
        return line.next_hops if line else ()

    def takes(self, domain: str, sample: str) -> bool:
        """Tell whether it takes mail for the domain from anybody."""
        if self.others is not None and domain in self.others:
            return True
        own = domain in self.own if self.shared is not None else self.ways.find(sample) == ("",)
        return own or bool(self.relay.find(sample))

    def takes_foreign(self, name: str) -> bool:
        """Tell whether it takes mail for a name that nobody on the campus claims."""
        planned = self.others is not None and self.planned.find(name) is not None
        return planned or bool(self.local.find(name) or self.relay.find(name))


class Walker:
    """Follows mail through one plan. `cases` gives every domain's fate, with its path."""

    def __init__(self, campus: Campus, tables: Tables) -> None:
        self.campus = campus
        self.homes = campus.home_of()
        self.servers_of = campus.servers_of
        self.owner = {address: host.name for host in campus.hosts.values() for address in host.addresses if host.kinds}
        planned = Patterns(self.homes.items())
        self.nodes = {name: Node(table, planned) for name, table in tables.sendmail.items()}
        # Mail from outside meets the gateway service, whose table is the delivery list, not its queue's STATIC lines.
        self.entrance = Patterns((route.domain, route.next_hops) for route in tables.routes)
        self.gateways = frozenset(gateway.name for gateway in campus.gateways)
        borders = tables.border.values()
        self.open = frozenset(address for border in borders for address in border.open_addresses)
        self.guarded = bool(borders)
        self.by_exchange = {host.exchange: host for host in campus.hosts.values() if host.exchange}
        self.mx = _followed(campus, tables)
        self.samples = {domain: self._sample(domain) for domain in self.homes if domain.startswith("*.")}
        self.takers = _takers(self.nodes)
        self.lets_in = {state: [h for h in campus.hosts.values() if self._lets_in(h, state)] for state in (False, True)}
        self.relaying = {
            state: [h for h in hosts if self._is_inner(h.name) and self.nodes[h.name].takes_others]
            for state, hosts in self.lets_in.items()
        }
        self.open_relays = {state: self._open_relays(hosts) for state, hosts in self.lets_in.items()}

    def scenarios(self) -> Iterator[Scenario]:
        """Yield all up; each gateway, each hub, each home with a backup down; and the border without its rule."""
        yield Scenario("all_up")
        for gateway in self.campus.gateways:
            yield Scenario("gateway_down", gateway.name)
        backed = {servers[0].name for servers in self.servers_of.values() if len(servers) > 1}
        for host in self.campus.of_kind("servers"):
            if host.hub == host.name:
                yield Scenario("hub_down", host.name)
            elif host.name in backed:
                yield Scenario("server_down", host.name)
        yield Scenario("border_open")

    def cases(self, scenario: Scenario) -> Iterator[Case]:
        """Yield what becomes of each domain's mail from outside: by MX, straight to inner servers, and for relaying."""
        for domain in self.homes:
            for sender in ("mx", "direct", "relay"):
                found = self.outside(scenario, sender, domain)
                yield Case(scenario, sender, domain, found.verdict, found.path)

    def alike(self) -> list[Alike]:
        """Return the domains, those with equal lines in all tables as one."""
        if not all(node.regular for node in self.nodes.values()):
            return [Alike(domain, 1) for domain in self.homes]
        lines: dict[int, Mapping[str, Static]] = {}
        for node in self.nodes.values():
            if node.shared is not None:
                lines[id(node.shared.straight)] = node.shared.straight
                if not isinstance(node.shared.rest, Host):
                    lines[id(node.shared.rest)] = node.shared.rest
        shared = list(lines.values())
        first: dict[object, str] = {}
        sizes: dict[object, int] = {}
        for domain, servers in self.servers_of.items():
            key = (
                id(servers),
                id(self.mx[domain]),
                self.entrance.find(self.samples.get(domain, domain)),
                self.takers.get(domain),
                *[each[domain].next_hop for each in shared],
                *[each[domain].more for each in shared],
            )
            if key in sizes:
                sizes[key] += 1
            else:
                first[key] = domain
                sizes[key] = 1
        return [Alike(domain, sizes[key]) for key, domain in first.items()]

    def outside(self, scenario: Scenario, sender: str, domain: str) -> Found:
        """Return what a sender outside meets: ``mx`` follows the MX, ``direct`` tries all servers, ``relay`` relays."""
        if sender == "mx":
            return self.follows_mx(scenario, domain, self.mx[domain])
        if sender == "direct":
            return self._connects_straight(scenario, domain)
        relays = [name for name in self.open_relays[self.is_open(scenario)] if name != scenario.host]
        return Found(EXPOSED, (OUTSIDE, relays[0]), ()) if relays else Found(BLOCKED, (OUTSIDE,), ())

    def walk(self, domain: str, start: str, down: str = "") -> Walk:
        """Return the way of mail for ``domain`` that ``start``'s sendmail has to send; another host may be down."""
        sample = self.samples.get(domain, domain)
        path = [start]
        here = start
        while True:
            node = self.nodes.get(here)
            hop = node.hop(domain, sample) if node is not None else None
            if hop is None:
                return Walk(tuple(path), LOST)
            if hop == "":
                for host in self.servers_of[domain]:
                    if host.name == here:
                        return Walk(tuple(path), DELIVERED)
                return Walk(tuple(path), LOST)
            if down and self.owner.get(hop) == down and node is not None:
                others = (other for other in node.hops(domain, sample) if self.owner.get(other) != down)
                hop = next(others, "")
                if not hop:
                    return Walk(tuple(path), HELD)
            if hop not in self.owner:
                return Walk((*path, hop), LOST)
            here = self.owner[hop]
            path.append(here)
            if here in path[:-1]:
                return Walk(tuple(path), LOOP)

    def onward(self, domain: str, hops: Iterable[str], down: str) -> Walk:
        """Return the way from the first of these next hops that is not down."""
        for hop in hops:
            name = self.owner.get(hop)
            if name is None:
                return Walk((hop,), LOST)
            if name != down:
                return self.walk(domain, name, down)
        return Walk((), HELD)

    def is_open(self, scenario: Scenario) -> bool:
        """Tell whether outsiders reach every host."""
        return not self.guarded or scenario.kind == "border_open"

    def follows_mx(self, scenario: Scenario, domain: str, lines: Iterable[Mx]) -> Found:
        """Try the hosts that the MX lines name, in their order, as RFC 5321 (section 5.1) says."""
        tried: list[str] = []
        blocked = 0
        for line in sorted(lines, key=lambda line: line.preference):
            host = self.by_exchange.get(line.exchange)
            if host is None:
                continue
            tried.append(host.name)
            if host.name == scenario.host:
                continue
            if not self._lets_in(host, self.is_open(scenario)):
                blocked += 1
                continue
            if host.name in self.gateways:
                walk, hops = self._from_gateway(domain, host.name, scenario.host)
                return _found(walk, DELIVERED, (*tried, *hops), blocked)
            walk = self.walk(domain, host.name, scenario.host)
            return _found(walk, DELIVERED if host.permit else EXPOSED, tuple(tried), blocked)
        return Found(HELD, (OUTSIDE,), tuple(tried), blocked)

    def _from_gateway(self, domain: str, gateway: str, down: str) -> tuple[Walk, tuple[str, ...]]:
        """Return the way from a gateway by the first next hop that is up, and the next hops that were tried."""
        hops = self.entrance.find(self.samples.get(domain, domain))
        if not hops:
            return Walk((gateway,), LOST), ()
        tried = []
        for hop in hops:
            name = self.owner.get(hop)
            if name is None:
                return Walk((gateway, hop), LOST), ()
            if name in self.gateways:
                # Gateways take no mail from one another, so it can only come back.
                return Walk((gateway, name), LOOP), ()
            tried.append(name)
            if name != down:
                rest = self.walk(domain, name, down)
                return Walk((gateway, *rest.hosts), rest.end), tuple(tried)
        return Walk((gateway,), HELD), tuple(tried)

    def _connects_straight(self, scenario: Scenario, domain: str) -> Found:
        """Try every inner server that the outside can reach; the worst that happens counts."""
        state = self.is_open(scenario)
        sample = self.samples.get(domain, domain)
        finals = self.servers_of[domain]
        own = [self.campus.hosts[name] for name in self.takers.get(domain, ())]
        # The home first: when it takes mail that it should not, nothing worse will be found further on.
        first = dict.fromkeys(host.name for host in (*finals, *own) if self._lets_in(host, state))
        hosts = chain(first, (host.name for host in self.relaying[state] if host.name not in first))
        found = Found(BLOCKED, (OUTSIDE,), ())
        touched: tuple[str, ...] = ()
        for name in hosts:
            if not self._is_inner(name) or not self.nodes[name].takes(domain, sample):
                continue
            touched = (*touched, name)
            if name == scenario.host:
                continue
            host = self.campus.hosts[name]
            allowed = host in finals and host.permit is not None
            walk = self.walk(domain, name, scenario.host)
            found = _found(walk, DELIVERED if allowed else EXPOSED, (*touched, *found.touched))
            if found.verdict != DELIVERED:
                break
        return found._replace(touched=(*touched, *found.touched))

    def _lets_in(self, host: Host, is_open: bool) -> bool:
        if is_open or not self.guarded:
            return True
        return host.address in self.open or host.address6 in self.open

    def _is_inner(self, name: str) -> bool:
        return name in self.nodes and name not in self.gateways

    def _open_relays(self, hosts: Iterable[Host]) -> list[str]:
        """Return the hosts that take mail from anybody for domains that are not the campus's."""
        tops = {domain.rpartition(".")[2] for domain in self.homes}
        probes = [f"mailgate-probe.{top}" for top in sorted({*tops, "invalid"})]
        probes = [probe for probe in probes if probe not in self.homes]
        gateways_relay = any(self.entrance.find(probe) is not None for probe in probes)
        found = []
        for host in hosts:
            if host.name in self.gateways:
                if gateways_relay:
                    found.append(host.name)
            elif host.name in self.nodes and any(self.nodes[host.name].takes_foreign(probe) for probe in probes):
                found.append(host.name)
        return found

    def _sample(self, domain: str) -> str:
        """Return a name that this pattern, and no longer one, stands for."""
        number = 0
        while (sample := f"host{number}{domain[1:]}") in self.homes:
            number += 1
        return sample


def _found(walk: Walk, arrived: str, touched: tuple[str, ...], blocked: int = 0) -> Found:
    verdict = arrived if walk.end == DELIVERED else walk.end
    return Found(verdict, (OUTSIDE, *walk.hosts), (*touched, *walk.hosts), blocked)


def _followed(campus: Campus, tables: Tables) -> dict[str, tuple[Mx, ...]]:
    """Return the MX lines that senders outside find for each domain."""
    planned: dict[str, tuple[Mx, ...]] = {}
    seen: set[int] = set()
    for zones in (tables.mx_outside or tables.mx).values():
        for owners in zones.values():
            if id(owners) not in seen:  # a zone on several servers is one object
                seen.add(id(owners))
                planned.update(owners)
    lines = MxLines(campus)  # for domains that keep their MX, and for campuses whose DNS is not planned
    return {domain: planned.get(domain) or lines.outside(domain) for domain in campus.home_of()}


def _takers(nodes: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
    """Return for each domain the hosts to which it is local."""
    takers: dict[str, tuple[str, ...]] = {}
    for name, node in nodes.items():
        alone = (name,)
        for domain in node.own:
            takers[domain] = (*takers[domain], name) if domain in takers else alone
    return takers
