# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unknown and accepted recipients by client and by domain in the last ten minutes, in memory that all workers map.

Each worker writes its own part and reads the sums. The size is fixed: names share buckets by their hash. Each name has
two buckets and the smaller count applies, so that few names get the counts of another one, and the hash has a secret
key, so that nobody can choose which.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

WINDOW_SECONDS = 600
_SLICES = 5
_SLICE_SECONDS = WINDOW_SECONDS // _SLICES
_BUCKETS = 4096
_HASHES = 2
# Names whose buckets are kept, since a message needs them several times.
_KEPT = 4096
# A slice of time: its number, then unknown and accepted recipients by bucket.
_SLICE = 1 + 2 * _HASHES * _BUCKETS


class RecipientCounts:
    """The counts of all workers; create it before the workers are forked."""

    def __init__(self, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._slices = memoryview(mmap.mmap(-1, workers * _SLICES * _SLICE * 4)).cast("I")
        # Where the slices of all workers begin.
        self._starts = range(0, workers * _SLICES * _SLICE, _SLICE)
        self._key = os.urandom(16)
        self._buckets = lru_cache(_KEPT)(self._find_buckets)
        self.clock = clock

    def add(self, worker: int, name: str, *, unknown: bool) -> None:
        """Count a recipient for `name`, in the part of one worker."""
        number = self._slice_number()
        start = (worker * _SLICES + number % _SLICES) * _SLICE
        if self._slices[start] != number:
            self._slices[start : start + _SLICE] = memoryview(bytes(_SLICE * 4)).cast("I")
            self._slices[start] = number
        for bucket in self._buckets(name):
            self._slices[start + bucket + (not unknown)] += 1

    def totals(self, name: str) -> tuple[int, int]:
        """Return how many recipients of `name` were unknown, and how many were accepted."""
        first, second = self._buckets(name)
        newest = self._slice_number()
        slices = self._slices
        unknown = accepted = other_unknown = other_accepted = 0
        # Generators in `sum` take three times as long, and a guessed recipient needs several totals.
        for start in self._starts:
            if newest - _SLICES < slices[start] <= newest:
                unknown += slices[start + first]
                accepted += slices[start + first + 1]
                other_unknown += slices[start + second]
                other_accepted += slices[start + second + 1]
        return min((unknown, accepted), (other_unknown, other_accepted))

    def _slice_number(self) -> int:
        # Memory that was never written has the number 0.
        return int(self.clock()) // _SLICE_SECONDS + 1

    def _find_buckets(self, name: str) -> tuple[int, int]:
        digest = int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._key).digest(), "big")
        return 1 + 2 * (digest % _BUCKETS), 1 + 2 * (_BUCKETS + (digest >> 32) % _BUCKETS)
