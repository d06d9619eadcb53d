# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: every domain is walked through the planned tables, host by host, in every scenario, for every sender.

The walk believes nothing but the tables: it looks up the next hop of each host in that host's own table and asks the
inventory only whose address it is. So a wrong table shows as a loop, as lost mail, or as a server that is exposed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ._model import Campus, Host
from ._names import Patterns
from ._routes import Mx, Tables, mx_lines

DELIVERED, HELD, BLOCKED, EXPOSED, LOOP, LOST = VERDICTS = ("delivered", "held", "blocked", "exposed", "loop", "lost")
SENDERS = ("mx", "direct", "relay", "inside")
OUTSIDE = "outside"
MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Scenario:
    """``kind`` is ``all_up``, ``gateway_down``, ``hub_down`` or ``border_open``; ``host`` is the one that is down."""

    kind: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What becomes of mail for ``domain``. ``path`` begins with the sender and ends where the mail then is.

    Verdicts: delivered (at home, by a planned way or by a permit), held (in the last host's queue), blocked (never
    accepted), exposed (an inner server takes it from outside, unscanned), loop, lost (no way home).
    """

    scenario: Scenario
    sender: str
    domain: str
    verdict: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class Proof:
    """Counts per scenario and sender. A count is a domain; for ``inside`` a pair of sending host and domain.

    ``faults`` are loops and losses: with any of them the plan must be refused. ``exposed`` are the domains that an
    outsider reaches past the gateways although the border has its rule. ``ok``: neither.
    """

    counts: dict[Scenario, dict[str, Counter[str]]]
    faults: tuple[Case, ...] = ()
    exposed: tuple[Case, ...] = ()

    @property
    def ok(self) -> bool:
        """Tell whether nothing loops, is lost, or is exposed with the border's rule in force."""
        return not self.faults and not self.exposed


def prove(campus: Campus, tables: Tables) -> Proof:
    """Walk everything and count. Grows with domains x (scenarios + hosts)."""
    walker = Walker(campus, tables)
    counts: dict[Scenario, dict[str, Counter[str]]] = {}
    faults: list[Case] = []
    exposed: list[Case] = []
    inside = _Inside(walker)
    faults.extend(inside.faults)
    for scenario in walker.scenarios():
        counts[scenario] = {sender: Counter() for sender in SENDERS}
        for case in walker.cases(scenario):
            counts[scenario][case.sender][case.verdict] += 1
            if case.verdict in (LOOP, LOST):
                faults.append(case)
            elif case.verdict == EXPOSED and scenario.kind != "border_open":
                exposed.append(case)
        counts[scenario]["inside"] = inside.count(scenario)
    return Proof(counts, tuple(faults), tuple(exposed))


@dataclass(frozen=True, slots=True)
class _Walk:
    """A way through the tables, whatever is down: the hosts in order, and DELIVERED, LOOP or LOST."""

    hosts: tuple[str, ...]
    end: str


@dataclass(slots=True)
class _Node:
    """A host's own tables, ready for look-up. ``ways`` gives a next hop's address, or "" for mail that ends here."""

    ways: Patterns[str]
    relay: Patterns[bool]
    memo: dict[str, _Walk] = field(default_factory=dict)


