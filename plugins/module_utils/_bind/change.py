# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The interfaces that all kinds of zones share: a change that can be rolled back, and what is reported about a zone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from .._zone.bridge import Bridge
from .._zone.edit import Plan
from .._zone.exchanges import Target
from .._zone.file import Name, ZoneError
from .._zone.lines import Mx
from .named_conf import ServedZone

RESTORED = "All zones were restored to their previous state"


class Change(Protocol):
    """A planned change that is made completely or not at all."""

    @property
    def changed(self) -> bool:
        """Whether anything is written."""

    @property
    def needs_reload(self) -> bool:
        """Whether BIND must load a zone file."""

    def commit(self) -> None:
        """Make the change and have BIND serve it; raise ZoneError on failure."""

    def rollback(self) -> list[str]:
        """Undo what `commit` did so far; return the problems that remain."""


class ZoneFacts(Protocol):
    """What is known about every zone that changes."""

    @property
    def zone(self) -> ServedZone:
        """The zone in the server's configuration."""

    @property
    def needs_reload(self) -> bool:
        """Whether BIND must load the zone's file."""

    @property
    def serial_before(self) -> int:
        """The serial before the change."""

    @property
    def serial_after(self) -> int:
        """The serial after the change."""


class PlannedZone(ZoneFacts, Protocol):
    """What is reported about one zone, before and after its change is committed."""

    @property
    def plan(self) -> Plan:
        """The planned MX records."""

    @property
    def method(self) -> str:
        """How the records are changed: `file` or `update`."""

    @property
    def changed(self) -> bool:
        """Whether a record or a byte changes."""

    @property
    def null_mx(self) -> Sequence[Name]:
        """The planned names that accept no mail (RFC 7505) and are left alone."""

    @property
    def ttls(self) -> Mapping[Name, int]:
        """The TTLs in seconds that the planned names' MX records had."""

    @property
    def replaced(self) -> Mapping[Name, Sequence[Mx]]:
        """The present MX records of each name whose records or TTL change."""

    @property
    def backups(self) -> Sequence[str]:
        """The paths of the copies of replaced files."""

    def targets(self, names: Collection[Name]) -> Mapping[Name, Target]:
        """Return what this zone says about MX targets; leave out those it does not decide."""

    def texts(self) -> Sequence[tuple[str, str, str]]:
        """Return the texts that change, for a diff: a title, the text before and the text after."""


class FileZone(ZoneFacts, Protocol):
    """A zone that BIND reads from files; `before` and `after` have those that change, by their real paths."""

    @property
    def before(self) -> Mapping[Path, bytes | None]:
        """The present content of each file; None for a file that does not exist."""

    @property
    def after(self) -> Mapping[Path, bytes]:
        """The new content of each file."""

    @property
    def bridge(self) -> Bridge:
        """The temporary content that keeps the zone whole while several files are replaced."""


def commit_all(changes: Sequence[Change]) -> None:
    """Commit changes in order.

    Raises:
        ZoneError: One of them failed. All were rolled back, last first; what could not be undone is among the problems.
    """
    begun: list[Change] = []
    try:
        for change in changes:
            if change.changed or change.needs_reload:
                begun.append(change)
                change.commit()
    except ZoneError as error:
        remaining = [problem for change in reversed(begun) for problem in change.rollback()]
        raise ZoneError(*error.problems, *(remaining or [RESTORED])) from error
