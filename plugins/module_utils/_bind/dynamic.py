# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A zone that accepts dynamic updates: BIND owns its file, so its MX records are changed by RFC 2136."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .._zone.edit import Plan
from .._zone.exchanges import Target
from .._zone.file import Name, ZoneError, spell
from .client import Change, DnsClient, Key, Mx, MxSet, choose_key, read_keys
from .named_conf import ServedZone

#: Seconds until updates must be served.
SERVED_SECONDS = 15.0
_POLL_SECONDS = 0.1
_NULL = (0, ())


@dataclass(slots=True)
class DynamicZone:
    """One zone's changes, each with its prerequisite; and the TTLs in seconds that the planned names' records had."""

    zone: ServedZone
    plan: Plan
    client: DnsClient
    key: Key | None
    changes: Sequence[Change]
    null_mx: Sequence[Name]
    ttls: Mapping[Name, int]
    serial_before: int
    serial_after: int
    sent: bool = False

    @property
    def method(self) -> str:
        """How the records are changed."""
        return "update"

    @property
    def changed(self) -> bool:
        """Whether a record changes."""
        return bool(self.changes)

    @property
    def needs_reload(self) -> bool:
        """Whether BIND must load a file: it serves an update at once."""
        return False

    @property
    def replaced(self) -> Mapping[Name, Sequence[Mx]]:
        """The present MX records of each name whose records or TTL change."""
        return {owner: sorted(old.records) for owner, old, _new in self.changes}

    @property
    def backups(self) -> Sequence[str]:
        """The copies of replaced files: none."""
        return ()

    @classmethod
    def prepare(
        cls, client: DnsClient, zone: ServedZone, plan: Plan, ttls: Mapping[Name, int], keys: Mapping[str, Key]
    ) -> DynamicZone:
        """Query the server for the present records and compute the changes; raise ZoneError with every problem."""
        key = (
            next(iter(read_keys(zone.session_key).values()))
            if zone.session_key
            else choose_key(zone.name, zone.keys, keys)
        )
        serial, default_ttl = client.soa(zone.name, key)
        changes: list[Change] = []
        null_mx: list[Name] = []
        old_ttls: dict[Name, int] = {}
        problems: list[str] = []
        for owner, wanted in plan.items():
            try:
                old = client.mx(zone.name, owner, key)
            except ZoneError as error:
                problems += error.problems
                continue
            if old.records:
                old_ttls[owner] = old.ttl
            if _NULL in old.records:
                null_mx.append(owner)
                continue
            records = old.records if wanted is None else frozenset(wanted)
            ttl = ttls.get(owner, old.ttl if old.records else default_ttl)
            if records != old.records or (records and ttl != old.ttl):
                changes.append((owner, old, MxSet(records, ttl)))
        if problems:
            raise ZoneError(*problems)
        # BIND increments a dynamic zone's serial itself, usually like this.
        after = (serial + 1) % 2**32 or 1 if changes else serial
        return cls(zone, plan, client, key, changes, null_mx, old_ttls, serial, after)

    def commit(self) -> None:
        """Send the updates and verify them; raise ZoneError on failure."""
        self.client.update(self.zone.name, self.changes, self.key)
        self.sent = True
        # A zone that BIND signs itself is served with the change once it is signed.
        deadline = time.monotonic() + SERVED_SECONDS
        while (differing := self._differing()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if differing:
            raise ZoneError(
                f"zone {self.zone.name}: the server accepted the updates of {', '.join(differing)} but serves other "
                "MX records"
            )
        self.serial_after = self.client.soa(self.zone.name, self.key)[0]

    def _differing(self) -> list[str]:
        """Return the names that are not served with their new MX records."""
        return [
            spell(owner) for owner, _old, new in self.changes if self.client.mx(self.zone.name, owner, self.key) != new
        ]

    def rollback(self) -> list[str]:
        """Undo `commit`; return the problems that remain."""
        if not self.sent:
            return []
        try:
            self.client.update(self.zone.name, [(owner, new, old) for owner, old, new in self.changes], self.key)
        except ZoneError as error:
            return [f"cannot undo the updates: {problem}" for problem in error.problems]
        self.sent = False
        return []

    def targets(self, names: Collection[Name]) -> dict[Name, Target]:
        """Return nothing: the server answers for the names in this zone."""
        return {}

    def texts(self) -> list[tuple[str, str, str]]:
        """Return the records that change, for a diff."""
        return [(f"{self.zone.name}, by update", self._records(after=False), self._records(after=True))]

    def _records(self, *, after: bool) -> str:
        """Return the records that change, before or after, as lines of a zone file."""
        return "".join(
            f"{spell(owner)}\t{mx.ttl}\tIN\tMX\t{preference} {spell(exchange)}\n"
            for owner, old, new in self.changes
            for mx in [new if after else old]
            for preference, exchange in sorted(mx.records)
        )
