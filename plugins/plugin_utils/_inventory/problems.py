# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an inventory: where, what, and how to hint it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A line of an inventory file; an empty ``file`` or a ``line`` of 0 means unknown."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file and self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to hint. ``host`` is an inventory host name, or ``all`` for what belongs to the whole campus."""

    host: str
    variable: str
    file: str
    line: int
    message: str
    hint: str

    def __str__(self) -> str:
        place = str(Place(self.file, self.line))
        return f"{self.host}: {self.variable}: {self.message}{f' ({place})' if place else ''}. {self.hint}"


class PlanRefused(ValueError):
    """The inventory can't be planned, or its plan failed the proof. ``problems`` holds every reason.

    ``warnings`` are of things to look at in the same go: each alone would not have kept the plan from being made.
    """

    def __init__(self, problems: Iterable[Problem], warnings: Iterable[str] = ()) -> None:
        self.problems = merge(problems)
        self.warnings = list(warnings)
        super().__init__(report(self.problems, self.warnings))


def merge(problems: Iterable[Problem]) -> list[Problem]:
    """Join what one line causes on many hosts (a group's variable) into one problem that names the first of them."""
    order: dict[tuple[str, str, int, str], list[Problem]] = {}
    for problem in problems:
        # Without a line nothing tells two causes apart, so each host keeps its own problem.
        host = "" if problem.line else problem.host
        key = (f"{host} {problem.variable}", problem.file, problem.line, problem.message)
        order.setdefault(key, []).append(problem)
    merged = []
    for same in order.values():
        first = same[0]
        more = len({problem.host for problem in same}) - 1
        host = f"{first.host} and {more} more" if more else first.host
        merged.append(Problem(host, first.variable, first.file, first.line, first.message, first.hint))
    return merged


def report(problems: Iterable[Problem], warnings: Iterable[str] = ()) -> str:
    """Return a numbered list, one problem a line, under a heading with their number; then the warnings."""
    lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    noted = [f"  Warning: {warning}" for warning in warnings]
    return "\n".join([f"{count} in the inventory, nothing was changed:", *lines, *noted])