class Walker:
    """Follows mail through one plan. `cases` gives every domain's fate, with its path."""

    def __init__(self, campus: Campus, tables: Tables) -> None:
        self.campus = campus
        self.homes = campus.home_of()
        self.owner = {address: host.name for host in campus.hosts.values() for address in host.addresses if host.kinds}
        self.servers = {
            name: _Node(
                ways=Patterns([(line.domain, line.next_hop) for line in t.static] + [(own, "") for own in t.local]),
                relay=Patterns((domain, True) for domain in t.relay),
            )
            for name, t in tables.sendmail.items()
        }
        # Mail from outside meets the gateway service, whose table is the delivery list, not its queue's STATIC lines.
        entrance = Patterns((route.domain, route.next_hop) for route in tables.routes)
        self.gateways = {gateway.name: _Node(entrance, Patterns()) for gateway in campus.gateways}
        borders = tables.border.values()
        self.open = frozenset(address for border in borders for address in border.open_addresses)
        self.guarded = bool(borders)
        self.by_exchange = {host.exchange: host for host in campus.hosts.values() if host.exchange}
        planned = {
            owner: lines for zones in tables.mx.values() for each in zones.values() for owner, lines in each.items()
        }
        self.mx = {domain: planned.get(domain) or mx_lines(campus, home) for domain, home in self.homes.items()}
        self.samples = {domain: self._sample(domain) for domain in self.homes}

    def scenarios(self) -> Iterator[Scenario]:
        """Yield all up, each gateway down, each hub down, and the border without its rule."""
        yield Scenario("all_up")
        for gateway in self.campus.gateways:
            yield Scenario("gateway_down", gateway.name)
        for host in self.campus.of_kind("servers"):
            if host.hub == host.name:
                yield Scenario("hub_down", host.name)
        yield Scenario("border_open")

    def cases(self, scenario: Scenario) -> Iterator[Case]:
        """Yield the case of every domain for every sender from outside."""
        reachable = [host for host in self.campus.hosts.values() if host.kinds and self._reachable(host, scenario)]
        servers = [host for host in reachable if host.name in self.servers and host.name not in self.gateways]
        relayed = self._relays_for_all(reachable)
        for domain in self.homes:
            yield self._follows_mx(scenario, domain)
            yield self._connects_straight(scenario, domain, servers)
            verdict = EXPOSED if relayed else BLOCKED
            yield Case(scenario, "relay", domain, verdict, (OUTSIDE, relayed) if relayed else (OUTSIDE,))

    def walk(self, domain: str, start: str) -> _Walk:
        """Return the way of mail for ``domain`` that ``start``'s sendmail has to send."""
        node = self.servers.get(start)
        if node is None:
            return _Walk((start,), LOST)
        if domain not in node.memo:
            node.memo[domain] = _Walk((start,), LOOP)  # what a way that comes back to this host will find
            node.memo[domain] = self._onward(node, domain, start)
        return node.memo[domain]

    def _onward(self, node: _Node, domain: str, start: str) -> _Walk:
        hop = node.ways.find(self.samples[domain])
        if hop is None:
            return _Walk((start,), LOST)
        if hop == "":
            return _Walk((start,), DELIVERED if start == self.homes[domain].name else LOST)
        if hop not in self.owner:
            return _Walk((start, hop), LOST)
        rest = self.walk(domain, self.owner[hop])
        return _Walk((start, *rest.hosts), rest.end)

    def _from_gateway(self, domain: str, gateway: str) -> _Walk:
        hop = self.gateways[gateway].ways.find(self.samples[domain])
        if hop is None:
            return _Walk((gateway,), LOST)
        name = self.owner.get(hop)
        if name is None:
            return _Walk((gateway, hop), LOST)
        if name in self.gateways:
            return _Walk((gateway, name), LOOP)  # gateways take no mail from one another, so it can only come back
        rest = self.walk(domain, name)
        return _Walk((gateway, *rest.hosts), rest.end)

    def _follows_mx(self, scenario: Scenario, domain: str) -> Case:
        for line in sorted(self.mx[domain], key=lambda line: line.preference):
            host = self._exchange(line)
            if host is None or not self._reachable(host, scenario):
                continue
            if host.name in self.gateways:
                walk = self._from_gateway(domain, host.name)
                return self._case(scenario, "mx", domain, walk, DELIVERED)
            walk = self.walk(domain, host.name)
            return self._case(scenario, "mx", domain, walk, DELIVERED if host.permit else EXPOSED)
        return Case(scenario, "mx", domain, HELD, (OUTSIDE,))

    def _connects_straight(self, scenario: Scenario, domain: str, servers: list[Host]) -> Case:
        """Try every inner server that the outside can reach; the worst that happens counts."""
        found = Case(scenario, "direct", domain, BLOCKED, (OUTSIDE,))
        home = self.homes[domain]
        # The home first: when it takes mail that it should not, nothing worse will be found further on.
        for host in (home, *servers) if home in servers else servers:
            node = self.servers[host.name]
            takes = node.ways.find(self.samples[domain]) == "" or node.relay.find(self.samples[domain])
            if not takes:
                continue
            allowed = host is home and host.permit is not None
            case = self._case(
                scenario, "direct", domain, self.walk(domain, host.name), DELIVERED if allowed else EXPOSED
            )
            if case.verdict != DELIVERED:
                return case
            found = case
        return found

    def _case(self, scenario: Scenario, sender: str, domain: str, walk: _Walk, arrived: str) -> Case:
        """Cut a walk short at the first host that is down: the host before it keeps the mail."""
        if walk.end == DELIVERED and scenario.host in walk.hosts:
            kept = walk.hosts[: walk.hosts.index(scenario.host)]
            return Case(scenario, sender, domain, HELD, (OUTSIDE, *kept))
        return Case(scenario, sender, domain, arrived if walk.end == DELIVERED else walk.end, (OUTSIDE, *walk.hosts))

    def _reachable(self, host: Host, scenario: Scenario) -> bool:
        if host.name == scenario.host:
            return False
        if not self.guarded or scenario.kind == "border_open":
            return True
        return any(address in self.open for address in host.addresses)

    def _relays_for_all(self, reachable: Iterable[Host]) -> str:
        """Return the name of a host that takes mail for domains that are not the campus's, or "" when none does."""
        tops = {domain.rpartition(".")[2] for domain in self.homes}
        probes = [f"mailgate-probe.{top}" for top in sorted({*tops, "invalid"})]
        probes = [probe for probe in probes if probe not in self.homes]
        for host in reachable:
            if host.name in self.gateways:
                if any(self.gateways[host.name].ways.find(probe) is not None for probe in probes):
                    return host.name
            elif host.name in self.servers:
                node = self.servers[host.name]
                if any(node.relay.find(probe) or node.ways.find(probe) == "" for probe in probes):
                    return host.name
        return ""

    def _exchange(self, line: Mx) -> Host | None:
        return self.by_exchange.get(line.exchange)

    def _sample(self, domain: str) -> str:
        """Return a name that this pattern, and no longer one, stands for."""
        if not domain.startswith("*."):
            return domain
        number = 0
        while (sample := f"host{number}{domain[1:]}") in self.homes:
            number += 1
        return sample


