# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains that left the delivery table: their recipients are deferred for a time, not refused.

A domain may leave by mistake (a lost inventory file, a typo), and its MX records may still be in caches. A permanent
refusal would bounce its mail at once. The supervisor compares each delivery table with the one before, also across
restarts; the workers read the result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mailgate.routes import NextHop, Route, Routes
from mailgate.smtp.reply import Reply
from mailgate.state import KNOWN_ROUTES, REMOVED_ROUTES

ROUTE_REMOVED = Reply.of(450, "4.4.4 Routes for this domain were removed; try again later")
# Only the patterns are searched.
_NOWHERE = (NextHop("0.0.0.0"),)  # noqa: S104


class RemovedRoutes:
    """The removed domains and wildcards, each with the time of its removal in seconds since the epoch."""

    def __init__(
        self, removed: Mapping[str, int] | None = None, seconds: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        self._removed = removed or {}
        self._patterns = Routes(Route(pattern, _NOWHERE) for pattern in self._removed)
        self._seconds = seconds
        self._clock = clock

    def __contains__(self, domain: str) -> bool:
        """Return whether a domain was removed and is still deferred."""
        if not self._removed:
            return False
        found = self._patterns.find(domain)
        return found is not None and self._is_deferred(found.pattern)

    @property
    def deferred(self) -> list[str]:
        """The domains and wildcards that are still deferred, sorted."""
        return sorted(filter(self._is_deferred, self._removed))

    def _is_deferred(self, pattern: str) -> bool:
        return self._clock() - self._removed[pattern] < self._seconds

    @classmethod
    def load(cls, state_dir: Path, seconds: int, routes: Routes | None = None) -> RemovedRoutes:
        """Read what `update` has recorded; an unreadable file contains nothing.

        Args:
            state_dir: The state directory.
            seconds: How long a removed domain is deferred.
            routes: The present delivery table, whose removed domains are found even if `update` could not write them.
        """
        removed = _read_removed(state_dir)
        if routes is not None:
            present = frozenset(route.pattern for route in routes)
            removed = compare(_read_lines(state_dir / KNOWN_ROUTES), removed, present, int(time.time()), seconds)
        return cls(removed, seconds)


def compare(
    known: Iterable[str], removed: Mapping[str, int], present: frozenset[str], now: int, seconds: int
) -> dict[str, int]:
    """Return the removed domains, without those that are present again or were removed `seconds` ago.

    Args:
        known: The domains of the previous delivery table.
        removed: The domains removed before, with the time of removal.
        present: The domains of the present delivery table.
        now: The present time.
        seconds: How long a removed domain is remembered.
    """
    found = {**dict.fromkeys(known, now), **removed}
    return {pattern: when for pattern, when in sorted(found.items()) if pattern not in present and now - when < seconds}


def update(state_dir: Path, routes: Routes, seconds: int, clock: Callable[[], float] = time.time) -> list[str]:
    """Record the removed domains and the present table; return the domains removed since the previous table.

    Raises:
        OSError: The files cannot be written.
    """
    present = frozenset(route.pattern for route in routes)
    known = frozenset(_read_lines(state_dir / KNOWN_ROUTES))
    before = _read_removed(state_dir)
    after = compare(known, before, present, int(clock()), seconds)
    # The removed domains first: if this is interrupted, the next comparison still finds them.
    if after != before:
        _write(state_dir / REMOVED_ROUTES, (f"{pattern}\t{when}" for pattern, when in after.items()))
    if known != present:
        _write(state_dir / KNOWN_ROUTES, sorted(present))
    return sorted(known - present)


def _read_removed(state_dir: Path) -> dict[str, int]:
    removed = {}
    for line in _read_lines(state_dir / REMOVED_ROUTES):
        pattern, _tab, when = line.partition("\t")
        if when.isdecimal():
            removed[pattern] = int(when)
    return removed


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _write(path: Path, lines: Iterable[str]) -> None:
    """Replace a file atomically."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
