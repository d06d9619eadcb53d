# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the inventory from Ansible's hostvars, with the file and line of each value. Nothing else here knows Ansible."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

from .findings import CAMPUS_VARIABLES, HOST_VARIABLES, LIKELY, HostFacts, Unreadable, is_unknown, items, meant
from .problems import Place

try:  # ansible-core 2.19 and later record the file and line of each value; earlier releases do not.
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None

HAS_ORIGIN = Origin is not None


class AnsibleInventory:
    """The inventory behind Ansible's ``hostvars`` and ``groups``, from the variables of a task."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.hostvars: Any = variables["hostvars"]
        # Before ansible-core 2.19 hostvars has the implicit localhost too, which the inventory does not list.
        listed = set(variables["groups"]["all"])
        self.names = [str(name) for name in self.hostvars if name in listed]

    def facts(self) -> list[HostFacts]:
        """Return the collection's variables of every host, templated; no others are read, as each look-up costs."""
        return [self._host(name) for name in self.names]

    def _host(self, host: str) -> HostFacts:
        variables = self.hostvars[host]
        known = {}
        unknown = {}
        for variable in variables:
            if is_unknown(variable):
                unknown[str(variable)] = [variable]  # the name as the file has it carries its origin
        sources = {variable: variable for variable in (*CAMPUS_VARIABLES, *HOST_VARIABLES) if variable in variables}
        for variable in unknown:  # a misspelt one is read too, so that the problems of its value are not hidden
            if name := meant(variable, sources, LIKELY):
                sources[name] = variable
        for variable, source in sources.items():
            try:
                known[variable] = variables[source]
            except AnsibleError as error:
                known[variable] = Unreadable(str(error).splitlines()[0])
            if not HAS_ORIGIN and (template := _template_in(known[variable])):
                known[variable] = Unreadable(f"undefined variable in '{template}'")
        return HostFacts(str(host), variables["group_names"], known, unknown)

    def locate(self, facts: HostFacts | None, values: Sequence[object]) -> Place:
        """Return the origin of the first value that has one, else the first line that names the host."""
        for value in values:
            origin = Origin.get_tag(value) if Origin else None
            if origin and origin.path:
                return Place(_short(origin.path), origin.line_num or 0)
        name: str = facts.name if facts else next(iter(self.names), "")
        file = self.hostvars[name].get("inventory_file") if name else None
        if not file:
            return Place()
        return Place(_short(file), _line_of(name, file) if facts else 0)


def _template_in(value: object) -> str:
    """Return the first text that is still a template: hostvars before 2.19 do not fail for an undefined variable."""
    if isinstance(value, str):
        return value if "{{" in value or "{%" in value else ""
    if isinstance(value, Mapping):
        value = list(value.values())
    return next(filter(None, map(_template_in, items(value))), "")


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
