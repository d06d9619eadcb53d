# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a rollout, from the plan and what was read on each host. Pure: facts in, states out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import border_cells, dns_cells, mail_cells
from .facts import Cell, Facts
from .phases import NO_FACULTY, PHASES, domains_of, faculties_of


@dataclass(frozen=True)
class Faculty:
    """The phases of one faculty, and what does not fit together."""

    name: str
    phases: Mapping[str, Cell]
    drift: tuple[str, ...]

    @property
    def next(self) -> str:
        """The first phase that is not complete, "" if all are."""
        return next((phase for phase in PHASES if not self.phases[phase].complete), "")


def states(plan: Mapping[str, Any], facts: Facts, faculties: Collection[str] = ()) -> list[Faculty]:
    """Return the states of these faculties, or of all."""
    return [faculty_state(plan, facts, name) for name in faculties or faculties_of(plan)]


def faculty_state(plan: Mapping[str, Any], facts: Facts, name: str) -> Faculty:
    """Return the state of one faculty."""
    domains = domains_of(plan, name)
    cells = {
        "survey": mail_cells.survey(plan, facts, name),
        "routes": mail_cells.routes(plan, facts, domains),
        "gateways": mail_cells.gateways(plan, facts, domains),
        "ttl": dns_cells.ttl(plan, facts, domains),
        "mx": dns_cells.mx(plan, facts, domains),
        "observe": border_cells.observe(plan, facts, name),
        "block": border_cells.block(plan, facts, name),
    }
    return Faculty(name, cells, tuple(_drift(plan, facts, domains, cells)))


def label(name: str) -> str:
    """Return the name of a faculty for people."""
    return "(no faculty)" if name == NO_FACULTY else name


def _drift(plan: Mapping[str, Any], facts: Facts, domains: Collection[str], cells: Mapping[str, Cell]) -> Iterable[str]:
    """Yield what does not fit together: records that are neither former nor planned, and phases out of order."""
    for host in dns_cells.serving(plan, domains):
        for owner in dns_cells.records(plan, facts, host, domains)[0]:
            if owner["state"] == "other":
                served = ", ".join(owner["mx"])
                yield f"{host}: {owner['owner']} has MX {served}, neither the planned nor the former ones"
    # The gateways serve all faculties, so without MX records that name them nothing is out of order yet.
    needs = {"block": ("routes", "gateways", "mx"), "mx": ("routes", "gateways")}
    meaning = {"mx": "MX records name the gateways", "block": "the border blocks"}
    last = next((phase for phase in needs if cells[phase].ready), "")
    for phase in needs.get(last, ()):
        for host, reason in cells[phase].missing.items():
            yield f"{host}: {reason}, although {meaning[last]}"
