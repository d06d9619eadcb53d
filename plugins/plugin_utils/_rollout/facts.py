# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read on the hosts of a campus, and the state of a phase for a faculty. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

DONE, PARTLY, NOT, UNKNOWN, NOTHING = "done", "partly", "not", "not known", "nothing to do"


@dataclass(frozen=True)
class Settings:
    """What a phase must reach.

    Attributes:
        lowered_ttl: The TTL in seconds of MX records that is low enough for a change.
        quiet: For how many seconds no direct connection may come.
        accepted: Hosts whose problems do not count.
    """

    lowered_ttl: int = 300
    quiet: int = 86400
    accepted: Collection[str] = ()


@dataclass
class Cell:
    """A phase for one faculty.

    Attributes:
        ready: The hosts that have it.
        missing: The hosts that do not, each with the reason.
        unknown: The hosts that could not be asked, each with the reason.
        until: The time in seconds since 1970 until which to wait, 0 without one.
        notes: What an admin should know.
    """

    ready: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    until: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The state in one word."""
        if self.missing:
            return PARTLY if self.ready else NOT
        if self.unknown:
            return UNKNOWN
        return DONE if self.ready else NOTHING

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do and nothing is unknown."""
        return self.state in (DONE, NOTHING)

    def reasons(self) -> list[str]:
        """Return what is missing on which hosts, one text for each host."""
        found = [f"{host} ({reason})" for host, reason in self.missing.items()]
        return found + [f"{host} (not known: {reason})" for host, reason in self.unknown.items()]


class Facts:
    """What was read on each host, and why there is nothing of some."""

    def __init__(self, answers: Iterable[Mapping[str, Any]], settings: Settings) -> None:
        """Keep the results of rollout_check with `ask`."""
        self._facts = {str(each["host"]): each.get("facts") or {} for each in answers if each.get("facts")}
        self._reasons = {str(each["host"]): str(each.get("reason", "")) for each in answers if not each.get("facts")}
        self.settings = settings

    def of(self, host: str, part: str) -> Any:
        """Return a part of the facts of a host, None without it."""
        return self._facts.get(host, {}).get(part)

    def reason(self, host: str) -> str:
        """Return why there are no facts of a host."""
        return self._reasons.get(host) or "it was not asked"

    @property
    def now(self) -> int:
        """Return the latest time at which a host was asked."""
        return max((int(facts["time"]) for facts in self._facts.values() if "time" in facts), default=0)

    @property
    def unreachable(self) -> dict[str, str]:
        """Return the hosts that could not be asked, with the reason."""
        return dict(self._reasons)

    def fill(self, cell: Cell, host: str, part: str, judge: Callable[[Any], str]) -> None:
        """Enter a host into a cell; `judge` returns what is missing, or ""."""
        found = self.of(host, part)
        if host in self.settings.accepted:
            cell.ready.append(host)
        elif found is None:
            cell.unknown[host] = self.reason(host)
        elif problem := judge(found):
            cell.missing[host] = problem
        else:
            cell.ready.append(host)


def some(names: list[str]) -> str:
    """Return some names as a text."""
    more = f" and {len(names) - 2} more" if len(names) > 3 else ""
    return ", ".join(names[: 2 if more else 3]) + more


def time_text(seconds: int) -> str:
    """Return a time as text, as 2027-03-31 12:00:05 UTC."""
    return f"{datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC):%Y-%m-%d %H:%M:%S UTC}"
