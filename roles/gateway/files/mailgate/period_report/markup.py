# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of HTML and SVG. A text is always escaped; only what `element` and `style` return is not."""

from __future__ import annotations

import html
from collections.abc import Iterable

from .characters import visible

_VOID = frozenset({"meta"})


class Markup(str):
    """HTML that is written as it is."""

    __slots__ = ()


_NONE = Markup()
LINE = Markup("\n")
"""The end of a line between elements."""


def join(children: Iterable[str], separator: Markup = _NONE) -> Markup:
    """Return elements and texts one after the other; texts are escaped."""
    return Markup(separator.join(each if isinstance(each, Markup) else escape(each) for each in children))


def element(tag: str, /, *children: str, **attributes: object) -> Markup:
    """Return an element.

    Args:
        tag: Its name.
        children: Elements, and texts, which are escaped.
        attributes: Their values are escaped. An underscore in a name is a hyphen; one at its end is ignored.
    """
    written = "".join(f' {_name(key)}="{escape(str(value))}"' for key, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")


def style(text: str) -> Markup:
    """Return an element with a style sheet of the program's own, which is not escaped."""
    return Markup(f"<style>\n{text}</style>")


def escape(text: str) -> Markup:
    """Return a text for an element or an attribute."""
    return Markup(html.escape(visible(text), quote=True))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
