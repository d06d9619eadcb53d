# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of the web page: every value is escaped, and what comes from mail is cleaned and marked as data."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from mailgate.commands.event_lines import clean
from mailgate.event_index.shard import MAX_TIME

TEMPLATES = "templates"


def data(value: object) -> Markup:
    """Return a value that the page has not written: without control characters, isolated from the text around it."""
    return Markup('<bdi class="data">{}</bdi>').format(escape(clean(value)))


def moment(seconds: object) -> str:
    """Return a local time."""
    if not isinstance(seconds, int | float) or not 0 <= seconds < MAX_TIME:
        return "-"
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def number(value: object) -> str:
    """Return a number with separators of thousands."""
    return f"{value:,}" if isinstance(value, int) else "-"


def network(key: object) -> str:
    """Return a network as usual: it is recorded as the first part of its addresses."""
    text = clean(key)
    return f"{text}::/48" if ":" in text else f"{text}.0/24" if text.count(".") == 2 else text


def _source(name: str) -> str | None:
    """Return a template from the package, which may be inside a zipapp."""
    try:
        found = pkgutil.get_data("mailgate.web", f"{TEMPLATES}/{name}")
    except OSError:
        return None
    return found.decode() if found is not None else None


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FunctionLoader(_source),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(data=data, moment=moment, number=number, network=network)
    return made


def render(name: str, values: Mapping[str, Any]) -> str:
    """Return a page; half surrogates, which UTF-8 does not have, are replaced."""
    return _environment().get_template(name).render(values).encode("utf-8", "replace").decode()


@cache
def style() -> bytes:
    """Return the style sheet."""
    return pkgutil.get_data("mailgate.web", "static/style.css") or b""
