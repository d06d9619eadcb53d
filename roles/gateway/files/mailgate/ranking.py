# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections in the order in which they are closed when places are short."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Entry(Protocol):
    """What a ranking needs of a connection."""

    @property
    def network(self) -> str:
        """Network of the client."""


_E = TypeVar("_E", bound=Entry)


class Ranking(Generic[_E]):
    """Connections by the time since they wait, in all and per network. Every operation takes constant time."""

    def __init__(self) -> None:
        self._all: OrderedDict[_E, None] = OrderedDict()
        self._networks: dict[str, OrderedDict[_E, None]] = {}
        # Networks by their number of connections.
        self._sizes: dict[int, OrderedDict[str, None]] = {}
        self._largest = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[_E]:
        """Return the connections, the idlest first."""
        return iter(self._all)

    def add(self, entry: _E) -> None:
        """Add a connection that waits from now on."""
        self._all[entry] = None
        members = self._networks.setdefault(entry.network, OrderedDict())
        members[entry] = None
        self._resize(entry.network, len(members) - 1, len(members))

    def remove(self, entry: _E) -> None:
        """Remove a connection; its network must be that with which it was added."""
        del self._all[entry]
        members = self._networks[entry.network]
        del members[entry]
        if not members:
            del self._networks[entry.network]
        self._resize(entry.network, len(members) + 1, len(members))

    def first_of_largest(self) -> _E | None:
        """Return the idlest connection of the network with the most connections."""
        if not self._largest:
            return None
        return next(iter(self._networks[next(iter(self._sizes[self._largest]))]))

    def _resize(self, network: str, before: int, after: int) -> None:
        if before:
            networks = self._sizes[before]
            del networks[network]
            if not networks:
                del self._sizes[before]
        if after:
            self._sizes.setdefault(after, OrderedDict())[network] = None
            self._largest = max(self._largest, after)
        if self._largest not in self._sizes:
            # A size changes by one, so the next smaller one is there, unless the ranking is empty.
            self._largest = after
