# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of the inventory that Ansible has read, for module and lookup. Nothing else here knows Ansible."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

from .._plan.plan import Plan, plan_campus
from .findings import CAMPUS_VARIABLES, HOST_VARIABLES, HostFacts, Unreadable, is_unknown
from .problems import Place

try:  # Only to name file and line in error messages; without it, the file that holds the host is named.
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None


def plan_inventory(hostvars: Any, today: str | None = None) -> Plan:
    """Return the plan of all hosts in Ansible's ``hostvars``; ``today`` is a date as 2027-03-31, else the real one.

    Raises:
        PlanRefused: the inventory has problems, or its plan would lose or loop mail.
        ValueError: ``today`` is no date. (PlanRefused is a ValueError too.)
    """
    day = _day(today)
    inventory = _Inventory(hostvars)
    return plan_campus(inventory.facts(), day, inventory.locate)


def _day(today: str | None) -> datetime.date:
    try:
        return datetime.date.fromisoformat(today) if today else datetime.date.today()
    except ValueError:
        raise ValueError(f"today: '{today}' is no date. Write it as 2027-03-31") from None


class _Inventory:
    def __init__(self, hostvars: Any) -> None:
        self.hostvars = hostvars

    def facts(self) -> list[HostFacts]:
        """Return our variables of every host, templated; nothing else is read, because each look-up costs."""
        return [self._host(name) for name in self.hostvars]

    def _host(self, name: str) -> HostFacts:
        variables = self.hostvars[name]
        known = {}
        unknown = {}
        for variable in variables:
            if is_unknown(variable):
                unknown[str(variable)] = [variable]  # the name as the file has it, which knows where it stands
        for variable in (*CAMPUS_VARIABLES, *HOST_VARIABLES):
            if variable in variables:
                try:
                    known[variable] = variables[variable]
                except AnsibleError as error:
                    known[variable] = Unreadable(str(error).splitlines()[0])
        return HostFacts(str(name), variables["group_names"], known, unknown)

    def locate(self, facts: HostFacts | None, values: Sequence[object]) -> Place:
        """Return where the first value that knows its file stands; else the line that names the host."""
        for value in values:
            origin = Origin.get_tag(value) if Origin else None
            if origin and origin.path:
                return Place(_short(origin.path), origin.line_num or 0)
        name: str = facts.name if facts else next(iter(self.hostvars), "")
        file = self.hostvars[name].get("inventory_file") if name else None
        if not file:
            return Place()
        return Place(_short(file), _line_of(name, file) if facts else 0)


def _line_of(name: str, file: str) -> int:
    """Return the number of the first line that names the host, or 0."""
    whole = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])")
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return 0
    return next((number for number, line in enumerate(lines, 1) if whole.search(line)), 0)


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative
