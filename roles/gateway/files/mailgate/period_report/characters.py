# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters of texts that clients sent, and how much room a text takes."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """Return a text without control characters, half surrogates and other invisible ones."""
    text = text.encode("utf-8", "replace").decode()
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def width(text: str) -> int:
    """Return the number of columns on a terminal; Japanese characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def fit(text: str, columns: int) -> str:
    """Return as much of a text as fits into a number of columns, with an ellipsis if it is cut."""
    if width(text) <= columns:
        return text
    while text and width(text) + 1 > columns:
        text = text[:-1]
    return f"{text}…"
