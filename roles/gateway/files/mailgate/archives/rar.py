# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of RAR archives, as far as they tell whether something is encrypted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

SIGNATURE = b"Rar!\x1a\x07"
_MAX_BLOCKS = 20_000


def is_encrypted(archive: bytes) -> bool:
    """Whether a file in a RAR archive is encrypted: bsdtar does not say so of files that are stored as they are."""
    try:
        return any(islice(_flags5(archive) if archive[6] else _flags4(archive), _MAX_BLOCKS))
    except (IndexError, struct.error):
        return False


def _flags4(archive: bytes) -> Iterator[bool]:
    """Whether it is encrypted, of each block (technote.txt of RAR 4)."""
    at = 7
    while at < len(archive):
        kind, flags, size = struct.unpack_from("<BHH", archive, at + 2)
        yield (kind == 0x73 and flags & 0x80 != 0) or (kind == 0x74 and flags & 0x04 != 0)
        if flags & 0x8000:
            size += struct.unpack_from("<I", archive, at + 7)[0]
            if kind == 0x74 and flags & 0x100:
                size += struct.unpack_from("<I", archive, at + 32)[0] << 32
        at += max(size, 7)


def _flags5(archive: bytes) -> Iterator[bool]:
    """Whether it is encrypted, of each block (https://www.rarlab.com/technote.htm)."""
    at = 8
    while at < len(archive):
        size, start = _number(archive, at + 4)
        kind, at = _number(archive, start)
        flags, at = _number(archive, at)
        extra, at = _number(archive, at) if flags & 1 else (0, at)
        data, at = _number(archive, at) if flags & 2 else (0, at)
        yield kind == 4
        end = start + size
        at = max(at, end - extra)
        while kind in (2, 3) and at < end:
            length, at = _number(archive, at)
            record, _after = _number(archive, at)
            yield record == 1
            at += max(length, 1)
        at = end + data


def _number(archive: bytes, at: int) -> tuple[int, int]:
    """A number of up to ten octets with seven bits each, and where it ends."""
    value = 0
    for place in range(10):
        octet = archive[at + place]
        value |= (octet & 127) << 7 * place
        if octet < 128:
            return value, at + place + 1
    raise IndexError
