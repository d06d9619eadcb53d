# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail that starts on a campus host, counted for all pairs of starting host and domain without walking each pair.

A host sends what is neither its own nor near to one hub, or by lines that many hosts share. So the ways of all domains
are walked once from each such beginning, and what differs for one host (its own and near domains) is added and taken
away. Hosts with other tables are walked domain by domain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from .._inventory.model import Host
from .._plan.static import SharedLines, Static
from .simulation import DELIVERED, HELD, Alike, Case, Scenario, Walker


class Inside:
    """A host that is down cuts ways short, but for those that have a second server to go to.

    ``ends`` counts where ways end when all is up, ``through`` those that arrive, by each host on them, ``around`` those
    of them that arrive without that host too; ``faults`` are ways that do not arrive.
    """

    def __init__(self, walker: Walker, alike: Sequence[Alike]) -> None:
        self.walker = walker
        self.alike = alike
        self.domains = sum(each.size for each in alike)
        self.ends: Counter[str] = Counter()
        self.through: Counter[str] = Counter()
        self.around: Counter[str] = Counter()
        self.down = {scenario.host: scenario for scenario in walker.scenarios() if scenario.host}
        self.faults: list[Case] = []
        self._of_host: dict[str, list[Alike]] = {}  # alike domains by each host that takes them as its own
        self._of_home: dict[str, list[Alike]] = {}
        for each in alike:
            self._of_home.setdefault(walker.homes[each.domain].name, []).append(each)
            for taker in walker.takers.get(each.domain, ()):
                self._of_host.setdefault(taker, []).append(each)
        self._count_all()

    def count(self, scenario: Scenario) -> Counter[str]:
        """Return how many pairs end how in a scenario."""
        counts = Counter(self.ends)
        if scenario.host:
            held = self.through[scenario.host] - self.around[scenario.host]
            counts[DELIVERED] -= held
            counts[HELD] += held
        return counts

    def _count_all(self) -> None:
        """Find how often each domain's mail starts, in effect, at each host; then walk each of these ways once."""
        shared = {name: node.shared for name, node in self.walker.nodes.items() if node.shared is not None}
        regular = all(node.regular for node in self.walker.nodes.values())
        hubs = {lines.rest.name for lines in shared.values() if isinstance(lines.rest, Host)}
        if not regular or any(hub not in shared or isinstance(shared[hub].rest, Host) for hub in hubs):
            for start in self.walker.nodes:
                self._walk(start, dict.fromkeys(self.alike, 1))
            return
        starts = Counter(dict.fromkeys(shared, 1))  # how often all domains are sent from each host
        times_of: dict[str, dict[Alike, int]] = {}
        rests: dict[int, tuple[Mapping[str, Static], int]] = {}  # shared lines, and how many hosts send all by them

        def send(start: str, each: Alike, times: int) -> None:
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
            for each in self.alike:
                send(rest[each.domain].host, each, times)
                self._go_around(each, rest[each.domain].host, rest[each.domain].next_hops, each.size * times)
        for start, weights in times_of.items():
            self._walk(start, weights)

    def _special(self, name: str, lines: SharedLines) -> list[Alike]:
        """Return the domains that a host does not send as the rest: its own, and those of the servers near it."""
        own = self._of_host.get(name, [])
        known = {each.domain for each in own}
        near = [each for home in sorted(lines.near) for each in self._of_home.get(home, [])]
        return [*own, *(each for each in near if each.domain not in known)]

    def _walk(self, start: str, weights: Mapping[Alike, int]) -> None:
        """Count the way of each domain's mail from one host, as often as ``weights`` says."""
        for each, times in weights.items():
            if not times:
                continue
            walk = self.walker.walk(each.domain, start)
            number = each.size * times
            self.ends[walk.end] += number
            if walk.end == DELIVERED:
                for host in walk.hosts:
                    self.through[host] += number
                sample = self.walker.samples.get(each.domain, each.domain)
                for before, host in pairwise(walk.hosts):
                    if host in self.down:
                        self._go_around(each, host, self.walker.nodes[before].hops(each.domain, sample), number)
            else:
                self.faults.append(Case(Scenario("all_up"), "inside", each.domain, walk.end, walk.hosts, each.size))

    def _go_around(self, each: Alike, host: str, hops: tuple[str, ...], number: int) -> None:
        """Count the mail that a line's second server gets while the first, ``host``, is down."""
        if len(hops) == 1 or host not in self.down:
            return
        walk = self.walker.onward(each.domain, hops, host)
        if walk.end == DELIVERED:
            self.around[host] += number
        elif walk.end != HELD and number > 0:
            self.faults.append(Case(self.down[host], "inside", each.domain, walk.end, walk.hosts, each.size))
