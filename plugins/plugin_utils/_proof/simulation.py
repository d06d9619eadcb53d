# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulate the delivery of one message through the planned tables, host by host, for each kind of sender.

The simulation uses the tables alone: it looks up the next hop in each host's own table and asks the inventory only
which host has that address. So an error in a table shows as a loop, as lost mail, or as an exposed server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from .._inventory.model import Campus, Host
from .._inventory.names import Patterns
from .._plan.mx import Mx, MxRecords, MxTables
from .._plan.routes import Tables
from .._plan.static import Static
from .node import Node

DELIVERED, HELD, BLOCKED, EXPOSED, LOOP, LOST = VERDICTS = ("delivered", "held", "blocked", "exposed", "loop", "lost")
OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A state of the campus.

    ``kind`` is ``all_up``, ``gateway_down``, ``hub_down``, ``server_down`` (a final server that has a backup) or
    ``border_open``; ``host`` is the one that is down.
    """

    kind: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """The outcome of one message for ``domain``. ``path`` begins with the sender and ends where the mail then is.

    Verdicts: delivered (to the final server or a backup, by a planned route or by a permit), held (in the queue of the
    last host), blocked (never accepted), exposed (an inner server accepts it from outside, unscanned), loop, lost (no
    route). ``domains`` is the number of domains with this outcome, this one included.
    """

    scenario: Scenario
    sender: str
    domain: str
    verdict: str
    path: tuple[str, ...]
    domains: int = 1


class DomainGroup(NamedTuple):
    """Domains with equal entries in every table, so that their mail takes the same route; ``domain`` is one of them."""

    domain: str
    size: int


class Trace(NamedTuple):
    """A route through the tables: the hosts in order, and DELIVERED, LOOP, LOST, or HELD by the last of them."""

    hosts: tuple[str, ...]
    end: str


class Outcome(NamedTuple):
    """The outcome for one sender. It depends on no other hosts than those in ``touched``.

    ``blocked`` counts the connections that the border refuses (and logs) before the mail is accepted.
    """

    verdict: str
    path: tuple[str, ...]
    touched: tuple[str, ...]
    blocked: int = 0


class Simulation:
    """Delivery of mail through one plan; `cases` yields the outcome and path for every domain."""

    def __init__(self, campus: Campus, tables: Tables) -> None:
        self.campus = campus
        self.homes = campus.home_of()
        self.servers_of = campus.servers_of
        self.owner = {address: host.name for host in campus.hosts.values() for address in host.addresses if host.kinds}
        planned = Patterns(self.homes.items())
        self.nodes = {name: Node(table, planned) for name, table in tables.sendmail.items()}
        # External mail reaches the gateway service, whose table is the delivery list, not its queue's STATIC lines.
        self.delivery = Patterns((route.domain, route.next_hops) for route in tables.routes)
        self.gateways = frozenset(gateway.name for gateway in campus.gateways)
        borders = tables.border.values()
        self.open = frozenset(address for border in borders for address in border.open_addresses)
        self.guarded = bool(borders)
        ipv6 = all(self.campus.hosts[name].address6 for name in tables.sendmail)
        ipv4 = all(self.campus.hosts[name].address for name in tables.sendmail)
        self.reachable_by_all = frozenset(address for address in self.owner if (ipv6 if ":" in address else ipv4))
        # Servers of others accept mail for these domains, and send theirs by MX: no table is theirs.
        self.destinations = {
            host.name: frozenset((*host.domains, *host.backup_domains))
            for host in campus.hosts.values()
            if host.is_destination
        }
        self.by_exchange = {host.exchange: host for host in campus.hosts.values() if host.exchange}
        self.mx = _followed(campus, tables.mx_outside or tables.mx)
        inner = MxRecords(campus, campus.method)
        self.inner_mx = {domain: inner.own(domain) for domain in self.homes} if campus.method == "split" else self.mx
        self.samples = {domain: self._sample(domain) for domain in self.homes if domain.startswith("*.")}
        self.acceptors = _acceptors({name: node.own for name, node in self.nodes.items()} | self.destinations)
        self.admitted = {state: [h for h in campus.hosts.values() if self._admits(h, state)] for state in (False, True)}
        self.relaying = {
            state: [h for h in hosts if self._is_inner(h.name) and self.nodes[h.name].accepts_others]
            for state, hosts in self.admitted.items()
        }
        self.open_relays = {state: self._open_relays(hosts) for state, hosts in self.admitted.items()}

    def scenarios(self) -> Iterator[Scenario]:
        """Yield all hosts up; each gateway, hub and final server with a backup down; the border rule missing."""
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
        """Yield the outcome of external mail for each domain: by MX, by direct connection, and for relaying."""
        for domain in self.homes:
            for sender in ("mx", "direct", "relay"):
                found = self.outside(scenario, sender, domain)
                yield Case(scenario, sender, domain, found.verdict, found.path)

    def domain_groups(self) -> list[DomainGroup]:
        """Return the domains, grouped where all tables have equal entries."""
        if not all(node.regular for node in self.nodes.values()):
            return [DomainGroup(domain, 1) for domain in self.homes]
        lines: dict[int, Mapping[str, Static]] = {}
        for node in self.nodes.values():
            if node.shared is not None:
                lines[id(node.shared.direct)] = node.shared.direct
                if not isinstance(node.shared.rest, Host):
                    lines[id(node.shared.rest)] = node.shared.rest
        shared = list(lines.values())
        first: dict[object, str] = {}
        sizes: dict[object, int] = {}
        for domain, servers in self.servers_of.items():
            key = (
                id(servers),
                id(self.mx[domain]),
                self.delivery.find(self.samples.get(domain, domain)),
                self.acceptors.get(domain),
                *[each[domain].next_hop for each in shared],
                *[each[domain].more for each in shared],
            )
            if key in sizes:
                sizes[key] += 1
            else:
                first[key] = domain
                sizes[key] = 1
        return [DomainGroup(domain, sizes[key]) for key, domain in first.items()]

    def outside(self, scenario: Scenario, sender: str, domain: str) -> Outcome:
        """Return the outcome for an external sender that follows the MX, tries all servers, or tries to relay."""
        if sender == "mx":
            return self.follows_mx(scenario, domain, self.mx[domain])
        if sender == "direct":
            return self._connect_directly(scenario, domain)
        relays = [name for name in self.open_relays[self.is_open(scenario)] if name != scenario.host]
        return Outcome(EXPOSED, (OUTSIDE, relays[0]), ()) if relays else Outcome(BLOCKED, (OUTSIDE,), ())

    def trace(self, domain: str, start: str, down: str = "") -> Trace:
        """Return the route of mail for ``domain`` in the queue of ``start``; the host ``down`` is unreachable."""
        sample = self.samples.get(domain, domain)
        path = [start]
        here = start
        while True:
            node = self.nodes.get(here)
            hop = node.hop(domain, sample) if node is not None else self._at_destination(domain, here)
            if not hop:
                return Trace(tuple(path), DELIVERED if hop == "" and self._is_final(domain, here) else LOST)
            if down and self.owner.get(hop) == down and node is not None:
                others = (other for other in node.hops(domain, sample) if self.owner.get(other) != down)
                hop = next(others, "")
                if not hop:
                    return Trace(tuple(path), HELD)
            before, here = here, self.owner.get(hop, hop)
            path.append(here)
            if hop not in self.reachable_by_all and not self._reaches(before, hop):
                return Trace(tuple(path), LOST)
            if here in path[:-1]:
                return Trace(tuple(path), LOOP)

    def _at_destination(self, domain: str, name: str) -> str | None:
        """Return "" if a server of others accepts the domain, None if nobody knows a route."""
        return "" if domain in self.destinations.get(name, ()) else None

    def _reaches(self, host: str, hop: str) -> bool:
        """Return whether the next hop is a host's address, of an IP version that the sending host has too."""
        return hop in self.reachable_by_all or (hop in self.owner and self.campus.hosts[host].has_family_of(hop))

    def _is_final(self, domain: str, name: str) -> bool:
        """Return whether the host is the final server of the domain or one of its backups."""
        return any(host.name == name for host in self.servers_of[domain])

    def trace_first_up(self, domain: str, hops: Iterable[str], down: str) -> Trace:
        """Return the route from the first of these next hops that is not down."""
        for hop in hops:
            name = self.owner.get(hop)
            if name is None:
                return Trace((hop,), LOST)
            if name != down:
                return self.trace(domain, name, down)
        return Trace((), HELD)

    def is_open(self, scenario: Scenario) -> bool:
        """Return whether external senders reach every host."""
        return not self.guarded or scenario.kind == "border_open"

    def follows_mx(self, scenario: Scenario, domain: str, records: Iterable[Mx]) -> Outcome:
        """Try the exchanges in the order of their preference (RFC 5321, section 5.1)."""
        tried: list[str] = []
        blocked = 0
        for record in sorted(records, key=lambda mx: mx.preference):
            host = self.by_exchange.get(record.exchange)
            if host is None:
                continue
            tried.append(host.name)
            if host.name == scenario.host:
                continue
            if not self._admits(host, self.is_open(scenario)):
                blocked += 1
                continue
            if host.name in self.gateways:
                trace, hops = self._from_gateway(domain, host.name, scenario.host)
                return _found(trace, DELIVERED, (*tried, *hops), blocked)
            trace = self.trace(domain, host.name, scenario.host)
            return _found(trace, DELIVERED if host.permit else EXPOSED, tuple(tried), blocked)
        return Outcome(HELD, (OUTSIDE,), tuple(tried), blocked)

    def inside_by_mx(self, scenario: Scenario, domain: str, sender: Host) -> Outcome:
        """Return the outcome of mail that follows the MX records behind the border, where no host is blocked."""
        tried: list[str] = []
        for record in sorted(self.inner_mx[domain], key=lambda mx: mx.preference):
            host = self.by_exchange.get(record.exchange)
            if host is None or not sender.shares_family(host):
                continue
            tried.append(host.name)
            if host.name == scenario.host:
                continue
            hops: tuple[str, ...] = ()
            if host.name in self.gateways:
                trace, hops = self._from_gateway(domain, host.name, scenario.host)
            else:
                trace = self.trace(domain, host.name, scenario.host)
            return Outcome(trace.end, (sender.name, *trace.hosts), (*tried, *hops, *trace.hosts))
        return Outcome(HELD, (sender.name,), tuple(tried))

    def _from_gateway(self, domain: str, gateway: str, down: str) -> tuple[Trace, tuple[str, ...]]:
        """Return the route from a gateway by the first next hop that is up, and the next hops that were tried."""
        hops = self.delivery.find(self.samples.get(domain, domain))
        if not hops:
            return Trace((gateway,), LOST), ()
        tried = []
        for hop in hops:
            name = self.owner.get(hop)
            if name is None:
                return Trace((gateway, hop), LOST), ()
            if not self._reaches(gateway, hop):
                return Trace((gateway, name), LOST), ()
            if name in self.gateways:
                # Gateways accept no mail from one another, so it can only come back.
                return Trace((gateway, name), LOOP), ()
            tried.append(name)
            if name != down:
                rest = self.trace(domain, name, down)
                return Trace((gateway, *rest.hosts), rest.end), tuple(tried)
        return Trace((gateway,), HELD), tuple(tried)

    def _connect_directly(self, scenario: Scenario, domain: str) -> Outcome:
        """Try every inner server that external senders can reach; return the worst outcome."""
        state = self.is_open(scenario)
        sample = self.samples.get(domain, domain)
        finals = self.servers_of[domain]
        own = [self.campus.hosts[name] for name in self.acceptors.get(domain, ())]
        # The final server first: if it accepts mail that it should not, no other outcome is worse.
        first = dict.fromkeys(host.name for host in (*finals, *own) if self._admits(host, state))
        hosts = chain(first, (host.name for host in self.relaying[state] if host.name not in first))
        found = Outcome(BLOCKED, (OUTSIDE,), ())
        touched: tuple[str, ...] = ()
        for name in hosts:
            if name in self.gateways or not self._accepts(name, domain, sample):
                continue
            touched = (*touched, name)
            if name == scenario.host:
                continue
            host = self.campus.hosts[name]
            allowed = host in finals and host.permit is not None
            trace = self.trace(domain, name, scenario.host)
            found = _found(trace, DELIVERED if allowed else EXPOSED, (*touched, *found.touched))
            if found.verdict != DELIVERED:
                break
        return found._replace(touched=(*touched, *found.touched))

    def _accepts(self, name: str, domain: str, sample: str) -> bool:
        """Return whether an inner server accepts mail for the domain from any client."""
        node = self.nodes.get(name)
        return domain in self.destinations.get(name, ()) if node is None else node.accepts(domain, sample)

    def _admits(self, host: Host, is_open: bool) -> bool:
        if is_open or not self.guarded or host.name in self.campus.beyond_border:
            return True
        return host.address in self.open or host.address6 in self.open

    def _is_inner(self, name: str) -> bool:
        return name in self.nodes and name not in self.gateways

    def _open_relays(self, hosts: Iterable[Host]) -> list[str]:
        """Return the hosts that accept mail from any client for domains outside the campus."""
        tops = {domain.rpartition(".")[2] for domain in self.homes}
        probes = [f"mailgate-probe.{top}" for top in sorted({*tops, "invalid"})]
        probes = [probe for probe in probes if probe not in self.homes]
        gateways_relay = any(self.delivery.find(probe) is not None for probe in probes)
        found = []
        for host in hosts:
            if host.name in self.gateways:
                if gateways_relay:
                    found.append(host.name)
            elif host.name in self.nodes and any(self.nodes[host.name].accepts_foreign(probe) for probe in probes):
                found.append(host.name)
        return found

    def _sample(self, domain: str) -> str:
        """Return a name that this pattern matches and no longer one does."""
        number = 0
        while (sample := f"host{number}{domain[1:]}") in self.homes:
            number += 1
        return sample


def _found(trace: Trace, arrived: str, touched: tuple[str, ...], blocked: int = 0) -> Outcome:
    verdict = arrived if trace.end == DELIVERED else trace.end
    return Outcome(verdict, (OUTSIDE, *trace.hosts), (*touched, *trace.hosts), blocked)


def _followed(campus: Campus, tables: MxTables) -> dict[str, tuple[Mx, ...]]:
    """Return the MX records that external senders find for each domain."""
    planned: dict[str, tuple[Mx, ...]] = {}
    seen: set[int] = set()
    for zones in tables.values():
        for owners in zones.values():
            if id(owners) not in seen:  # a zone on several servers is one object
                seen.add(id(owners))
                planned.update(owners)
    records = MxRecords(campus)  # for domains that keep their MX records, and for a campus whose DNS is not planned
    return {domain: planned.get(domain) or records.outside(domain) for domain in campus.home_of()}


def _acceptors(hosts: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Return, for each domain, the hosts to which it is local, from the domains of each host."""
    acceptors: dict[str, tuple[str, ...]] = {}
    for name, own in hosts.items():
        alone = (name,)
        for domain in own:
            acceptors[domain] = (*acceptors[domain], name) if domain in acceptors else alone
    return acceptors
