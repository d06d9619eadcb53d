# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bans in the memory of a worker: a connection costs one look-up in a dictionary.

A ban is in effect in its worker at once. `sync` writes it to the store and gets those of others, twice a second.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from mailgate.limits.store import Ban, GuardedStore
from mailgate.network import client_network
from mailgate.rules.entries import Packed, pack, parse_network

# Share of the bans that give way when there are too many, so that not each new one sorts them.
_EXCESS_SHARE = 0.1
_FORGET_SECONDS = 60


class BanTable:
    """Bans by client.

    Args:
        store: What all workers share.
        clock: Seconds since 1970.
    """

    def __init__(self, store: GuardedStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._clients: dict[str, Ban] = {}
        # Other networks, by family and prefix length, then by number.
        self._networks: dict[tuple[bool, int], dict[int, Ban]] = {}
        self._unsaved: dict[str, Ban] = {}
        self._forget_at = 0.0
        self.max_clients = 50_000

    def __len__(self) -> int:
        return len(self._clients) + sum(map(len, self._networks.values()))

    def find(self, address: str) -> Ban | None:
        """Return the ban of a client, or None."""
        if not self._clients and not self._networks:
            return None
        ban = self._clients.get(client_network(address) if ":" in address else address)
        if ban is None and self._networks:
            ban = self._find_network(address)
        return ban if ban and ban.until > self._clock() else None

    def _find_network(self, address: str) -> Ban | None:
        six, number = pack(address)
        size = 128 if six else 32
        for (other, length), bans in self._networks.items():
            if other == six and (ban := bans.get(number >> (size - length))):
                return ban
        return None

    def add(self, ban: Ban) -> None:
        """Ban a client from now on, in this worker at once."""
        self._unsaved[ban.network] = ban
        self._insert(ban)
        self._limit()

    def _forget_ended(self) -> None:
        """Remove bans that have ended, once a minute."""
        now = self._clock()
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_SECONDS
            self._clients = {name: ban for name, ban in self._clients.items() if ban.until > now}

    def _limit(self) -> None:
        """Remove the bans that end first if there are too many."""
        if len(self._clients) > self.max_clients:
            kept = sorted(self._clients.values(), key=lambda each: each.until, reverse=True)
            self._clients = {each.network: each for each in kept[: int(self.max_clients * (1 - _EXCESS_SHARE))]}
            self._unsaved = {name: each for name, each in self._unsaved.items() if name in self._clients}

    def _insert(self, ban: Ban) -> None:
        six, number, length = parse_network(ban.network)
        if length == (64 if six else 32):
            self._clients[ban.network] = ban
        else:
            self._networks.setdefault((six, length), {})[_prefix((six, number), length)] = ban

    async def sync(self) -> None:
        """Write new bans to the store, and get those of others; without the store, keep what there is."""
        if self._unsaved:
            written = dict(self._unsaved)
            if await self._store.add_bans(written.values()):
                for name, ban in written.items():
                    if self._unsaved.get(name) is ban:
                        del self._unsaved[name]
        self._forget_ended()
        changes = await self._store.changed_bans()
        if changes is None:
            return
        if changes.complete:
            self._clients, self._networks = {}, {}
        for ban in (*changes.bans, *self._unsaved.values()):
            # An entry that is not valid must not keep the others out.
            with contextlib.suppress(ValueError):
                self._insert(ban)
        self._limit()


def _prefix(address: Packed, length: int) -> int:
    six, number = address
    return number >> ((128 if six else 32) - length)
