# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of RAR archives, as far as they say whether a file is encrypted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

SIGNATURE = b"Rar!\x1a\x07"
_MAX_BLOCKS = 20_000


def is_encrypted(archive: bytes) -> bool:
    """Return whether a file in a RAR archive is encrypted; bsdtar does not detect it in files that are only stored."""
    try:
        return any(islice(_flags5(archive) if archive[6] else _flags4(archive), _MAX_BLOCKS))
    except (IndexError, struct.error):
        return False


def _flags4(archive: bytes) -> Iterator[bool]:
    """Yield for each block whether it is encrypted (technote.txt of RAR 4)."""
    offset = 7
    while offset < len(archive):
        kind, flags, size = struct.unpack_from("<BHH", archive, offset + 2)
        yield (kind == 0x73 and flags & 0x80 != 0) or (kind == 0x74 and flags & 0x04 != 0)
        if flags & 0x8000:
            size += struct.unpack_from("<I", archive, offset + 7)[0]
            if kind == 0x74 and flags & 0x100:
                size += struct.unpack_from("<I", archive, offset + 32)[0] << 32
        offset += max(size, 7)


def _flags5(archive: bytes) -> Iterator[bool]:
    """Yield for each block whether it is encrypted (https://www.rarlab.com/technote.htm)."""
    offset = 8
    while offset < len(archive):
        size, start = _number(archive, offset + 4)
        kind, offset = _number(archive, start)
        flags, offset = _number(archive, offset)
        extra, offset = _number(archive, offset) if flags & 1 else (0, offset)
        data, offset = _number(archive, offset) if flags & 2 else (0, offset)
        yield kind == 4
        end = start + size
        offset = max(offset, end - extra)
        while kind in (2, 3) and offset < end:
            length, offset = _number(archive, offset)
            record, _after = _number(archive, offset)
            yield record == 1
            offset += max(length, 1)
        offset = end + data


def _number(archive: bytes, offset: int) -> tuple[int, int]:
    """Return a number of up to ten bytes with seven bits each, and the offset after it."""
    value = 0
    for place in range(10):
        byte = archive[offset + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, offset + place + 1
    raise IndexError
