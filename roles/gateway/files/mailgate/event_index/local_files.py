# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search in this gateway's files of events, for the time without the index of all gateways."""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mailgate.event_index.follower import parse
from mailgate.event_index.query import Query
from mailgate.event_index.shard import MAX_EVENTS, time_of
from mailgate.event_index.terms import Event
from mailgate.event_spool import read_lines, segments
from mailgate.state import EVENTS

# An event is in the file of the hour in which it is written, at most so long after its time.
_MARGIN_SECONDS = 3600
# Values of these roles are in the line of an event as they are, apart from upper case.
_LITERAL = frozenset({"from", "from_domain", "number", "to", "to_domain"})
# Looking for a text in a line costs this fraction of reading the event.
_TEXT_COST = 1 / 16
_READ_BYTES = 1 << 20


class LocalFiles:
    """The files of events, indexed or not.

    Args:
        state_dir: The state directory.
        max_bytes: Size of the events that one search reads.
        remark: Receives a line about files that a search leaves out.
    """

    def __init__(self, state_dir: Path, max_bytes: int, remark: Callable[[str], object]) -> None:
        self._directory = state_dir / EVENTS
        self._max_bytes = max_bytes
        self._remark = remark

    def find(self, query: Query) -> list[Event]:
        """Return the newest events that meet the criteria, newest first; raise OSError."""
        found: list[Event] = []
        cost = 0.0
        texts = [wanted for alternatives in query.terms if (wanted := _texts(alternatives))]
        files = [each for each in reversed(segments(self._directory)) if _may_have(each.name, query)]
        for index, segment in enumerate(files):
            if len(found) >= query.limit:
                break
            if cost >= self._max_bytes:
                left = sum(each.size for each in files[index:])
                self._remark(
                    f"{max(1, left >> 20)} MB of older events were not searched; give a period by --since and --until"
                )
                break
            for line in _lines(self._directory / segment.name, segment.size):
                if texts and not _has(line.lower(), texts):
                    cost += len(line) * _TEXT_COST
                    continue
                cost += len(line)
                if (event := parse(line)) is not None and query.matches(event):
                    found.append(event)
        return sorted(found, key=time_of, reverse=True)[: query.limit]

    def of(self, number: str) -> list[Event]:
        """Return the events with an id, queue id or Message-ID, by time; raise OSError."""
        return self.find(Query(((("number", number),),), limit=MAX_EVENTS))[::-1]


def _lines(path: Path, size: int) -> Iterator[bytes]:
    """Yield the lines of a file, which may be removed meanwhile."""
    position = 0
    while position < size:
        try:
            lines, end = read_lines(path, position, _READ_BYTES)
        except FileNotFoundError:
            return
        if end == position:
            return
        position = end
        yield from lines


def _may_have(name: str, query: Query) -> bool:
    """Return whether a file may have events of the period."""
    start = calendar.timegm(time.strptime(name[:11], "%Y%m%d-%H"))
    return start + 2 * _MARGIN_SECONDS > query.since and start - _MARGIN_SECONDS < query.until


def _texts(alternatives: tuple[tuple[str, str], ...]) -> list[bytes]:
    """Return texts of which a line has one if it meets a criterion; none if that cannot be told from the line."""
    if all(role in _LITERAL and _is_plain(value) for role, value in alternatives):
        return [value.lower().encode("ascii") for _role, value in alternatives]
    return []


def _is_plain(value: str) -> bool:
    """Return whether JSON has a text as it is."""
    return value.isascii() and value.isprintable() and '"' not in value and "\\" not in value


def _has(line: bytes, texts: list[list[bytes]]) -> bool:
    return all(any(text in line for text in alternatives) for alternatives in texts)
