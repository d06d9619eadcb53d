# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sendmail.cf says: its maps, class files, options and mailers. Pure functions, no I/O.

A .cf is what m4 makes of a .mc, so it has the effect of conditions, included files and every spelling of the .mc.

Source: the Sendmail Installation and Operations Guide (lines K, F, C, O, D and M).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: Kinds of maps that makemap builds from a source beside them.
BUILT = ("hash", "btree", "dbm", "cdb")

PORTS = {"smtp": "25", "submission": "587", "smtps": "465", "submissions": "465"}


@dataclass(frozen=True)
class Map:
    """A map: its kind and arguments; `path` is its source, None if it is not a file."""

    name: str
    kind: str
    arguments: str
    path: Path | None

    @property
    def built(self) -> Path | None:
        """Return the file that sendmail reads; None if it is not built by makemap."""
        return self.path.with_name(f"{self.path.name}.db") if self.path and self.kind in BUILT else None


@dataclass(frozen=True)
class Mailer:
    """A mailer: its flags, maximum line length and arguments."""

    flags: str
    length: str
    arguments: str


class Configuration:
    """A sendmail.cf."""

    def __init__(self, text: str) -> None:
        self.text = text
        # A line that begins with a blank or a tab continues the one before.
        self._lines = re.sub(r"\n[ \t]+", " ", text).split("\n")

    def map(self, name: str) -> Map | None:
        """Return a map; None if it is not declared. The last declaration counts."""
        for line in reversed(self._lines):
            match = re.match(rf"K\s*{re.escape(name)}\s+(\S+)\s*(.*)", line)
            if match:
                return Map(name, match[1], match[2], _file(match[1], match[2]))
        return None

    def class_files(self, name: str) -> list[Path]:
        """Return the files from which a class is read."""
        found = [re.match(rf"F\s*{_class(name)}(?:-o)?\s*(/\S+)", line) for line in self._lines]
        return [Path(match[1]) for match in found if match]

    def options(self, name: str) -> list[str]:
        """Return the values of an option."""
        found = [re.match(rf"O\s*{name}\s*=\s*(.*)", line) for line in self._lines]
        return [match[1].strip() for match in found if match]

    def mailer(self, name: str) -> Mailer | None:
        """Return a mailer; None if it is not defined."""
        for line in reversed(self._lines):
            if re.match(rf"M{name},", line):
                equates = dict(re.findall(r"\b([A-Z])=((?:[^,]|,(?!\s*[A-Z]=))*)", line.replace("\t", " ")))
                return Mailer(equates.get("F", "").strip(), equates.get("L", "").strip(), equates.get("A", "").strip())
        return None

    def macro(self, name: str) -> str:
        """Return the value of a macro that is set in the file."""
        found = [line[1 + len(name) :].strip() for line in self._lines if line.startswith(f"D{name}")]
        return found[-1] if found else ""

    @property
    def skips(self) -> bool:
        """Return whether access supports SKIP."""
        return "SKIP" in "".join(line for line in self._lines if line.startswith("R"))

    @property
    def listeners(self) -> list[tuple[str, str]]:
        """Return the address and port of each daemon that receives mail, in sendmail's notation."""
        found = []
        for value in self.options("DaemonPortOptions"):
            given = dict(re.findall(r"\b([A-Za-z])\w*\s*=\s*([^,\s]+)", value))
            any_address = "::" if given.get("F", "inet").lower() == "inet6" else "0.0.0.0"  # noqa: S104
            port = given.get("P", "587" if given.get("N") == "MSA" else "25").lower()
            found.append((given.get("A", any_address), PORTS.get(port, port)))
        return found or ([] if self.options("DaemonPortOptions") else [("0.0.0.0", "25")])  # noqa: S104


def statements(text: str) -> list[str]:
    """Return the lines of a .cf that have an effect, for a comparison."""
    lines = (line.rstrip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _class(name: str) -> str:
    return re.escape(name) if len(name) == 1 else re.escape(f"{{{name}}}")


def _file(kind: str, arguments: str) -> Path | None:
    """Return the source of a map, from its last argument that is a path."""
    if kind not in BUILT:
        return None
    paths = [word for word in arguments.split() if word.startswith("/")]
    return Path(paths[-1].removesuffix(".db")) if paths else None
