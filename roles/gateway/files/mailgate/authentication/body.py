# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of a message as DKIM and ARC hash it (RFC 6376 section 3.4), in blocks, so that no step takes long."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

BLOCK_BYTES = 262_144
# Different hashes of one body: each signature can ask for another length.
MAX_HASHES = 4
# One blank that is not a tab stays as it is.
_BLANKS = re.compile(rb"(?:\t| [ \t])[ \t]*")


class Body:
    """The body of a message with its hashes.

    Args:
        content: The message; its line ends are CRLF.
        start: Where its body begins.
    """

    def __init__(self, content: bytes, start: int) -> None:
        self._content = content
        self._start = start
        self._hashes: dict[tuple[str, bool, int | None], tuple[bytes, int]] = {}

    def hash(self, algorithm: str, *, relaxed: bool, length: int | None = None) -> tuple[bytes, int]:
        """Return the hash of the canonical body, or of its first `length` bytes, and its whole length in bytes.

        Raises:
            ValueError: It is one more than MAX_HASHES.
        """
        key = (algorithm, relaxed, length)
        if key not in self._hashes:
            if len(self._hashes) >= MAX_HASHES:
                raise ValueError("too many different hashes of the body")
            hasher = hashlib.new(algorithm)
            total = 0
            for block in self._blocks(relaxed=relaxed):
                wanted = block if length is None else block[: max(0, length - total)]
                hasher.update(wanted)
                total += len(block)
            self._hashes[key] = hasher.digest(), total
        return self._hashes[key]

    def _blocks(self, *, relaxed: bool) -> Iterator[bytes]:
        content, start = self._content, self._start
        end = _end(content, start, b" \t\r\n" if relaxed else b"\r\n")
        while start < end:
            stop = content.find(b"\r\n", min(start + BLOCK_BYTES, end), end)
            stop = end if stop < 0 else stop + 2
            block = content[start:stop]
            yield _BLANKS.sub(b" ", block).replace(b" \r\n", b"\r\n") if relaxed else block
            start = stop
        if not relaxed or end > self._start:
            yield b"\r\n"


def _end(content: bytes, start: int, trailing: bytes) -> int:
    """Return where the body ends without empty lines and the last line end; `trailing` are the bytes of these."""
    end = len(content)
    while end > start:
        low = max(start, end - BLOCK_BYTES)
        kept = len(content[low:end].rstrip(trailing))
        if kept:
            return low + kept
        end = low
    return start
