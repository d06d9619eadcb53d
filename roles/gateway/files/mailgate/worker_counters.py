# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters that the workers of one service share, in memory that all of them map.

Each worker writes its own row only and reads the sums of all rows, so that limits hold for the whole service without
locks. The supervisor clears the row of a worker that exits.
"""

from __future__ import annotations

import mmap
import os
import time
from functools import lru_cache
from hashlib import blake2b

from mailgate.metrics.memory import MetricMemory
from mailgate.metrics.recorder import Recorder
from mailgate.network import client_key
from mailgate.rate_buckets import RateBuckets
from mailgate.recipient_counts import RecipientCounts

# Clients are counted by two hashes of their address in two halves of the buckets; the smaller number counts. A client
# shares both with a busy one once in 10,000 times, and cannot choose whom it shares them with: the hashes have a key.
BUCKETS = 65536
# Networks that have delivered mail, by a hash.
NETWORKS = 65536
# Names whose hash is kept, since a connection needs it several times.
KEPT_HASHES = 4096
_GENERATION, _HEARTBEAT, _CONNECTIONS, _BYTES, _TRANSACTIONS, _IDLE, _HEAD = range(7)
_ROW = _HEAD * 8 + BUCKETS * 4


class SharedCounters:
    """The rows of all workers; create it before the workers are forked."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.recipients = RecipientCounts(workers)
        self.rates = RateBuckets()
        # The last row is the supervisor's.
        self.metrics = MetricMemory(workers + 1)
        self._map = mmap.mmap(-1, workers * _ROW)
        view = memoryview(self._map)
        rows = [view[number * _ROW : (number + 1) * _ROW] for number in range(workers)]
        self.heads = [row[: _HEAD * 8].cast("Q") for row in rows]
        self.buckets = [row[_HEAD * 8 :].cast("I") for row in rows]
        # Written by all workers: each entry is one store, and a lost one is written again with the next message.
        self.networks = memoryview(mmap.mmap(-1, NETWORKS * 8)).cast("Q")
        self._key = os.urandom(16)
        self.digest = lru_cache(KEPT_HASHES)(self._digest)
        self.buckets_of = lru_cache(KEPT_HASHES)(self._buckets_of)

    def clear(self, number: int) -> None:
        """Reset the row of a worker that has exited."""
        start = number * _ROW
        self._map[start : start + _ROW] = bytes(_ROW)

    def _digest(self, name: str) -> int:
        """Return a keyed hash of 64 bits."""
        return int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._key).digest(), "big")

    def _buckets_of(self, address: str) -> tuple[int, int]:
        """Return the two buckets of a client."""
        digest = self._digest(client_key(address))
        half = BUCKETS // 2
        return digest % half, half + (digest >> 32) % half

    def generation(self, number: int) -> int:
        """Return the generation of settings that a worker last reported."""
        return self.heads[number][_GENERATION]

    def seconds_since_heartbeat(self, number: int) -> float:
        """Return the seconds since the last heartbeat of a worker."""
        return time.monotonic() - self.heads[number][_HEARTBEAT] / 1000


class WorkerCounters:
    """The row of one worker, and the sums of all rows."""

    def __init__(self, shared: SharedCounters | None = None, number: int = 0) -> None:
        self._shared = shared or SharedCounters()
        self._head = self._shared.heads[number]
        self._buckets = self._shared.buckets[number]
        self.number = number
        self.share = 1 / self._shared.workers

    def add_connection(self, address: str) -> None:
        """Count a connection of a client."""
        self._head[_CONNECTIONS] += 1
        for bucket in self._shared.buckets_of(address):
            self._buckets[bucket] += 1

    def remove_connection(self, address: str) -> None:
        """Stop counting a connection of a client."""
        self._head[_CONNECTIONS] -= 1
        for bucket in self._shared.buckets_of(address):
            self._buckets[bucket] -= 1

    @property
    def connections(self) -> int:
        """Connections of all workers."""
        total = 0
        # A generator in `sum` takes as long as this loop for each worker.
        for head in self._shared.heads:
            total += head[_CONNECTIONS]
        return total

    def connections_of(self, address: str) -> int:
        """Return the number of connections of a client to all workers."""
        first, second = self._shared.buckets_of(address)
        one = other = 0
        for buckets in self._shared.buckets:
            one += buckets[first]
            other += buckets[second]
        return min(one, other)

    @property
    def transactions(self) -> int:
        """Transactions of all workers that have named a recipient."""
        return sum(head[_TRANSACTIONS] for head in self._shared.heads)

    def add_transactions(self, number: int) -> None:
        """Count `number` more transactions, or fewer if it is negative."""
        self._head[_TRANSACTIONS] += number

    def offer(self, idle: int) -> None:
        """Report how many clients of this worker may give way to others."""
        self._head[_IDLE] = idle

    @property
    def offered_by_others(self) -> int:
        """Clients of the other workers that may give way."""
        return sum(head[_IDLE] for head in self._shared.heads) - self._head[_IDLE]

    def record_delivery(self, network: str) -> None:
        """Remember that a message from a network was accepted."""
        digest = self._shared.digest(network)
        self._shared.networks[digest % NETWORKS] = digest

    def has_delivered(self, network: str) -> bool:
        """Return whether a message from a network was accepted since the service started."""
        digest = self._shared.digest(network)
        return self._shared.networks[digest % NETWORKS] == digest

    @property
    def recipient_counts(self) -> RecipientCounts:
        """Recent recipients of all workers by client and domain."""
        return self._shared.recipients

    def count_recipient(self, name: str, *, unknown: bool) -> None:
        """Count a recipient for a client or a domain."""
        self.recipient_counts.add(self.number, name, unknown=unknown)

    def recipients_of(self, name: str) -> tuple[int, int]:
        """Return how many recent recipients of a client or a domain were unknown, and how many were accepted."""
        return self.recipient_counts.totals(name)

    @property
    def rates(self) -> RateBuckets:
        """Rates of all workers by name."""
        return self._shared.rates

    def recorder(self) -> Recorder:
        """Return what counts the metrics of this worker."""
        return Recorder(self._shared.metrics, self.number)

    @property
    def message_bytes(self) -> int:
        """Size of the messages that all workers hold in memory."""
        return sum(head[_BYTES] for head in self._shared.heads)

    def add_message_bytes(self, size: int) -> None:
        """Count `size` more bytes of messages in memory, or fewer if it is negative."""
        self._head[_BYTES] += size

    def heartbeat(self) -> None:
        """Report that this worker is alive."""
        self._head[_HEARTBEAT] = time.monotonic_ns() // 1_000_000

    @property
    def generation(self) -> int:
        """Generation of settings that this worker last reported."""
        return self._head[_GENERATION]

    @generation.setter
    def generation(self, generation: int) -> None:
        self._head[_GENERATION] = generation
