# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that were delivered and whose sender may not know it: sent again, they are not delivered twice (RFC 1047).

A message is written down before its sender is told, and crossed out when the sender goes on, which shows that it got
the answer. The book is a table of fixed size in a file that all processes map: writing costs no system call, and what
is written survives the end of a process.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from mailgate.address import Mailbox

log = logging.getLogger("mailgate")

SLOTS = 1 << 16
# Places where one entry may be; the oldest of them makes room.
WAYS = 4
_ENTRY = struct.Struct("<16sQ8x")


class Ledger:
    """Entries by message and recipient in `state_dir/delivered`; a disk that fails makes an empty book."""

    FILE = "delivered"

    def __init__(self, state_dir: Path, seconds: int, clock: Callable[[], float] = time.time) -> None:
        self.seconds = seconds
        self._clock = clock
        self._map: mmap.mmap | None = None
        size = SLOTS * _ENTRY.size
        try:
            handle = os.open(state_dir / self.FILE, os.O_RDWR | os.O_CREAT, 0o640)
            try:
                # Whole now, so that a disk that fills up later does no harm.
                os.posix_fallocate(handle, 0, size)
                self._map = mmap.mmap(handle, size)
            finally:
                os.close(handle)
        except OSError:
            log.exception("messages that come again cannot be told")

    def key(self, digest: bytes, sender: Mailbox, recipient: Mailbox) -> bytes:
        """Name of an entry: the digest of a message's octets, and its envelope."""
        envelope = f"\0{sender}\0{recipient}".encode()
        return hashlib.blake2b(digest + envelope, digest_size=16).digest()

    def has(self, key: bytes) -> bool:
        """Whether the entry is in the book and still counts."""
        now = self._clock()
        return any(found == key and now - at < self.seconds for _place, found, at in self._ways(key))

    def add(self, key: bytes) -> None:
        """Write an entry down."""
        if self._map is None or not self.seconds:
            return
        ways = list(self._ways(key))
        place = next((place for place, found, _at in ways if found == key), None)
        if place is None:
            place = min(ways, key=lambda way: way[2])[0]
        _ENTRY.pack_into(self._map, place, key, int(self._clock()))

    def remove(self, key: bytes) -> None:
        """Cross an entry out."""
        for place, found, _at in self._ways(key):
            if found == key and self._map is not None:
                _ENTRY.pack_into(self._map, place, bytes(16), 0)

    def _ways(self, key: bytes) -> list[tuple[int, bytes, int]]:
        """Place, key and time of each entry where `key` may be."""
        if self._map is None:
            return []
        first = int.from_bytes(key[:4], "little") % (SLOTS // WAYS) * WAYS
        places = range(first * _ENTRY.size, (first + WAYS) * _ENTRY.size, _ENTRY.size)
        return [(place, *_ENTRY.unpack_from(self._map, place)) for place in places]

    def close(self) -> None:
        """Close the book."""
        if self._map is not None:
            self._map.close()
            self._map = None
