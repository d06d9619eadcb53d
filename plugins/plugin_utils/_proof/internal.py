# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the outcomes of internal mail for all pairs of sending host and domain without simulating each pair.

A host sends mail for all domains but its local and near ones to one hub, or by lines that many hosts share. So the
routes of all domains are traced once from each such start, and the local and near domains of each host are added and
subtracted. Hosts with other tables are traced domain by domain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from .._inventory.model import Host
from .._plan.static import SharedLines, Static
from .simulation import DELIVERED, HELD, Case, DomainGroup, Scenario, Simulation


class InternalMail:
    """Counts of internal mail. A host that is down interrupts the routes through it, unless there is a second server.

    ``ends`` counts the ends of all routes when all hosts are up, ``through`` the complete ones by each host on them,
    ``around`` those that are complete without that host too; ``faults`` are routes that do not arrive.
    """

    def __init__(self, simulation: Simulation, groups: Sequence[DomainGroup]) -> None:
        self.simulation = simulation
        self.groups = groups
        self.domains = sum(each.size for each in groups)
        self.ends: Counter[str] = Counter()
        self.through: Counter[str] = Counter()
        self.around: Counter[str] = Counter()
        self.down = {scenario.host: scenario for scenario in simulation.scenarios() if scenario.host}
        self.faults: list[Case] = []
        self._of_host: dict[str, list[DomainGroup]] = {}  # groups by each host to which they are local
        self._of_home: dict[str, list[DomainGroup]] = {}
        for each in groups:
            self._of_home.setdefault(simulation.homes[each.domain].name, []).append(each)
            for acceptor in simulation.acceptors.get(each.domain, ()):
                self._of_host.setdefault(acceptor, []).append(each)
        self._count_all()

    def count(self, scenario: Scenario) -> Counter[str]:
        """Return the number of pairs by verdict in a scenario."""
        counts = Counter(self.ends)
        if scenario.host:
            held = self.through[scenario.host] - self.around[scenario.host]
            counts[DELIVERED] -= held
            counts[HELD] += held
        return counts

    def _count_all(self) -> None:
        """Find how often the mail of each domain effectively starts at each host; trace each of these routes once."""
        shared = {name: node.shared for name, node in self.simulation.nodes.items() if node.shared is not None}
        regular = all(node.regular for node in self.simulation.nodes.values())
        hubs = {lines.rest.name for lines in shared.values() if isinstance(lines.rest, Host)}
        if not regular or any(hub not in shared or isinstance(shared[hub].rest, Host) for hub in hubs):
            for start in self.simulation.nodes:
                self._count_from(start, dict.fromkeys(self.groups, 1))
            return
        starts = Counter(dict.fromkeys(shared, 1))  # how often all domains are sent from each host
        times_of: dict[str, dict[DomainGroup, int]] = {}
        rests: dict[int, tuple[Mapping[str, Static], int]] = {}  # shared lines, and the number of hosts that use them

        def send(start: str, each: DomainGroup, times: int) -> None:
            weights = times_of.setdefault(start, {})
            weights[each] = weights.get(each, 0) + times

        for name, lines in sorted(shared.items(), key=lambda item: not isinstance(item[1].rest, Host)):
            times = starts[name]
            special = self._special(name, lines)
            self.through[name] += times * (self.domains - sum(each.size for each in special))
            rest = lines.rest
            if isinstance(rest, Host):
                starts[rest.name] += times
            else:
                rests[id(rest)] = (rest, rests.get(id(rest), (rest, 0))[1] + times)
            for each in special:
                send(name, each, times)
                if isinstance(rest, Host):
                    send(rest.name, each, -times)
                else:
                    send(rest[each.domain].host, each, -times)
                    self._go_around(each, rest[each.domain].host, rest[each.domain].next_hops, -each.size * times)
        for rest, times in rests.values():
            for each in self.groups:
                send(rest[each.domain].host, each, times)
                self._go_around(each, rest[each.domain].host, rest[each.domain].next_hops, each.size * times)
        for start, weights in times_of.items():
            self._count_from(start, weights)

    def _special(self, name: str, lines: SharedLines) -> list[DomainGroup]:
        """Return the domains that a host does not send as the rest: local ones, and those of near servers."""
        own = self._of_host.get(name, [])
        known = {each.domain for each in own}
        near = [each for home in sorted(lines.near) for each in self._of_home.get(home, [])]
        return [*own, *(each for each in near if each.domain not in known)]

    def _count_from(self, start: str, weights: Mapping[DomainGroup, int]) -> None:
        """Count the route of each domain's mail from one host, multiplied by ``weights``."""
        for each, times in weights.items():
            if not times:
                continue
            trace = self.simulation.trace(each.domain, start)
            number = each.size * times
            self.ends[trace.end] += number
            if trace.end == DELIVERED:
                for host in trace.hosts:
                    self.through[host] += number
                sample = self.simulation.samples.get(each.domain, each.domain)
                for before, host in pairwise(trace.hosts):
                    if host in self.down:
                        self._go_around(each, host, self.simulation.nodes[before].hops(each.domain, sample), number)
            else:
                self.faults.append(Case(Scenario("all_up"), "inside", each.domain, trace.end, trace.hosts, each.size))

    def _go_around(self, each: DomainGroup, host: str, hops: tuple[str, ...], number: int) -> None:
        """Count the mail that the second server of a line gets while the first, ``host``, is down."""
        if len(hops) == 1 or host not in self.down:
            return
        trace = self.simulation.trace_first_up(each.domain, hops, host)
        if trace.end == DELIVERED:
            self.around[host] += number
        elif trace.end != HELD and number > 0:
            self.faults.append(Case(self.down[host], "inside", each.domain, trace.end, trace.hosts, each.size))
