# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of an inventory, and the problems found while reading it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .model import KINDS
from .problems import Place, Problem

CAMPUS_VARIABLES = ("mailgate_campus", "mailgate_networks", "mailgate_method", "mailgate_delivery", "mailgate_language")
KIND_VARIABLES = ("mailgate_gateway", "mailgate_border", "mailgate_dns", "mailgate_domains")
# In the order in which they tell where a host stands in the inventory: what only a host sets comes first.
HOST_VARIABLES = (
    *KIND_VARIABLES,
    "mailgate_backup_domains",
    "mailgate_keep_mx",
    "mailgate_permit",
    "mailgate_address",
    "ansible_host",
    "mailgate_address6",
    "mailgate_faculty",
    "mailgate_hub",
    "mailgate_ask",
)
ROLE_VARIABLES = ("mailgate_max_message_bytes",)  # read by the roles alone
KNOWN_VARIABLES = (*CAMPUS_VARIABLES, *(name for name in HOST_VARIABLES if name != "ansible_host"), *ROLE_VARIABLES)
PREFIX = "mailgate_"
# Not facts of the inventory: what the playbooks make themselves, and their own parameters, mailgate_<playbook>_*.
PLAYBOOK_VARIABLES = re.compile(r"mailgate_(plan|site|verify|rollback|discover|report)(_\w+)?")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the inventory says of one host: its groups, those of our variables that it has, and those that nobody knows.

    ``unknown`` maps the name of each further ``mailgate_*`` variable to the name as the inventory spells it, which may
    carry its place, and its value.
    """

    name: str
    groups: Sequence[str]
    variables: Mapping[str, object]
    unknown: Mapping[str, Sequence[object]] = field(default_factory=dict)


def is_unknown(variable: str) -> bool:
    """Tell whether a variable has our prefix but is none of ours: a slip of the pen, which would be passed over."""
    return (
        variable.startswith(PREFIX) and variable not in KNOWN_VARIABLES and not PLAYBOOK_VARIABLES.fullmatch(variable)
    )


class Unreadable:
    """Stands for a value that is not there to be read: nothing more is to be said of it than its own problem.

    Of a variable whose template failed, ``reason`` is the template engine's message.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason


_TODO = re.compile(r"TODO(?:: *|$)")


def undecided(value: object) -> str | None:
    """Return what a value marked ``TODO: ...`` waits for, as drafts of playbooks/discover.yml have it; else None."""
    mark = _TODO.match(value) if isinstance(value, str) else None
    return text(value)[mark.end() :] if mark else None


# Given a host (None: the campus) and the values to blame, the closest first: where they stand in the inventory.
Locate = Callable[[HostFacts | None, Sequence[object]], Place]


class Findings:
    """The facts of all hosts, by name, and what was found wrong (``problems``) or noteworthy (``warnings``) in them."""

    def __init__(self, facts: Sequence[HostFacts], locate: Locate) -> None:
        self.locate = locate
        self.problems: list[Problem] = []
        self.facts = {host.name: host for host in facts}
        self.warnings: list[str] = []
        self.members: dict[str, set[str]] = {}
        self._inner: dict[tuple[str, ...], list[str]] = {}
        for host in facts:
            for group in host.groups:
                self.members.setdefault(group, set()).add(host.name)
        own = {f"mailgate_{kind}" for kind in KINDS}  # made at run time by tasks/plan.yml, never a faculty
        self.no_faculty = {"all", "ungrouped"} | own
        waiting = [host for host in facts if any(undecided(value) is not None for value in host.variables.values())]
        self.facts |= {host.name: self._without_undecided(host) for host in waiting}
        self.hub_names = {
            hub for host in facts if isinstance(hub := host.variables.get("mailgate_hub"), str) and hub in self.facts
        }

    def _without_undecided(self, facts: HostFacts) -> HostFacts:
        """Report the variables that wait to be decided, and hand on the others."""
        known = {name: self.settled(facts, name, value) for name, value in facts.variables.items()}
        return replace(facts, variables=known)

    def settled(self, facts: HostFacts | None, variable: str, value: object) -> object:
        """Return a value; one that waits to be decided is reported, and stands for nothing."""
        wanted = undecided(value)
        if wanted is None:
            return value
        said = f"still to be decided{wanted and ': '}{wanted}"
        self.problem(facts, variable, said, "Write it in place of the TODO", [value])
        return Unreadable()

    def inner_groups(self, facts: HostFacts) -> list[str]:
        """Return the host's innermost groups, by name: one that holds another of its groups is a parent."""
        key = tuple(facts.groups)  # most hosts share theirs, and large groups take long to compare
        if key not in self._inner:
            groups = sorted(set(key) - self.no_faculty)
            self._inner[key] = [g for g in groups if not any(self.members[other] < self.members[g] for other in groups)]
        return self._inner[key]

    def problem(
        self, facts: HostFacts | None, variable: str, message: str, hint: str, values: Sequence[object] = ()
    ) -> None:
        place = self.place(facts, variable, values)
        host = facts.name if facts else "all"
        self.problems.append(Problem(host, variable, place.file, place.line, message, hint))

    def place(self, facts: HostFacts | None, variable: str, values: Sequence[object] = ()) -> Place:
        if facts is None:
            whole = next(iter(self.facts.values()), None)
            known = [whole.variables[name] for name in CAMPUS_VARIABLES if name in whole.variables] if whole else []
            return self.locate(None, [*values, *known])
        names = (variable, *HOST_VARIABLES)
        return self.locate(facts, [*values, *(facts.variables[name] for name in names if name in facts.variables)])


def is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def items(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)


def text(value: object) -> str:
    """Return plain text: Ansible's strings carry tags that the plan must not hand on."""
    return "".join(value) if isinstance(value, str) else "" if value is None else str(value)


def as_date(value: object) -> datetime.date | None:
    # YAML reads 2027-03-31 as a date; quoted, or from an INI file, it is text.
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return datetime.date(value.year, value.month, value.day)
    try:
        return datetime.date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
