# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the values of variables: names, mappings and choices. Invalid ones are reported and replaced by a default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from .findings import KNOWN_VARIABLES, Findings, HostFacts, Unreadable, is_list, items, meant, quoted, text


class ValueReader:
    """Reads values of variables, and reports invalid ones."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.problem = findings.problem

    def unknown(self, facts: HostFacts) -> None:
        """Report variables that look like the collection's but are not."""
        for name, values in facts.unknown.items():
            near = meant(name, ())
            hint = f"Did you mean {near}?" if near else f"Remove it, or use one of {', '.join(KNOWN_VARIABLES)}"
            self.problem(facts, text(name), "unknown variable", hint, values)

    def choice(self, facts: HostFacts | None, variable: str, value: object, allowed: Sequence[str]) -> str:
        """Return one of the allowed values, the first by default; ``facts`` is None for a setting of the campus."""
        if value is None or isinstance(value, Unreadable):
            return allowed[0]
        if not isinstance(value, str) or value not in allowed:
            known = " or ".join(allowed)
            self.problem(facts, variable, f"{quoted(value)} is not a valid choice", f"Use {known}", [value])
            return allowed[0]
        return text(value)

    def only_known(
        self, facts: HostFacts, variable: str, names: tuple[str, ...], known: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the known ones of the names to keep; report the others."""
        fault = "is kept, but is not one of its zones" if variable == "mailgate_dns" else "is not one of its domains"
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"Did you mean {near[0]}?" if near else "Correct or remove it"
                self.problem(facts, variable, f"'{name}' {fault}", hint, [facts.variables[variable]])
        return tuple(name for name in names if name in known)

    def names(
        self, facts: HostFacts | None, variable: str, value: object, check: Callable[[object], str]
    ) -> tuple[str, ...]:
        """Return the valid names of a list; report invalid and duplicate ones."""
        if isinstance(value, Unreadable):
            return ()
        if not is_list(value):
            self.problem(facts, variable, f"{quoted(value)} is not a list", "Use a list: [eng.univ.example]", [value])
            return ()
        good: dict[str, None] = {}
        for item in items(value):
            if isinstance(self.findings.settled(facts, variable, item), Unreadable):
                continue
            try:
                name = check(item)
            except ValueError as error:
                self.problem(facts, variable, str(error), "Correct or remove it", [item, value])
                continue
            if name in good:
                self.problem(facts, variable, f"'{name}' is listed twice", "Remove one of them", [item, value])
            good[name] = None
        return tuple(good)

    def mapping(
        self, facts: HostFacts, variable: str, example: str, keys: Sequence[str]
    ) -> Mapping[str, object] | None:
        """Return a variable that must be a mapping; None if it is missing or (reported) not a mapping.

        Values still to be decided, and those whose key is misspelt, are reported and are Unreadable in it.
        """
        if variable not in facts.variables or isinstance(value := facts.variables[variable], Unreadable):
            return None
        if isinstance(value, Mapping):
            settings: dict[str, object] = {}
            for key in value:
                if key in keys:
                    settings[key] = self.findings.settled(facts, variable, value[key])
                    continue
                near = get_close_matches(str(key), keys, 1)
                hint = f"Did you mean {near[0]}?" if near else f"Use the form {example}"
                self.problem(facts, variable, f"unknown key {quoted(key)}", hint, [key, value[key], value])
                for meant in near:
                    if meant not in value:
                        settings[meant] = Unreadable()
            return settings
        self.problem(facts, variable, f"{quoted(value)} is not a mapping", f"Use the form {example}", [value])
        return None
