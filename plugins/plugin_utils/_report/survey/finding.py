# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sentence of a survey about a host, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..translations import N_, Translations

FACT, CHANGE, CONFLICT, OBSTACLE = "fact", "change", "conflict", "obstacle"
READY, CONFLICTS, CANNOT = "ready", "conflicts", "cannot"
LISTS = {
    READY: N_("Ready"),
    CONFLICTS: N_("Ready, with these conflicts"),
    CANNOT: N_("Cannot be changed"),
}
_SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """A sentence about a host.

    Attributes:
        level: FACT, CHANGE (what the plan changes), CONFLICT (to be decided first) or OBSTACLE (no change is possible).
        text: The English text, with names of values in braces.
        fix: What to do, likewise; "" for nothing.
        values: The values.
    """

    level: str
    text: str
    fix: str = ""
    values: Mapping[str, object] = field(default_factory=dict)

    def sentence(self, catalog: Translations) -> str:
        """Return the translated text."""
        return catalog.gettext(self.text).format(**self.values)

    def advice(self, catalog: Translations) -> str:
        """Return what to do, translated; "" for nothing."""
        return catalog.gettext(self.fix).format(**self.values) if self.fix else ""


@dataclass(frozen=True)
class Verdict:
    """A host with all findings, and its answer as the module returned it."""

    host: str
    faculty: str
    functions: Sequence[str]
    findings: Sequence[Finding]
    answer: Mapping[str, Any]

    @property
    def list_name(self) -> str:
        """Return the list that the host is in."""
        levels = {finding.level for finding in self.findings}
        return CANNOT if OBSTACLE in levels else CONFLICTS if CONFLICT in levels else READY

    @property
    def issues(self) -> list[Finding]:
        """Return the obstacles, then the conflicts."""
        return [each for level in (OBSTACLE, CONFLICT) for each in self.findings if each.level == level]

    @property
    def facts(self) -> list[Finding]:
        """Return what the plan changes, then the facts."""
        return [each for level in (CHANGE, FACT) for each in self.findings if each.level == level]


def some(names: Sequence[object], count: int = 0) -> str:
    """Return the first names of a list, and how many more there are of `count` in all."""
    shown = ", ".join(map(str, names[:_SHOWN]))
    more = max(count, len(names)) - min(len(names), _SHOWN)
    return f"{shown} (+{more})" if more else shown
