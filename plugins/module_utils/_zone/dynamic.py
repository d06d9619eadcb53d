# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A zone that takes dynamic updates: its file is BIND's, so its MX records change by RFC 2136."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._bind.client import Change, DnsClient, Key, MxSet, choose_key, read_keys
from .._bind.named_conf import ServedZone
from .edit import Plan
from .file import Name, ZoneError, spell

_NULL = (0, ())


@dataclass(slots=True)
class DynamicZone:
    """One zone's changes, each with what must be there before; and the TTLs that the planned names' records had."""

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
    def changed(self) -> bool:
        """Whether a record changes."""
        return bool(self.changes)

    @classmethod
    def prepare(
        cls, client: DnsClient, zone: ServedZone, plan: Plan, ttls: Mapping[Name, int], keys: Mapping[str, Key]
    ) -> DynamicZone:
        """Asks the server what it has and works out the changes; raises ZoneError with every problem."""
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
        for owner, lines in plan.items():
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
            records = old.records if lines is None else frozenset(lines)
            ttl = ttls.get(owner, old.ttl if old.records else default_ttl)
            if records != old.records or (records and ttl != old.ttl):
                changes.append((owner, old, MxSet(records, ttl)))
        if problems:
            raise ZoneError(*problems)
        # BIND counts a dynamic zone's serial itself; this is its usual way.
        after = (serial + 1) % 2**32 or 1 if changes else serial
        return cls(zone, plan, client, key, changes, null_mx, old_ttls, serial, after)

    def send(self) -> None:
        """Makes the changes and asks again; raises ZoneError, and then nothing has changed."""
        self.client.update(self.zone.name, self.changes, self.key)
        self.sent = True
        wrong = [
            spell(owner) for owner, _old, new in self.changes if self.client.mx(self.zone.name, owner, self.key) != new
        ]
        if wrong:
            raise ZoneError(f"zone {self.zone.name}: the server took the updates of {', '.join(wrong)} but differs")
        self.serial_after = self.client.soa(self.zone.name, self.key)[0]

    def take_back(self) -> list[str]:
        """Undoes `send`; gives what goes wrong."""
        if not self.sent:
            return []
        try:
            self.client.update(self.zone.name, [(owner, new, old) for owner, old, new in self.changes], self.key)
        except ZoneError as error:
            return [f"after a failure: {problem}" for problem in error.problems]
        return []

    def text(self, *, after: bool) -> str:
        """Gives the records that change, as zone file lines, for a difference."""
        return "".join(
            f"{spell(owner)}\t{mx.ttl}\tIN\tMX\t{preference} {spell(exchange)}\n"
            for owner, old, new in self.changes
            for mx in [new if after else old]
            for preference, exchange in sorted(mx.records)
        )
