# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Debian packages a change installs or removes, why, and which recorded ones can go. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field

QUERY = r"${Package}\t${db:Status-Status}\t${Provides}\t${Pre-Depends}, ${Depends}\t${Conflicts}, ${Breaks}\n"
"""The format for `dpkg-query --show` that `installed_packages` reads."""

_INSTALLED = "installed"
_STEP = re.compile(r"^(Inst|Remv|Purg) (\S+)( \[)?", re.MULTILINE)
_FORMAT = "campus.mailgate packages"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that dpkg or apt knows.

    Attributes:
        name: Its name.
        status: dpkg's status: `installed`, `config-files`, ….
        provides: Its own name and those of the virtual packages that it provides.
        needs: Its dependencies, each as the names that satisfy it.
        conflicts: The names that it cannot be installed with.
    """

    name: str
    status: str = _INSTALLED
    provides: frozenset[str] = frozenset()
    needs: tuple[frozenset[str], ...] = ()
    conflicts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Simulation:
    """What apt would do: packages that are new, that get another version, and that are removed."""

    new: tuple[str, ...]
    upgraded: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass
class Recorded:
    """A package that was not installed before: who had it installed, when, and whether its settings were new too."""

    by: str
    kept: str
    purge: bool = True


@dataclass
class Appended:
    """A file at whose end the packages of a role append text.

    Attributes:
        by: The role.
        before: The content before they were installed.
        text: What they appended; None if that is not known yet, as after an interruption.
    """

    by: str
    before: str
    text: str | None = None

    def found(self, now: str) -> str:
        """Return what was appended, if the content is `now` right after the installation; "" for another change."""
        return now.removeprefix(self.before) if now.startswith(self.before) else ""

    def without(self, now: str) -> str:
        """Return the content without what was appended, if that is there as whole lines, once."""
        text = self.found(now) if self.text is None else self.text
        before, found, after = now.partition(text) if text else (now, "", "")
        whole = self.before.endswith("\n") or not self.before
        if not found or text in after or (whole and before and not before.endswith("\n")):
            return now
        return before + after


@dataclass
class Record:
    """What the store has about packages: what each role asks for, what was not installed before, what they appended."""

    asked: dict[str, list[str]] = field(default_factory=dict)
    installed: dict[str, Recorded] = field(default_factory=dict)
    appended: dict[str, Appended] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Record:
        """Return a record from its text; raise ValueError for any other text."""
        try:
            data = json.loads(text)
            if data["format"] != _FORMAT:
                raise ValueError(f"the format is {data['format']!r}")
            return cls(
                data["asked"],
                {name: Recorded(**each) for name, each in data["installed"].items()},
                {path: Appended(**each) for path, each in data.get("appended", {}).items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it has no valid {error}") from error

    def text(self) -> str:
        """Return the record as text; "" for an empty one."""
        if not self.asked and not self.installed and not self.appended:
            return ""
        data = {
            "format": _FORMAT,
            "asked": dict(sorted(self.asked.items())),
            "installed": {name: asdict(each) for name, each in sorted(self.installed.items())},
            "appended": {path: asdict(each) for path, each in sorted(self.appended.items())},
        }
        return json.dumps(data, indent=1) + "\n"


def installed_packages(text: str) -> dict[str, Package]:
    """Return the packages by name from the output of `dpkg-query --show --showformat=QUERY`."""
    found: dict[str, Package] = {}
    for line in text.splitlines():
        name, status, provides, needs, conflicts = line.split("\t")
        if name in found and found[name].status == _INSTALLED:
            continue  # of another architecture
        found[name] = Package(
            name,
            status,
            frozenset({name, *_names(provides)}),
            tuple(frozenset(_names(group.replace("|", ","))) for group in needs.split(",") if group.strip()),
            frozenset(_names(conflicts)),
        )
    return found


def available_packages(text: str) -> dict[str, Package]:
    """Return the packages by name from the output of `apt-cache show`, the first version of each."""
    found: dict[str, Package] = {}
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", stanza, re.MULTILINE))
        name = fields.get("Package", "")
        if name and name not in found:
            provides = frozenset({name, *_names(fields.get("Provides", ""))})
            conflicts = frozenset(_names(f"{fields.get('Conflicts', '')},{fields.get('Breaks', '')}"))
            found[name] = Package(name, "", provides, (), conflicts)
    return found


def missing(asked: Iterable[str], present: Mapping[str, Package]) -> list[str]:
    """Return the names that no installed package has or provides."""
    provided = {name for each in present.values() if each.status == _INSTALLED for name in each.provides}
    return [name for name in dict.fromkeys(asked) if name not in provided]


def parse_simulation(text: str) -> Simulation:
    """Return what `apt-get --simulate` prints that it would do."""
    new: list[str] = []
    upgraded: list[str] = []
    removed: list[str] = []
    for step, name, version in _STEP.findall(text):
        names = removed if step != "Inst" else upgraded if version else new
        names.append(name.partition(":")[0])
    return Simulation(*(tuple(dict.fromkeys(names)) for names in (new, upgraded, removed)))


def causes(simulation: Simulation, present: Mapping[str, Package], coming: Mapping[str, Package]) -> list[str]:
    """Return for each package that would be removed a line with its name and what removes it."""
    return [f"{name}: {_cause(name, simulation, present, coming)}" for name in simulation.removed]


def _cause(name: str, simulation: Simulation, present: Mapping[str, Package], coming: Mapping[str, Package]) -> str:
    going = present.get(name, Package(name, provides=frozenset({name})))
    for each in coming.values():
        for one, other in ((each, going), (going, each)):
            shared = sorted(one.conflicts & other.provides)
            if shared:
                which = "" if other.name in shared else f", which {other.name} provides"
                return f"{one.name} conflicts with {other.name if not which else shared[0]}{which}"
    for gone in simulation.removed:
        if gone != name and any(present.get(gone, Package(gone)).provides & group for group in going.needs):
            return f"it depends on {gone}, which would be removed"
    return f"apt would remove it for {', '.join(simulation.new + simulation.upgraded) or 'the request'}"


def removable(record: Record, role: str, present: Mapping[str, Package]) -> tuple[list[str], dict[str, str]]:
    """Return the recorded packages to remove when `role` asks for none any more, and those that stay, with the reason.

    A package stays that another role asks for, or that a package that stays depends on.

    Args:
        record: The record.
        role: The role that is taken back.
        present: The packages that dpkg knows.
    """
    there = {name: each for name, each in present.items() if each.status == _INSTALLED}
    asked = {name: other for other, names in record.asked.items() if other != role for name in names}
    going = {
        name
        for name, each in record.installed.items()
        if name in there and (each.by == role or each.by not in {*asked.values()})
    }
    stays: dict[str, str] = {}
    for name in sorted(going):
        wanted = sorted(there[name].provides & asked.keys())
        if wanted:
            stays[name] = f"the role {asked[wanted[0]]} needs it"
    going -= stays.keys()
    changed = True
    while changed:
        changed = False
        for name, each in sorted(there.items()):
            for group in each.needs if name not in going else ():
                able = {other for other in there if there[other].provides & group}
                if able and able <= going:
                    stays |= dict.fromkeys(able, f"{name} depends on it")
                    going -= able
                    changed = True
    return sorted(going), {name: reason for name, reason in stays.items() if name in record.installed}


def _names(text: str) -> Collection[str]:
    """Return the package names in a field such as `a (>= 1), b:any | c`."""
    words = (part.split("(")[0].split("[")[0].strip().partition(":")[0] for part in text.split(","))
    return [word for word in words if word]
