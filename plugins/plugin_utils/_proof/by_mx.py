# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the outcomes of mail from servers that others maintain: it follows the MX records, through the gateways.

Those outside the campus's networks are external senders, which the proof counts anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .._inventory.model import Host
from .outcomes import outcomes
from .simulation import DELIVERED, HELD, LOOP, LOST, Case, DomainGroup, Outcome, Scenario, Simulation


class MailByMx:
    """Counts of pairs of sending server and domain. Servers with the same IP versions have the same outcomes."""

    def __init__(self, simulation: Simulation, groups: Sequence[DomainGroup]) -> None:
        self.simulation = simulation
        self.groups = groups
        self.faults: list[Case] = []
        self._base: Counter[str] = Counter()
        self._changes: dict[Scenario, Counter[str]] = {}
        families: dict[str, list[Host]] = {}
        for host in senders(simulation):
            families.setdefault(host.families, []).append(host)
        for hosts in families.values():
            self._count(hosts)

    def count(self, scenario: Scenario) -> Counter[str]:
        """Return the number of pairs by verdict in a scenario."""
        counts = Counter(self._base)
        counts.update(self._changes.get(scenario, {}))
        return counts

    def _count(self, hosts: Sequence[Host]) -> None:
        """Count the mail of servers with the same IP versions."""
        simulation = self.simulation
        first = hosts[0]
        down = {host.name: host for host in hosts}
        own = {
            group: sum(group.domain in simulation.destinations[host.name] for host in hosts) for group in self.groups
        }

        def observe(scenario: Scenario, domain: str) -> Outcome:
            return simulation.inside_by_mx(scenario, domain, first)

        scenarios = list(simulation.scenarios())
        for scenario, group, usual, found in outcomes(self.groups, scenarios, observe):
            times = group.size * (len(hosts) - own[group])
            if usual is None:
                self._base[found.verdict] += times
                self._base[DELIVERED] += group.size * own[group]
            else:
                change = self._changes.setdefault(scenario, Counter())
                change[usual.verdict] -= times
                change[found.verdict] += times
            if found.verdict in (LOOP, LOST) and times:
                self.faults.append(Case(scenario, "inside", group.domain, found.verdict, found.path, group.size))
        for scenario in scenarios:
            if scenario.host in down:  # it sends nothing, not even to itself
                self._hold(scenario, down[scenario.host], self._changes.setdefault(scenario, Counter()))

    def _hold(self, scenario: Scenario, host: Host, change: Counter[str]) -> None:
        for group in self.groups:
            is_own = group.domain in self.simulation.destinations[host.name]
            found = self.simulation.inside_by_mx(scenario, group.domain, host)
            change[DELIVERED if is_own else found.verdict] -= group.size
            change[HELD] += group.size


def senders(simulation: Simulation) -> list[Host]:
    """Return the servers of others whose mail starts inside."""
    campus = simulation.campus
    return [campus.hosts[name] for name in simulation.destinations if name not in campus.beyond_border]
