# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Duplicate-delivery log: a message that a client sends again is not delivered twice (RFC 1047).

Fixed-size, memory-mapped table of delivered messages whose client has not received our reply. An entry is marked
before the reply is sent, as pending while its session is open, and cleared once the client may have received the reply.
A pending entry holds only if the process of its session has ended. All processes map the same file: marking costs no
system call, and the entries survive the end of a process.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mailgate.failure_log import FailureLog
from mailgate.smtp.address import Mailbox
from mailgate.state import DUPLICATE_LOG, RETRY_SECONDS, map_table

SLOTS = 1 << 16
# Slots where one entry may be stored; the oldest of them is replaced.
WAYS = 4
# Key, time in seconds since 1970, and the process of the session if the entry is pending.
_ENTRY = struct.Struct("<16sQI4x")


class DuplicateLog:
    """Entries by message and recipient in `state_dir/delivered`; I/O errors disable duplicate detection."""

    FILE = DUPLICATE_LOG

    def __init__(self, state_dir: Path, seconds: int, clock: Callable[[], float] = time.time) -> None:
        self.seconds = seconds
        self._clock = clock
        self._path = state_dir / self.FILE
        self._map: mmap.mmap | None = None
        self._closed = False
        self._retry_at = 0.0
        self._failures = FailureLog("duplicate detection disabled")
        self._open()

    def _open(self) -> None:
        """Map the table if it is not yet, and could not be a while ago, as on a full disk; never raise."""
        if self._map is not None or self._closed or time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + RETRY_SECONDS
        try:
            self._map = map_table(self._path, SLOTS * _ENTRY.size)
        except OSError as error:
            self._failures.failed(error)
        else:
            self._failures.worked()

    def keys(self, digest: bytes, client: str, sender: Mailbox, recipients: Iterable[Mailbox]) -> dict[Mailbox, bytes]:
        """Return the key of each recipient's entry, from a message's digest, its client's address and its envelope."""
        message = digest + f"\0{client}\0{sender}\0".encode()
        return {
            recipient: hashlib.blake2b(message + str(recipient).encode(), digest_size=16).digest()
            for recipient in recipients
        }

    def contains(self, key: bytes) -> bool:
        """Return whether an entry is marked, has not expired, and its session has ended."""
        offset = self._find(key)
        if offset is None or self._map is None:
            return False
        _key, marked_at, process = _ENTRY.unpack_from(self._map, offset)
        return self._clock() - marked_at < self.seconds and not (process and _is_running(process))

    def mark(self, key: bytes, *, pending: bool = False) -> None:
        """Mark an entry; `pending` while the client may still receive the reply in its session."""
        self._open()
        if self._map is None or not self.seconds:
            return
        offset = self._find(key)
        if offset is None:
            offset = min(self._slots(key), key=self._marked_at)
        _ENTRY.pack_into(self._map, offset, key, int(self._clock()), os.getpid() if pending else 0)

    def clear(self, key: bytes) -> None:
        """Clear an entry."""
        offset = self._find(key)
        if offset is not None and self._map is not None:
            _ENTRY.pack_into(self._map, offset, bytes(16), 0, 0)

    def _slots(self, key: bytes) -> range:
        """Return the offsets where the entry of `key` may be stored."""
        first = int.from_bytes(key[:4], "little") % (SLOTS // WAYS) * WAYS
        return range(first * _ENTRY.size, (first + WAYS) * _ENTRY.size, _ENTRY.size)

    def _find(self, key: bytes) -> int | None:
        """Return the offset of the entry of `key`."""
        slots = self._slots(key)
        offset = self._map.find(key, slots.start, slots.stop) if self._map else -1
        return offset if offset in slots else None

    def _marked_at(self, offset: int) -> int:
        assert self._map is not None
        return int(_ENTRY.unpack_from(self._map, offset)[1])

    def close(self) -> None:
        """Unmap the table."""
        self._closed = True
        if self._map is not None:
            self._map.close()
            self._map = None


def _is_running(process: int) -> bool:
    """Return whether a process with this id exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
