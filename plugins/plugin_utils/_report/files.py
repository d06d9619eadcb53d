# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All report files, for the campus and for each faculty, by their path below a directory."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from . import difference as differences
from . import html as html_page
from . import tables
from .border import handover_files
from .difference import Difference
from .plan import Plan, saved
from .static import blocks
from .translations import translations

SAVED = "plan.json"
FACULTIES = "faculties"
_TABLES = ("routes", "mx", "static", "permits")
_BORDER = re.compile(r"border-[\w.-]+\.(v4\.rules|v6\.rules|nft|txt|csv|probe\.json)")
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
_LONGEST = 60  # characters; a file name has at most 255 bytes, and UTF-8 up to 4 for each


def report_files(plan: Plan, difference: Difference | None) -> dict[str, str]:
    """Return the content of each file by its path, with slashes.

    All are in the language of the campus. The same plan and difference give the same bytes.
    """
    catalog = translations(str(plan.campus.get("language", "en")))
    shared = blocks(plan)
    files = {
        SAVED: tables.to_json(saved(plan)) + "\n",
        "plan.txt": f"{plan.data.get('text', '')}\n",
        "plan.html": html_page.page(plan, shared, catalog, difference, None),
    }
    files |= handover_files(plan, catalog)
    parts: list[tuple[str, str | None]] = [("", None)]
    folders = folder_names(plan.faculties)
    parts += [(f"{FACULTIES}/{folders[faculty]}/", faculty) for faculty in plan.faculties]
    for folder, faculty in parts:
        part = plan if faculty is None else plan.for_faculty(faculty)
        own = [block for block in shared if faculty is None or block.faculty == faculty]
        changes = difference.for_faculty(faculty) if difference is not None and faculty is not None else difference
        if faculty is not None:
            files[f"{folder}plan.html"] = html_page.page(plan, shared, catalog, changes, faculty)
        for name in _TABLES:
            files[f"{folder}{name}.txt"] = tables.as_text(name, part, own, catalog)
            files[f"{folder}{name}.csv"] = tables.as_csv(name, part, catalog)
            files[f"{folder}{name}.json"] = tables.as_json(name, part)
        if changes is not None:
            files[f"{folder}difference.txt"] = differences.as_text(changes, catalog)
            files[f"{folder}difference.json"] = differences.as_json(changes)
    return files


def folder_names(faculties: Iterable[str]) -> dict[str, str]:
    """Return a safe directory name for each faculty, distinct even if the file system ignores case."""
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
    """Return those of the paths ``found`` that an earlier run wrote and this one does not."""
    current = set(files)
    return sorted(path for path in found if path not in current and _ours(path))


def _ours(path: str) -> bool:
    folder, name = posixpath.split(path)
    top, _slash, rest = folder.partition("/")
    if folder == "" and _BORDER.fullmatch(name):
        return True
    return name in _NAMES and (folder == "" or (top == FACULTIES and rest != "" and "/" not in rest))
