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
from collections.abc import Iterable, Mapping, Sequence

from ._model import Host
from ._static import SharedLines, Static
from ._walk import DELIVERED, HELD, Alike, Case, Scenario, Walk, Walker


class Inside:
    """STATIC lines know no second way, so a host that is down only cuts ways short.

    ``ends`` counts where ways end when all is up, ``through`` those that arrive, by each host on them; ``faults`` are
    ways that do not arrive.
    """

    def __init__(self, walker: Walker, alike: Sequence[Alike]) -> None:
        self.walker = walker
        self.alike = alike
        self.domains = sum(each.size for each in alike)
        self.ends: Counter[str] = Counter()
        self.through: Counter[str] = Counter()
        self.faults: list[Case] = []
        self._seen: set[tuple[str, str]] = set()
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
            held = self.through[scenario.host]
            counts[DELIVERED] -= held
            counts[HELD] += held
        return counts

    def _count_all(self) -> None:
        shared = {name: node.shared for name, node in self.walker.nodes.items() if node.shared is not None}
        regular = all(node.regular for node in self.walker.nodes.values())
        hubs = {lines.rest.name for lines in shared.values() if isinstance(lines.rest, Host)}
        if not regular or any(hub not in shared or isinstance(shared[hub].rest, Host) for hub in hubs):
            for start in self.walker.nodes:
                self._add(((each, self.walker.walk(each.domain, start)) for each in self.alike), 1)
            return
        starts = Counter(dict.fromkeys(shared, 1))  # how often all domains are sent from each host
        rests: dict[int, tuple[Mapping[str, Static], int]] = {}  # shared lines, and how many hosts send all by them
        for name, lines in sorted(shared.items(), key=lambda item: not isinstance(item[1].rest, Host)):
            times = starts[name]
            special = self._special(name, lines)
            self._add(((each, self.walker.walk(each.domain, name)) for each in special), times)
            self.through[name] += times * (self.domains - sum(each.size for each in special))
            rest = lines.rest
            if isinstance(rest, Host):
                starts[rest.name] += times
                self._add(((each, self.walker.walk(each.domain, rest.name)) for each in special), -times)
            else:
                rests[id(rest)] = (rest, rests.get(id(rest), (rest, 0))[1] + times)
                self._add(self._by(rest, special), -times)
        for rest, times in rests.values():
            self._add(self._by(rest, self.alike), times)

    def _special(self, name: str, lines: SharedLines) -> list[Alike]:
        """Return the domains that a host does not send as the rest: its own, and those of the servers near it."""
        own = self._of_host.get(name, [])
        known = {each.domain for each in own}
        near = [each for home in sorted(lines.near) for each in self._of_home.get(home, [])]
        return [*own, *(each for each in near if each.domain not in known)]

    def _by(self, lines: Mapping[str, Static], alike: Iterable[Alike]) -> Iterable[tuple[Alike, Walk]]:
        return ((each, self.walker.walk(each.domain, lines[each.domain].host)) for each in alike)

    def _add(self, walks: Iterable[tuple[Alike, Walk]], times: int) -> None:
        for each, walk in walks:
            number = each.size * times
            self.ends[walk.end] += number
            if walk.end == DELIVERED:
                for host in walk.hosts:
                    self.through[host] += number
            elif (each.domain, walk.hosts[0]) not in self._seen:
                self._seen.add((each.domain, walk.hosts[0]))
                self.faults.append(Case(Scenario("all_up"), "inside", each.domain, walk.end, walk.hosts, each.size))
