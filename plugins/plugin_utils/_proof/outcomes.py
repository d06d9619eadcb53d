# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outcomes of all domains in all scenarios, without simulating what a host that is down cannot affect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from .simulation import DomainGroup, Outcome, Scenario


def outcomes(
    groups: Sequence[DomainGroup], scenarios: Iterable[Scenario], observe: Callable[[Scenario, str], Outcome]
) -> Iterator[tuple[Scenario, DomainGroup, Outcome | None, Outcome]]:
    """Yield the outcome of each group in the first scenario (all up), then in each scenario that may change it.

    Each item is (scenario, group, outcome with all up or None for that scenario itself, outcome).
    """
    all_up, *others = scenarios
    usual: list[Outcome] = []
    touching: dict[str, list[int]] = {}
    for number, each in enumerate(groups):
        found = observe(all_up, each.domain)
        usual.append(found)
        for host in set(found.touched):
            touching.setdefault(host, []).append(number)
        yield all_up, each, None, found
    for scenario in others:
        changed = range(len(groups)) if scenario.kind == "border_open" else touching.get(scenario.host, ())
        for number in changed:
            yield scenario, groups[number], usual[number], observe(scenario, groups[number].domain)