class _Inside:
    """Mail that starts on a campus host. STATIC lines know no second way, so what is down only cuts ways short."""

    def __init__(self, walker: Walker) -> None:
        self.total = 0
        self.ends: Counter[str] = Counter()
        self.through: Counter[str] = Counter()  # ways that arrive when all is up, by each host on them
        self.faults: list[Case] = []
        for domain in walker.homes:
            for start in walker.servers:
                walk = walker.walk(domain, start)
                self.ends[walk.end] += 1
                if walk.end == DELIVERED:
                    self.through.update(walk.hosts)
                else:
                    self.faults.append(Case(Scenario("all_up"), "inside", domain, walk.end, walk.hosts))

    def count(self, scenario: Scenario) -> Counter[str]:
        counts = Counter(self.ends)
        if scenario.host:
            held = self.through[scenario.host]
            counts[DELIVERED] -= held
            counts[HELD] += held
        return counts


def as_dict(proof: Proof) -> dict[str, object]:
    """Return the proof as plain data: the verdict, the counts, and the first few faults with their paths."""

    def case(case: Case) -> dict[str, object]:
        return {
            "scenario": case.scenario.kind,
            "host": case.scenario.host,
            "sender": case.sender,
            "domain": case.domain,
            "verdict": case.verdict,
            "path": list(case.path),
        }

    return {
        "ok": proof.ok,
        "scenarios": [
            {
                "scenario": scenario.kind,
                "host": scenario.host,
                "senders": {
                    sender: {verdict: counts[verdict] for verdict in VERDICTS} for sender, counts in senders.items()
                },
            }
            for scenario, senders in proof.counts.items()
        ],
        "exposed": [case(each) for each in proof.exposed[:MAX_EXAMPLES]],
    }
