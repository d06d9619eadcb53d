# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of an inventory, and the problems found while reading it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from .model import KINDS, OTHERS
from .problems import Place, Problem

CAMPUS_VARIABLES = (
    "mailgate_campus",
    "mailgate_networks",
    "mailgate_method",
    "mailgate_language",
    "mailgate_retired",
    "mailgate_expire_permits",
    "mailgate_event_database",
)
KIND_VARIABLES = ("mailgate_gateway", "mailgate_border", "mailgate_dns", "mailgate_domains")
FUNCTION_VARIABLES = (*KIND_VARIABLES, "mailgate_backup_domains", "mailgate_permit")
# In the order in which they locate a host in the inventory: variables that only a host sets come first.
HOST_VARIABLES = (
    *KIND_VARIABLES,
    "mailgate_backup_domains",
    "mailgate_keep_mx",
    "mailgate_permit",
    "mailgate_name",
    "mailgate_address",
    "ansible_host",
    "mailgate_address6",
    "mailgate_faculty",
    "mailgate_hub",
    "mailgate_ask",
    "mailgate_delivery",
    "mailgate_external_domains",
    "mailgate_mta",
    "mailgate_keep_route",
)
ROLE_VARIABLES = (
    "mailgate_max_message_bytes",
    "mailgate_keep_packages",
    "mailgate_shared_state",
)  # read by the roles alone
KNOWN_VARIABLES = (*CAMPUS_VARIABLES, *(name for name in HOST_VARIABLES if name != "ansible_host"), *ROLE_VARIABLES)
PREFIX = "mailgate_"
LIKELY = 0.8  # similarity from which a misspelt name is read as the one that it resembles
# Not facts of the inventory: results and parameters of the playbooks, mailgate_<playbook>_*.
PLAYBOOK_VARIABLES = re.compile(
    r"mailgate_((plan|site|verify|rollback|discover|report|survey|remove|rollout|runs|back|ttl)(_\w+)?|mta_found|routes_written)"
)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts of one host: its groups, its variables of this collection, and its unknown ``mailgate_*`` variables.

    ``unknown`` maps each unknown name to the same name as read from the file, which may carry its place.
    """

    name: str
    groups: Sequence[str]
    variables: Mapping[str, object]
    unknown: Mapping[str, Sequence[object]] = field(default_factory=dict)


def is_unknown(variable: str) -> bool:
    """Return whether a variable has the collection's prefix but is not one of its variables: probably misspelt."""
    return (
        variable.startswith(PREFIX) and variable not in KNOWN_VARIABLES and not PLAYBOOK_VARIABLES.fullmatch(variable)
    )


