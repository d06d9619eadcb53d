# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add values to parameters of main.cf, in marked blocks that can be removed to the byte: pure functions, no I/O.

Lines that begin with whitespace continue a parameter, also after comments and empty lines; the last definition of a
parameter is used (postconf(5)). So a block after an admin's definition continues it, and changes none of its bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .._keep import blocks

_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_NAME = re.compile(r"([^\s=]+)[ \t\r]*=")


@dataclass(frozen=True)
class Definition:
    """A definition of a parameter: its name, its text with all continuations, its first line's number, its end."""

    name: str
    text: str
    line: int
    stop: int


def definitions(text: str) -> Iterator[Definition]:
    """Return all definitions in a main.cf, in order. Their text leaves out comments."""
    name, parts, first, stop = "", [""], 0, 0
    for number, match in enumerate(_LINE.finditer(text), 1):
        line = match[0]
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if line[0].isspace() and parts[0]:
            parts.append(bare)
            stop = match.end()
            continue
        if name:
            yield Definition(name, " ".join(parts), first, stop)
        found = _NAME.match(line)
        name, parts, first, stop = found[1] if found else "", [bare], number, match.end()
    if name:
        yield Definition(name, " ".join(parts), first, stop)


def repeated(text: str) -> set[str]:
    """Return the parameters that a main.cf defines more than once."""
    names = Counter(each.name for each in definitions(text))
    return {name for name, count in names.items() if count > 1}


def add(text: str, additions: Mapping[str, str], defaults: Mapping[str, str]) -> str:
    """Return the main.cf `text` with a value added to parameters, in place of the values that were added before.

    Args:
        text: The content of main.cf.
        additions: The values by parameter; "" adds nothing.
        defaults: The default values of these parameters, for those that the file does not define.

    Raises:
        BlockError: The markers in the file are damaged.
    """
    bare = without_ours(text)
    # From the last place to the first, so that the places stay valid.
    last = {d.name: d.stop for d in definitions(bare) if additions.get(d.name)}
    for name, stop in sorted(last.items(), key=lambda item: -item[1]):
        bare = blocks.put(bare, [f"    {additions[name]}"], _about(name), at=stop)
    for name, value in additions.items():
        if value and name not in last:
            default = f"{defaults[name]} " if defaults.get(name) else ""
            bare = blocks.put(bare, [f"{name} = {default}{value}"], _about(name))
    return bare


def without_ours(text: str) -> str:
    """Return the main.cf `text` without our values.

    Raises:
        BlockError: The markers in the file are damaged.
    """
    return blocks.without(text)


def _about(name: str) -> str:
    return f"added to {name}"
