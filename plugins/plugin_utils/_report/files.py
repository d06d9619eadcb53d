# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole family of print-outs: for all and for each faculty, as files by their place in a directory."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from . import difference as differences
from . import html as html_page
from . import tables
from .difference import Difference
from .plan import Plan, saved
from .static import blocks
from .words import speaker

SAVED = "plan.json"
FACULTIES = "faculties"
_TABLES = ("routes", "mx", "static", "permits")
_DIFFERENCE = ("difference.txt", "difference.json")
_NAMES = frozenset(
    (
        SAVED,
        "plan.txt",
        "plan.html",
        *_DIFFERENCE,
        *(f"{name}.{kind}" for name in _TABLES for kind in ("txt", "csv", "json")),
    )
)
_UNSAFE = re.compile(r"[^\w.-]+")  # \w holds letters of all scripts
_LONGEST = 60  # characters, so that even wide ones stay below a file name's 255 octets


def report_files(plan: Plan, difference: Difference | None) -> dict[str, str]:
    """Return the content of each file by its path below the directory, with slashes.

    All are in the language of the plan's campus. The same plan and difference give the same bytes.
    """
    say = speaker(str(plan.campus.get("language", "en")))
    shared = blocks(plan)
    files = {
        SAVED: tables.to_json(saved(plan)) + "\n",
        "plan.txt": f"{plan.data.get('text', '')}\n",
        "plan.html": html_page.page(plan, shared, say, difference, None),
    }
    parts: list[tuple[str, str | None]] = [("", None)]
    folders = folder_names(plan.faculties)
    parts += [(f"{FACULTIES}/{folders[faculty]}/", faculty) for faculty in plan.faculties]
    for folder, faculty in parts:
        part = plan if faculty is None else plan.for_faculty(faculty)
        own = [block for block in shared if faculty is None or block.faculty == faculty]
        changes = difference.for_faculty(faculty) if difference is not None and faculty is not None else difference
        if faculty is not None:
            files[f"{folder}plan.html"] = html_page.page(plan, shared, say, changes, faculty)
        for name in _TABLES:
            files[f"{folder}{name}.txt"] = tables.as_text(name, part, own, say)
            files[f"{folder}{name}.csv"] = tables.as_csv(name, part, say)
            files[f"{folder}{name}.json"] = tables.as_json(name, part)
        if changes is not None:
            files[f"{folder}difference.txt"] = differences.as_text(changes, say)
            files[f"{folder}difference.json"] = differences.as_json(changes)
    return files


def folder_names(faculties: Iterable[str]) -> dict[str, str]:
    """Return a safe and distinct directory name for each faculty, also where upper and lower case are one."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for faculty in faculties:
        base = _UNSAFE.sub("_", faculty).strip("._-")[:_LONGEST] or "faculty"
        name, number = base, 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.casefold())
        names[faculty] = name
    return names


def stale(found: Iterable[str], files: Iterable[str]) -> list[str]:
    """Return those of the paths ``found`` below the directory that an earlier run left and this one doesn't write."""
    current = set(files)
    return sorted(path for path in found if path not in current and _ours(path))


def _ours(path: str) -> bool:
    folder, name = posixpath.split(path)
    top, _slash, rest = folder.partition("/")
    return name in _NAMES and (folder == "" or (top == FACULTIES and rest != "" and "/" not in rest))
