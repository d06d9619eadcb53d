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
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mailgate.smtp.address import Mailbox
from mailgate.state import DUPLICATE_LOG, map_table

log = logging.getLogger("mailgate")

SLOTS = 1 << 16
# Places where one entry may be; the oldest of them makes room.
WAYS = 4
_ENTRY = struct.Struct("<16sQ8x")


class DuplicateLog:
    """Entries by message and recipient in `state_dir/delivered`; a disk that fails makes an empty book."""

    FILE = DUPLICATE_LOG

    def __init__(self, state_dir: Path, seconds: int, clock: Callable[[], float] = time.time) -> None:
        self.seconds = seconds
        self._clock = clock
        self._map: mmap.mmap | None = None
        size = SLOTS * _ENTRY.size
        try:
            self._map = map_table(state_dir / self.FILE, size)
        except OSError:
            log.exception("messages that come again cannot be told")

    def keys(self, digest: bytes, sender: Mailbox, recipients: Iterable[Mailbox]) -> dict[Mailbox, bytes]:
        """Names of entries: of the digest of a message's octets, its sender, and each recipient."""
        message = digest + f"\0{sender}\0".encode()
        return {
            recipient: hashlib.blake2b(message + str(recipient).encode(), digest_size=16).digest()
            for recipient in recipients
        }

    def has(self, key: bytes) -> bool:
        """Whether the entry is in the book and still counts."""
        place = self._find(key)
        return place is not None and self._clock() - self._written_at(place) < self.seconds

    def add(self, key: bytes) -> None:
        """Write an entry down."""
        if self._map is None or not self.seconds:
            return
        place = self._find(key)
        if place is None:
            place = min(self._slots(key), key=self._written_at)
        _ENTRY.pack_into(self._map, place, key, int(self._clock()))

    def remove(self, key: bytes) -> None:
        """Cross an entry out."""
        place = self._find(key)
        if place is not None and self._map is not None:
            _ENTRY.pack_into(self._map, place, bytes(16), 0)

    def _slots(self, key: bytes) -> range:
        """Where the entry of `key` may be in the file."""
        first = int.from_bytes(key[:4], "little") % (SLOTS // WAYS) * WAYS
        return range(first * _ENTRY.size, (first + WAYS) * _ENTRY.size, _ENTRY.size)

    def _find(self, key: bytes) -> int | None:
        """Where the entry of `key` is."""
        places = self._slots(key)
        at = self._map.find(key, places.start, places.stop) if self._map else -1
        return at if at in places else None

    def _written_at(self, place: int) -> int:
        assert self._map is not None
        return int(_ENTRY.unpack_from(self._map, place)[1])

    def close(self) -> None:
        """Close the book."""
        if self._map is not None:
            self._map.close()
            self._map = None
