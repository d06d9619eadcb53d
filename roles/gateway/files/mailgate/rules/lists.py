# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of the settings: loaded with the settings, and again when a file changes; the old list stays on errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mailgate.rule_settings import ListSetting
from mailgate.rules.entries import EXPECTED, Table, new_table, read_lines

# What a file was when it was read: i-node, size, and time of the last change; None if there was none.
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class LoadedList:
    """A list in memory, and what was wrong with it."""

    setting: ListSetting
    table: Table
    stamp: Stamp = None
    problems: tuple[str, ...] = ()


def stamp_of(setting: ListSetting) -> Stamp:
    """Return what the file of a list is now."""
    if not setting.file:
        return None
    try:
        found = Path(setting.file).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def load_list(name: str, setting: ListSetting) -> LoadedList:
    """Load a list; its valid entries are used even if there are problems."""
    table = new_table(setting.kind)
    problems = []
    for entry in setting.entries:
        try:
            table.add(entry)
        except ValueError:
            problems.append(f"lists.{name}.entries: {entry!r} is not {EXPECTED[setting.kind]}")
    stamp = stamp_of(setting)
    if setting.file:
        try:
            with Path(setting.file).open(encoding="utf-8", errors="replace") as lines:
                problems += read_lines(table, lines, setting.file)
        except OSError as error:
            problems.append(f"{setting.file}: cannot be read: {error.strerror or error}")
    table.close()
    return LoadedList(setting, table, stamp, tuple(problems))


def load_lists(
    settings: Mapping[str, ListSetting], old: Mapping[str, LoadedList] | None = None
) -> dict[str, LoadedList]:
    """Load the lists that have changed.

    Args:
        settings: All lists.
        old: The lists in memory. One whose new file has problems stays, with these problems.
    """
    loaded = {}
    for name, setting in settings.items():
        former = (old or {}).get(name)
        if former and former.setting == setting and former.stamp == stamp_of(setting):
            loaded[name] = former
            continue
        new = load_list(name, setting)
        if new.problems and former and former.setting.kind == setting.kind:
            new = LoadedList(setting, former.table, new.stamp, new.problems)
        loaded[name] = new
    return loaded


def is_changed(lists: Mapping[str, LoadedList]) -> bool:
    """Return whether a file of a list has changed since it was read."""
    return any(each.setting.file and stamp_of(each.setting) != each.stamp for each in lists.values())
