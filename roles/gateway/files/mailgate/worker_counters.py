# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workers of one service tell each other: a few numbers in memory that all of them map.

Each worker writes in its own row only and reads the sums, so that limits hold for the service as a whole and nobody
waits for a lock. The row of a worker that died is cleared.
"""

from __future__ import annotations

import mmap
import time
import zlib

# Clients are counted by a hash of their address; two that share a bucket share a limit, which is rare and harmless.
BUCKETS = 4096
_GENERATION, _ALIVE, _CONNECTIONS, _OCTETS, _HEAD = range(5)
_ROW = _HEAD * 8 + BUCKETS * 4


class SharedCounters:
    """The rows of `workers`, to be made before they are forked."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._map = mmap.mmap(-1, workers * _ROW)
        view = memoryview(self._map)
        rows = [view[number * _ROW : (number + 1) * _ROW] for number in range(workers)]
        self.heads = [row[: _HEAD * 8].cast("Q") for row in rows]
        self.buckets = [row[_HEAD * 8 :].cast("I") for row in rows]

    def clear(self, number: int) -> None:
        """Forget all that a dead worker held."""
        start = number * _ROW
        self._map[start : start + _ROW] = bytes(_ROW)

    def generation(self, number: int) -> int:
        """Which settings the worker runs with, as it was told when it took them."""
        return self.heads[number][_GENERATION]

    def silent_seconds(self, number: int) -> float:
        """Since when the worker gave no sign of life."""
        return time.monotonic() - self.heads[number][_ALIVE] / 1000


class WorkerCounters:
    """One worker's row, and the sums of all."""

    def __init__(self, shared: SharedCounters | None = None, number: int = 0) -> None:
        self._shared = shared or SharedCounters()
        self._head = self._shared.heads[number]
        self._buckets = self._shared.buckets[number]
        self.number = number
        self.share = 1 / self._shared.workers

    def join(self, address: str) -> None:
        """Count a connection of a client."""
        self._head[_CONNECTIONS] += 1
        self._buckets[_bucket(address)] += 1

    def leave(self, address: str) -> None:
        """Count it no more."""
        self._head[_CONNECTIONS] -= 1
        self._buckets[_bucket(address)] -= 1

    @property
    def connections(self) -> int:
        """Connections of all workers."""
        return sum(head[_CONNECTIONS] for head in self._shared.heads)

    def connections_of(self, address: str) -> int:
        """Connections of a client with all workers."""
        bucket = _bucket(address)
        return sum(buckets[bucket] for buckets in self._shared.buckets)

    @property
    def octets(self) -> int:
        """Octets of messages that all workers hold."""
        return sum(head[_OCTETS] for head in self._shared.heads)

    def hold(self, octets: int) -> None:
        """Hold more octets, or fewer when negative."""
        self._head[_OCTETS] += octets

    def alive(self) -> None:
        """Give a sign of life."""
        self._head[_ALIVE] = time.monotonic_ns() // 1_000_000

    def took(self, generation: int) -> None:
        """Tell which settings this worker runs with."""
        self._head[_GENERATION] = generation

    @property
    def generation(self) -> int:
        """Which settings this worker runs with."""
        return self._head[_GENERATION]


def _bucket(address: str) -> int:
    return zlib.crc32(address.encode()) % BUCKETS
