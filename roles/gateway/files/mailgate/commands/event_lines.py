# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events on a terminal: a line each, coloured by verdict."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import TextIO

from mailgate.event_index.shard import time_of
from mailgate.event_index.terms import Event, recipients_of, verdict_of

_COLOURS = {"accepted": "32", "queued": "33", "deferred": "33", "refused": "31", "infected": "35", "abandoned": "33"}
# Fields that a line has in a place of their own, or not at all.
_PLACED = frozenset(
    {"v", "time", "event", "id", "session", "client", "helo", "sender", "recipient", "recipients", "reply"}
)
MAX_RECIPIENTS = 5
_MAX_TEXT = 300


def clean(value: object) -> str:
    """Return a value as text without control characters, which a client could send to a terminal."""
    text = value if isinstance(value, str) else str(value)
    text = text.encode("utf-8", "replace").decode()
    if not text.isprintable():
        text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def when(event: Event, *, date: bool = True) -> str:
    """Return the local time of an event."""
    moment = datetime.fromtimestamp(time_of(event)).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S")


def people(event: Event) -> str:
    """Return sender and recipients as `<a> -> <b>, <c>`."""
    recipients = recipients_of(event)
    shown = ", ".join(f"<{clean(each)}>" for each in recipients[:MAX_RECIPIENTS])
    more = f" (+{len(recipients) - MAX_RECIPIENTS})" if len(recipients) > MAX_RECIPIENTS else ""
    sender = f"<{clean(event['sender'])}>" if "sender" in event else ""
    return " -> ".join(part for part in (sender, shown + more) if part)


def line_of(event: Event, *, colours: bool = False) -> str:
    """Return an event as one line."""
    verdict = verdict_of(event)
    kind = f"{clean(event.get('event')):18}"
    if colours and verdict in _COLOURS:
        kind = f"\x1b[{_COLOURS[verdict]}m{kind}\x1b[0m"
    rest = " ".join(f"{clean(name)}={clean(value)}" for name, value in event.items() if name not in _PLACED)
    parts = (
        when(event),
        f"{clean(event.get('id', '-')):17}",
        kind,
        f"[{clean(event['client'])}]" if event.get("client") else "",
        people(event),
        clean(event.get("reply", "")),
        rest,
    )
    return "  ".join(part for part in parts if part)


def wants_colours(out: TextIO | None = None) -> bool:
    """Return whether the output is a terminal that shows colours (NO_COLOR switches them off)."""
    out = out or sys.stdout
    return out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
