# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates by name, in memory that all workers map, so that a limit holds whichever worker gets a connection.

Each name has a token bucket, kept as one number: the time at which it is full again (the generic cell rate algorithm,
ITU-T I.371). A number is one store, so workers need no lock; two that count at the same instant may count once. The
size is fixed: a name has two numbers by its keyed hash and the earlier counts, so that few names get the rate of
another one and nobody can choose which.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b

# Numbers of each of the two hashes: 2 MB in all.
_SLOTS = 1 << 17
_KEPT = 4096
_MICROSECONDS = 1_000_000


class RateBuckets:
    """The buckets of all workers; create it before the workers are forked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._full_at = memoryview(mmap.mmap(-1, 2 * _SLOTS * 8)).cast("Q")
        self._key = os.urandom(16)
        self._slots = lru_cache(_KEPT)(self._find_slots)
        self.clock = clock

    def take(self, name: str, limit: int, seconds: int) -> bool:
        """Count one event of `name`; return False, and do not count it, if there were `limit` in `seconds`."""
        first, second = self._slots(name)
        full_at = self._full_at
        now = int(self.clock() * _MICROSECONDS)
        window = seconds * _MICROSECONDS
        due = max(now, min(full_at[first], full_at[second])) + window // limit
        if due - now > window:
            return False
        full_at[first] = max(full_at[first], due)
        full_at[second] = max(full_at[second], due)
        return True

    def take_all(self, counted: Iterable[tuple[str, int]], seconds: int) -> int | None:
        """Count one event of each name until one had its limit; return the position of that one, or None."""
        for position, (name, limit) in enumerate(counted):
            if not self.take(name, limit, seconds):
                return position
        return None

    def _find_slots(self, name: str) -> tuple[int, int]:
        digest = int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._key).digest(), "big")
        return digest % _SLOTS, _SLOTS + (digest >> 32) % _SLOTS
