# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems of an inventory: place, message, and how to fix each."""

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
    """One problem and a hint how to fix it. ``host`` is an inventory host name, or ``all`` for the whole campus."""

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
    """The inventory cannot be planned, or its plan failed the proof, for the reasons in ``problems``.

    ``warnings`` are reported with them; they do not prevent a plan.
    """

    def __init__(self, problems: Iterable[Problem], warnings: Iterable[str] = ()) -> None:
        self.problems = merge(problems)
        self.warnings = list(warnings)
        super().__init__(report(self.problems, self.warnings))


def merge(problems: Iterable[Problem]) -> list[Problem]:
    """Merge problems that one line causes on many hosts (a group variable) into one that names the first host."""
    order: dict[tuple[str, str, int, str], list[Problem]] = {}
    for problem in problems:
        # Without a line number two causes cannot be told apart, so each host keeps its own problem.
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
    """Return a heading with the number of problems, a numbered list with one per line, then the warnings."""
    lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
    noted = [f"  Warning: {warning}" for warning in warnings]
    return "\n".join([f"{summary(len(lines))}:", *lines, *noted])


def summary(count: int) -> str:
    """Return the heading of a list of ``count`` problems."""
    return f"{count} problem{'' if count == 1 else 's'} in the inventory, nothing was changed"
