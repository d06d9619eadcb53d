# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts by content, so that the same octets are scanned once as long as the signatures stay the same."""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from mailgate.scan.clamd import Verdict

_EDGE = 2048

Mark = tuple[int, int, int]


@dataclass(frozen=True)
class Known:
    """A verdict, the SHA-256 of the octets it is about, who gave it with which signatures, and until when it holds."""

    digest: bytes
    verdict: Verdict
    scanner: str
    signatures: str
    until: float


class ScanCache:
    """At most `limit` verdicts, the least lately used leaving first.

    They are found by a mark that costs next to nothing, and believed only by their digest, so that what has never been
    seen before (nearly all mail) need not be hashed before it is scanned.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: OrderedDict[Mark, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, mark: Mark, now: float) -> Known | None:
        """What may be known of octets with this mark; compare the digest."""
        known = self._known.get(mark)
        if known and known.until <= now:
            del self._known[mark]
            return None
        if known:
            self._known.move_to_end(mark)
        return known

    def store(self, mark: Mark, known: Known) -> None:
        """Remember a verdict."""
        if self.limit:
            self._known[mark] = known
            self._known.move_to_end(mark)
        while len(self._known) > self.limit:
            self._known.popitem(last=False)

    def forget(self, mark: Mark) -> None:
        """Remember a verdict no more."""
        self._known.pop(mark, None)


def mark_of(pieces: Sequence[bytes]) -> Mark:
    """Length, and checksums of both ends."""
    first = next((piece for piece in reversed(pieces) if piece), b"")
    return sum(map(len, pieces)), zlib.crc32(first[:_EDGE]), zlib.crc32(first[-_EDGE:])


def digest_of(pieces: Sequence[bytes]) -> bytes:
    """SHA-256 of the concatenation."""
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    return sha.digest()