def meant(variable: str, present: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the variable that a misspelt name probably means and that is not ``present``; "" if there is none."""
    names = [name.removeprefix(PREFIX) for name in KNOWN_VARIABLES if name not in present]
    near = get_close_matches(variable.removeprefix(PREFIX), names, 1, cutoff)
    return PREFIX + near[0] if near else ""


class Unreadable:
    """Placeholder for a value that cannot be used. Only its own problem is reported.

    If a template failed, ``reason`` is the message of the template engine.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason


_TODO = re.compile(r"TODO(?:: *|$)")


def undecided(value: object) -> str | None:
    """Return the text after ``TODO:`` in a value, as in drafts of playbooks/discover.yml; None without the mark."""
    mark = _TODO.match(value) if isinstance(value, str) else None
    return text(value)[mark.end() :] if mark else None


# Return the place of the first of these values that has one; the host is None for the campus.
Locate = Callable[[HostFacts | None, Sequence[object]], Place]


class Findings:
    """The facts of all hosts, by name, with their problems and warnings."""

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
        own = {
            f"mailgate_{kind}" for kind in (*KINDS, *OTHERS.values())
        }  # groups made at run time by tasks/plan.yml, never a faculty
        self.no_faculty = {"all", "ungrouped"} | own
        waiting = [host for host in facts if any(undecided(value) is not None for value in host.variables.values())]
        self.facts |= {host.name: self._without_undecided(host) for host in waiting}
        self.hub_names: set[str] = set()
        for hub in {hub for host in facts if isinstance(hub := host.variables.get("mailgate_hub"), str)}:
            self.hub_names |= {hub} & set(self.facts) or self._hub_meant(hub)

    def _hub_meant(self, name: str) -> set[str]:
        """Return the host that a misspelt hub name probably means, so that its own problems are found too."""
        idle = [name for name, facts in self.facts.items() if not facts.variables.keys() & set(FUNCTION_VARIABLES)]
        return set(get_close_matches(name, idle, 1, LIKELY))

    def is_mail_host(self, facts: HostFacts) -> bool:
        """Return whether a host has any function in the mail system."""
        return facts.name in self.hub_names or any(name in facts.variables for name in FUNCTION_VARIABLES)

    def _without_undecided(self, facts: HostFacts) -> HostFacts:
        """Report the variables that are still to be decided; return the facts without them."""
        known = {name: self.settled(facts, name, value) for name, value in facts.variables.items()}
        return replace(facts, variables=known)

    def settled(self, facts: HostFacts | None, variable: str, value: object) -> object:
        """Return a value; report one that is still to be decided and return it as Unreadable."""
        wanted = undecided(value)
        if wanted is None:
            return value
        message = f"still to be decided{wanted and ': '}{wanted}"
        self.problem(facts, variable, message, "Replace the TODO with the value", [value])
        return Unreadable()

    def inner_groups(self, facts: HostFacts) -> list[str]:
        """Return the host's innermost groups, by name: a group that contains another of its groups is a parent."""
        key = tuple(facts.groups)  # cached: many hosts share it, and large groups take long to compare
        if key not in self._inner:
            groups = sorted(set(key) - self.no_faculty)
            self._inner[key] = [g for g in groups if not any(self.members[other] < self.members[g] for other in groups)]
        return self._inner[key]

    def problem(
        self, facts: HostFacts | None, variable: str, message: str, hint: str, values: Sequence[object] = ()
    ) -> None:
        """Add a problem of a host (None: the campus); it is located by ``values``, the most exact first."""
        place = self.place(facts, variable, values)
        host = facts.name if facts else "all"
        self.problems.append(Problem(host, variable, place.file, place.line, message, hint))

    def place(self, facts: HostFacts | None, variable: str, values: Sequence[object] = ()) -> Place:
        """Return the place of these values, else of the variable, else of the host."""
        if facts is None:
            whole = next(iter(self.facts.values()), None)
            known = [whole.variables[name] for name in CAMPUS_VARIABLES if name in whole.variables] if whole else []
            return self.locate(None, [*values, *known])
        names = (variable, *HOST_VARIABLES)
        return self.locate(facts, [*values, *(facts.variables[name] for name in names if name in facts.variables)])


def is_list(value: object) -> bool:
    """Return whether a value is a list; text is not."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def items(value: object) -> Sequence[object]:
    """Return a value that is a list, and nothing of any other."""
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def quoted(value: object) -> str:
    """Return a value as error messages quote it."""
    return f"'{value}'" if isinstance(value, str) else repr(value)


def text(value: object) -> str:
    """Return plain text, without the tags of Ansible's strings and without bytes that are not UTF-8.

    Ansible reads inventories in INI format in any encoding, but rejects a result with such bytes.
    """
    plain = "".join(value) if isinstance(value, str) else "" if value is None else str(value)
    return plain if plain.isascii() else plain.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def as_date(value: object) -> datetime.date | None:
    """Return a date; None if it is not a valid one. YAML reads 2027-03-31 as a date; quoted or from INI it is text."""
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return datetime.date(value.year, value.month, value.day)
    try:
        return datetime.date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
