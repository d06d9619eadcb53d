# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cache of verdicts by content: the same content is scanned once as long as the signatures stay the same."""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from mailgate.scan.clamd import Verdict

_EDGE = 2048

# Size, and checksums of both ends.
CacheKey = tuple[int, int, int]


@dataclass(frozen=True)
class CachedVerdict:
    """A verdict on content.

    Attributes:
        digest: The digest of the content.
        verdict: The verdict.
        scanner: The clamd that gave it.
        signatures: The label of its version and signatures.
        expires: Time of the event loop after which it is not used.
    """

    digest: bytes
    verdict: Verdict
    scanner: str
    signatures: str
    expires: float


class ScanCache:
    """At most `limit` verdicts; the least recently used is removed first.

    A verdict is found by a cheap key and confirmed by its digest, so that new content (nearly all mail) need not be
    hashed before it is scanned.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._verdicts: OrderedDict[CacheKey, CachedVerdict] = OrderedDict()

    def __len__(self) -> int:
        return len(self._verdicts)

    def find(self, key: CacheKey, now: float) -> CachedVerdict | None:
        """Return the verdict on content with this key; it holds only if the digest is the same."""
        cached = self._verdicts.get(key)
        if cached and cached.expires <= now:
            del self._verdicts[key]
            return None
        if cached:
            self._verdicts.move_to_end(key)
        return cached

    def store(self, key: CacheKey, verdict: CachedVerdict) -> None:
        """Store a verdict."""
        if self.limit:
            self._verdicts[key] = verdict
            self._verdicts.move_to_end(key)
        while len(self._verdicts) > self.limit:
            self._verdicts.popitem(last=False)

    def remove(self, key: CacheKey) -> None:
        """Remove a verdict, if there is one."""
        self._verdicts.pop(key, None)


def cache_key(pieces: Sequence[bytes]) -> CacheKey:
    """Return the key of the concatenation."""
    first = next((piece for piece in reversed(pieces) if piece), b"")
    return sum(map(len, pieces)), zlib.crc32(first[:_EDGE]), zlib.crc32(first[-_EDGE:])


def digest(pieces: Sequence[bytes], last: bytes = b"") -> bytes:
    """Return the SHA-256 of each piece, one after the other; `last` is that of the last one, if it is known."""
    digests = [hashlib.sha256(piece).digest() for piece in (pieces[:-1] if last else pieces)]
    return b"".join((*digests, last))
