# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in aligned columns, for wide (Japanese) characters too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def width(text: str) -> int:
    """Return how many columns of a terminal the text takes (Unicode Standard Annex 11: wide and fullwidth take two)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def plain(text: str) -> str:
    """Return the text as one line without control characters: invisible ones become U+FFFD, white space a space."""
    if text.isprintable():
        return text
    return "".join(" " if char.isspace() else _visible(char) for char in text)


def _visible(char: str) -> str:
    return "\ufffd" if unicodedata.category(char) in _INVISIBLE else char


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return aligned lines: the head, a rule, the rows. Cells are not truncated, and are `plain`."""
    cells = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = (cell + " " * (size - width(cell)) for cell, size in zip(row, widths, strict=True))
        return "  " + "  ".join(padded).rstrip()

    rule = "  " + "  ".join("-" * size for size in widths)
    return [line(cells[0]), rule, *(line(row) for row in cells[1:])]
