# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a rollout as text and as plain data."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from .._rollout.facts import DONE, Facts
from .._rollout.gate import next_step
from .._rollout.phases import PHASES
from .._rollout.runs import Run
from .._rollout.state import Faculty, label
from .columns import plain, table

_REASONS = 10


def text(faculties: Sequence[Faculty], facts: Facts, runs: Sequence[Run] = ()) -> str:
    """Return the table of all faculties, then what is missing, what does not fit together, and the next steps."""
    rows = [[label(each.name), *(each.phases[phase].state for phase in PHASES)] for each in faculties]
    lines = ["State of the rollout, as read on the hosts:", "", *table(["Faculty", *PHASES], rows)]
    if details := list(_details(faculties)):
        lines += ["", "Missing or not known:", *details]
    if notes := dict.fromkeys(n for each in faculties for cell in each.phases.values() for n in cell.notes):
        lines += ["", "Notes:", *(f"  {note}" for note in notes)]
    if drift := dict.fromkeys(line for each in faculties for line in each.drift):
        lines += ["", "Drift:", *(f"  {plain(line)}" for line in drift)]
    if facts.unreachable:
        lines += ["", "Could not be asked:", *(f"  {host}: {plain(why)}" for host, why in facts.unreachable.items())]
    lines += ["", "Next safe step:", *(f"  {label(each.name)}: {next_step(each, facts.now)}" for each in faculties)]
    if runs:
        lines += ["", "Last runs from this controller:", *run_lines(runs)]
    return "\n".join(lines)


def _details(faculties: Iterable[Faculty]) -> Iterable[str]:
    """Yield what is missing of each phase that has begun."""
    for faculty in faculties:
        for phase in PHASES:
            cell = faculty.phases[phase]
            if cell.complete or (cell.state == "not" and phase != faculty.next):
                continue
            reasons = cell.reasons()
            more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
            yield f"  {label(faculty.name)}, {phase}: {plain('; '.join(reasons[:_REASONS]))}{more}"


def run_lines(runs: Iterable[Run]) -> list[str]:
    """Return the runs as a table: when, who, what, which hosts."""
    return table(["When (UTC)", "Who", "What", "Hosts changed"], [_run_row(run) for run in runs])


def _run_row(run: Run) -> list[str]:
    when = f"{datetime.datetime.fromtimestamp(run.began, tz=datetime.UTC):%Y-%m-%d %H:%M:%S}"
    # A run of site has no phases.
    counts = {host: [f"{len(items)} changed"] for host, items in run.files.items()}
    hosts = ", ".join(f"{host} ({', '.join(parts)})" for host, parts in (run.hosts or counts).items())
    return [when, run.who, run.what, hosts or ("none" if run.ended else "not known: the run did not reach its end")]


def duration(seconds: float) -> str:
    """Return a duration as text, as 1 h 5 min or 12 s."""
    whole = max(0, round(seconds))
    parts = ((whole // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60, "s"))
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2]) or "0 s"


def as_dict(faculties: Iterable[Faculty], facts: Facts) -> dict[str, Any]:
    """Return the states as plain data."""
    return {
        "faculties": [
            {
                "faculty": "" if each.name == "-" else each.name,
                "phases": {
                    phase: {
                        "state": cell.state,
                        "ready": cell.ready,
                        "missing": cell.missing,
                        "unknown": cell.unknown,
                        "until": cell.until,
                    }
                    for phase, cell in each.phases.items()
                },
                "drift": list(each.drift),
                "next": next_step(each, facts.now),
                "complete": all(cell.state == DONE for cell in each.phases.values()),
            }
            for each in faculties
        ],
        "not_asked": facts.unreachable,
    }
