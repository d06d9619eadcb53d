# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of RAR archives: where one begins, and how many files it announces, to compare with what came out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"Rar!\x1a\x07"
_MAX_BLOCKS = 20_000
# Type of the first block, in version 4 and 5; the second in version 5 is for archives with encrypted headers.
_MAIN4, _MAIN5 = 0x73, (1, 4)
_FILE4, _DIRECTORY_FLAGS, _UNIX, _REGULAR = 0x74, 0xE0, 3, 0o100644


@dataclass
class Headers:
    """What the headers of an archive say.

    Attributes:
        files: Number of files.
        encrypted: Whether one of them, or the list of them, is encrypted.
        volume: Whether a file continues in another volume.
        whole: Whether the headers could be read to the end.
    """

    files: int = 0
    encrypted: bool = False
    volume: bool = False
    whole: bool = False


def begins(data: bytes, offset: int) -> bool:
    """Return whether a RAR archive begins at `offset`, not only its signature, which programs contain too."""
    head = data[offset : offset + 32]
    if len(head) < 16 or not head.startswith(SIGNATURE):
        return False
    if head[6] == 0:
        return head[9] == _MAIN4
    try:
        _size, start = _number(head, 12)
        return head[6:8] == b"\x01\0" and head[start] in _MAIN5
    except IndexError:
        return False


def headers(archive: bytes) -> Headers:
    """Return what the headers say; damaged ones are counted up to there."""
    found = Headers()
    try:
        blocks = _blocks5(archive, found) if archive[6] else _blocks4(archive, found)
        for number, _offset in enumerate(blocks):
            if number > _MAX_BLOCKS:
                return found
        found.whole = True
    except (IndexError, struct.error):
        pass
    return found


def regular(archive: bytes) -> bytes:
    """Return the archive with each file marked as a regular one, since libarchive leaves out others.

    Other programs unpack a file whose mode is that of a link or a device.
    """
    if archive[6:7] != b"\0":
        return archive
    changed = bytearray(archive)
    try:
        for number, offset in enumerate(_blocks4(archive, Headers())):
            if number > _MAX_BLOCKS:
                break
            checksum, kind, flags, size = struct.unpack_from("<HBHH", archive, offset)
            if kind != _FILE4 or flags & _DIRECTORY_FLAGS == _DIRECTORY_FLAGS or size < 32:
                continue
            if checksum == zlib.crc32(archive[offset + 2 : offset + size]) & 0xFFFF:
                changed[offset + 15] = _UNIX
                struct.pack_into("<I", changed, offset + 28, _REGULAR)
                struct.pack_into("<H", changed, offset, zlib.crc32(changed[offset + 2 : offset + size]) & 0xFFFF)
    except (IndexError, struct.error):
        pass
    return bytes(changed)


def _blocks4(archive: bytes, found: Headers) -> Iterator[int]:
    """Yield the offset of each block (technote.txt of RAR 4)."""
    offset = 7
    while offset < len(archive):
        kind, flags, size = struct.unpack_from("<BHH", archive, offset + 2)
        found.encrypted |= (kind == _MAIN4 and flags & 0x80 != 0) or (kind == _FILE4 and flags & 0x04 != 0)
        if kind == _FILE4:
            found.files += flags & _DIRECTORY_FLAGS != _DIRECTORY_FLAGS
            found.volume |= flags & 0x03 != 0
        if found.encrypted and kind == _MAIN4:
            return
        if kind == 0x7B:
            return
        yield offset
        if flags & 0x8000:
            size += struct.unpack_from("<I", archive, offset + 7)[0]
            if kind == _FILE4 and flags & 0x100:
                size += struct.unpack_from("<I", archive, offset + 32)[0] << 32
        offset += max(size, 7)
    if offset > len(archive):
        raise IndexError


def _blocks5(archive: bytes, found: Headers) -> Iterator[int]:
    """Yield the offset of each block (https://www.rarlab.com/technote.htm)."""
    offset = 8
    while offset < len(archive):
        block = offset
        size, start = _number(archive, offset + 4)
        kind, offset = _number(archive, start)
        flags, offset = _number(archive, offset)
        extra, offset = _number(archive, offset) if flags & 1 else (0, offset)
        data, offset = _number(archive, offset) if flags & 2 else (0, offset)
        found.encrypted |= kind == 4
        if kind == 2:
            found.files += not archive[offset] & 1
            found.volume |= flags & 0x18 != 0
        if kind in (4, 5):
            return
        yield block
        end = start + size
        offset = max(offset, end - extra)
        while kind in (2, 3) and offset < end:
            length, offset = _number(archive, offset)
            record, _after = _number(archive, offset)
            found.encrypted |= record == 1
            offset += max(length, 1)
        offset = end + data
    if offset > len(archive):
        raise IndexError


def _number(archive: bytes, offset: int) -> tuple[int, int]:
    """Return a number of variable length and the offset behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = archive[offset]
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset
    raise IndexError
