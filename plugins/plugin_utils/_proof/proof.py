# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: simulate every domain in every scenario for every sender, and count the outcomes.

One domain stands for all with equal entries in all tables, and routes that a host that is down cannot affect are not
simulated again. So time grows with the number of domains, not with domains x hosts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .._inventory.model import Campus, Host
from .._plan.routes import Tables
from .by_mx import MailByMx, senders
from .internal import InternalMail
from .outcomes import outcomes
from .simulation import (
    BLOCKED,
    DELIVERED,
    EXPOSED,
    HELD,
    LOOP,
    LOST,
    OUTSIDE,
    VERDICTS,
    Case,
    DomainGroup,
    Outcome,
    Scenario,
    Simulation,
)

__all__ = [
    "BLOCKED",
    "DELIVERED",
    "EXPOSED",
    "HELD",
    "LOOP",
    "LOST",
    "OUTSIDE",
    "SENDERS",
    "VERDICTS",
    "Case",
    "Proof",
    "Scenario",
    "Simulation",
    "as_dict",
    "outcomes",
    "prove",
    "prove_campus",
    "whole_proof",
]

SENDERS = ("mx", "direct", "relay", "inside")
MAX_EXAMPLES = 5

Counts = dict[Scenario, dict[str, Counter[str]]]


@dataclass(frozen=True)
class Proof:
    """Counts per scenario and sender. A count is a domain; for ``inside`` a pair of sending host and domain.

    ``faults`` are loops and losses: with any of them the plan must be refused. ``exposed`` are the domains for which
    external senders can bypass the gateways although the border rule is in place, ``exposed_domains`` is their number.
    In both, one case stands for all domains with equal entries.
    """

    counts: Counts
    faults: tuple[Case, ...] = ()
    exposed: tuple[Case, ...] = ()
    exposed_domains: int = 0

    @property
    def ok(self) -> bool:
        """Return whether no mail loops, is lost, or is exposed while the border rule is in place."""
        return not self.faults and not self.exposed


def prove_campus(campus: Campus, tables: Tables) -> Proof:
    """Return the proof of these tables."""
    simulation = Simulation(campus, tables)
    return prove(simulation, simulation.domain_groups())


def prove(simulation: Simulation, groups: Sequence[DomainGroup]) -> Proof:
    """Simulate everything and count; ``groups`` are the domain groups of the simulation."""
    inside = InternalMail(simulation, groups)
    by_mx = MailByMx(simulation, groups)
    scenarios = list(simulation.scenarios())
    counts: Counts = {scenario: {sender: Counter() for sender in SENDERS} for scenario in scenarios}
    found: list[Case] = []
    for sender in ("mx", "direct"):
        found += _count_outside(simulation, groups, sender, counts)
    everything = sum(each.size for each in groups)
    for scenario in scenarios:
        counts[scenario]["inside"] = inside.count(scenario) + by_mx.count(scenario)
        if groups:
            relay = simulation.outside(scenario, "relay", groups[0].domain)
            counts[scenario]["relay"][relay.verdict] += everything
            found.append(Case(scenario, "relay", groups[0].domain, relay.verdict, relay.path, everything))
    faults = [*inside.faults, *by_mx.faults, *(case for case in found if case.verdict in (LOOP, LOST))]
    exposed = [case for case in found if case.verdict == EXPOSED and case.scenario.kind != "border_open"]
    sizes = {case.domain: 0 for case in exposed}
    for case in exposed:
        sizes[case.domain] = max(sizes[case.domain], case.domains)
    return Proof(counts, tuple(faults), tuple(exposed), min(sum(sizes.values()), everything))


def _count_outside(simulation: Simulation, groups: Sequence[DomainGroup], sender: str, counts: Counts) -> list[Case]:
    """Count one kind of sender in all scenarios; return the cases that are exposed or faulty."""
    cases: list[Case] = []
    base: Counter[str] = Counter()

    def observe(scenario: Scenario, domain: str) -> Outcome:
        return simulation.outside(scenario, sender, domain)

    for scenario, each, usual, found in outcomes(groups, counts, observe):
        if usual is None:
            base[found.verdict] += each.size
        else:
            counts[scenario][sender][usual.verdict] -= each.size
            counts[scenario][sender][found.verdict] += each.size
        if found.verdict in (EXPOSED, LOOP, LOST):
            cases.append(Case(scenario, sender, each.domain, found.verdict, found.path, each.size))
    for count in counts.values():
        count[sender].update(base)
    return cases


def as_dict(proof: Proof) -> dict[str, object]:
    """Return the proof as plain data: the verdict, the counts, and the first few exposed domains with their paths."""
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
        "exposed": [_case(case) for case in proof.exposed[:MAX_EXAMPLES]],
    }


def _case(case: Case) -> dict[str, object]:
    return {
        "scenario": case.scenario.kind,
        "host": case.scenario.host,
        "sender": case.sender,
        "domain": case.domain,
        "verdict": case.verdict,
        "path": list(case.path),
    }


def _sent_by_mx(simulation: Simulation, scenario: Scenario, domain: str, host: Host) -> tuple[str, tuple[str, ...]]:
    """Return the verdict and path of mail from a server that others maintain."""
    if scenario.host == host.name:
        return HELD, (host.name,)
    if domain in simulation.destinations[host.name]:
        return DELIVERED, (host.name,)
    found = simulation.inside_by_mx(scenario, domain, host)
    return found.verdict, found.path


def whole_proof(simulation: Simulation) -> Iterator[str]:
    """Yield, in pieces, one JSON document with every domain in every scenario for every kind of sender.

    It is an object with ``campus``, ``method``, ``delivery``, ``external`` (the domains that a provider hosts, if there
    are any) and ``cases``, one case per line. The case of ``inside``
    is the worst of all starting hosts; its ``starts`` counts them by verdict. Only one domain is in memory at a time.
    """
    campus = simulation.campus
    head: dict[str, object] = {"campus": campus.name, "method": campus.method, "delivery": campus.delivery}
    if campus.external:
        head["external"] = list(campus.external)
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": ['
    separator = "\n"
    scenarios = list(simulation.scenarios())
    for domain in simulation.homes:
        traces = [simulation.trace(domain, start) for start in simulation.nodes]
        for scenario in scenarios:
            for sender in ("mx", "direct", "relay"):
                found = simulation.outside(scenario, sender, domain)
                case = Case(scenario, sender, domain, found.verdict, found.path)
                yield separator + json.dumps(_case(case))
                separator = ",\n"
            starts: dict[str, int] = {}
            paths: dict[str, tuple[str, ...]] = {}
            for trace in traces:
                verdict, path = trace.end, trace.hosts
                if verdict == DELIVERED and scenario.host in path:
                    waits = path[0] == scenario.host
                    path, verdict = (path[:1], HELD) if waits else simulation.trace(domain, path[0], scenario.host)
                starts[verdict] = starts.get(verdict, 0) + 1
                paths.setdefault(verdict, path)
            for sender_host in senders(simulation):
                verdict, path = _sent_by_mx(simulation, scenario, domain, sender_host)
                starts[verdict] = starts.get(verdict, 0) + 1
                paths.setdefault(verdict, path)
            worst = min(starts, key=(LOST, LOOP, HELD, DELIVERED).index)
            inside = _case(Case(scenario, "inside", domain, worst, paths[worst]))
            yield separator + json.dumps(inside | {"starts": starts})
    yield "\n]}\n"
