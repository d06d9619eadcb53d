# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changed files of a host, built in a temporary directory: what both forms of configuration return."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .._keep.text import decode, encode
from . import system, tables
from .system import Run, must

BY = "sendmail_routes"


@dataclass
class Change:
    """The new files and what was found out about them.

    Attributes:
        new: The new content of files that change; None removes one.
        diff: Ansible's diffs of the text files among them.
        tests: The number of address tests passed.
        asked, known: How many questions were asked to the running and the new configuration, of how many.
        told: What an admin should know.
        private: New files that not everyone may read.
    """

    new: dict[Path, bytes | None] = field(default_factory=dict)
    diff: list[dict[str, str]] = field(default_factory=list)
    tests: int = 0
    asked: int = 0
    known: int = 0
    told: list[str] = field(default_factory=list)
    private: list[Path] = field(default_factory=list)


def build_map(run: Run, stage: Path, path: Path, kind: str, content: str) -> tuple[Path, bytes]:
    """Build a map from its source in a directory; return the staged source and the content of the map."""
    copy = stage / f"{len(list(stage.iterdir()))}-{path.name}"
    copy.write_bytes(encode(content))
    if kind == "text":
        return copy, b""
    must(run, [system.MAKEMAP, kind, str(copy)], content, f"build {path}.db")
    return copy, copy.with_name(f"{copy.name}.db").read_bytes()


def build_aliases(run: Run, stage: Path, path: Path, content: str, configuration: Path) -> tuple[Path, bytes]:
    """Build the alias database in a directory; return the staged source and the content of the database."""
    copy = stage / f"{len(list(stage.iterdir()))}-{path.name}"
    copy.write_bytes(encode(content))
    must(run, [system.SENDMAIL, "-bi", "-C", str(configuration), f"-oA{copy}"], "", f"build {path}.db")
    return copy, copy.with_name(f"{copy.name}.db").read_bytes()


def map_entries(run: Run, path: Path, kind: str = "hash") -> dict[str, str] | None:
    """Return the entries of a map on disk, or None if it cannot be read."""
    if not path.exists():
        return None
    status, out, _err = run([system.MAKEMAP, "-u", kind, str(path)], "")
    return dict(tables.map_entries(out)) if status == 0 else None


def text_of(data: bytes | None) -> str:
    """Return the content of a file as text, "" without one."""
    return decode(data) if data is not None else ""
