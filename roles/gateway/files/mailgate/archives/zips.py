# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layout of zip archives (APPNOTE.TXT): whether all programs read the same files in one."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END_SIZE, _LONGEST_COMMENT = 22, 65535
_ENCRYPTED, _SIZE_LATER = 1, 8
# Methods that every program knows, clamd among them.
_STORED, _DEFLATED = 0, 8
_EMPTY_DEFLATED = 2
_DESCRIPTORS = (0, 12, 16, 20, 24)
_MAX_UNLISTED = 20


@dataclass
class Layout:
    """What a zip archive consists of.

    Attributes:
        entries: Number of entries in its directory; None if that cannot be read.
        files: Number of those that are no directories.
        plain: Whether it holds nothing but the files in its directory, each described alike in both places, and
            stored or deflated.
        encrypted: Whether a file is encrypted.
        unlisted: Offsets of files that are not in its directory.
    """

    entries: int | None = None
    files: int = 0
    plain: bool = False
    encrypted: bool = False
    unlisted: list[int] = field(default_factory=list)


def ends(content: bytes) -> bool:
    """Return whether a file ends as a zip archive, though it begins otherwise."""
    at = _end(content)
    return at >= 0 and _central(content, at) is not None


def layout(content: bytes) -> Layout:
    """Return the layout; nothing that is wrong with an archive raises an error."""
    found = Layout()
    end = _end(content)
    central = _central(content, end) if end >= 0 else None
    places: list[tuple[int, int]] = []
    if central is not None:
        try:
            found.plain = True
            places = _listed(content, central, found)
        except (struct.error, IndexError):
            found.entries, found.plain = None, False
    position = 0
    for start, stop in sorted(places):
        if start - position not in (_DESCRIPTORS if position else (0,)):
            found.plain = False
            _search(content, position, start, found)
        position = max(position, stop)
    limit = central[0] if central else len(content)
    if limit - position not in (_DESCRIPTORS if position else (0,)):
        found.plain = False
        _search(content, position, limit, found)
    return found


def _end(content: bytes) -> int:
    return content.rfind(_END, max(0, len(content) - _END_SIZE - _LONGEST_COMMENT))


def _central(content: bytes, end: int) -> tuple[int, int, int] | None:
    """Return offset and number of entries of the directory, and the size of what is before the archive."""
    if end + _END_SIZE > len(content):
        return None
    count, size, offset = struct.unpack_from("<HII", content, end + 10)
    start = end - size
    if start < 0 or start < offset or (count and not content.startswith(_CENTRAL, start)) or count == 0xFFFF:
        return None
    return start, count, start - offset


def _listed(content: bytes, central: tuple[int, int, int], found: Layout) -> list[tuple[int, int]]:
    """Return where each listed file begins and ends."""
    at, count, prefix = central
    found.plain &= prefix == 0
    found.entries = count
    places = []
    for _number in range(count):
        if not content.startswith(_CENTRAL, at):
            raise IndexError
        flags, method = struct.unpack_from("<HH", content, at + 8)
        packed, size, name, extra, comment = struct.unpack_from("<IIHHH", content, at + 20)
        start = struct.unpack_from("<I", content, at + 42)[0] + prefix
        path = content[at + 46 : at + 46 + name]
        found.files += not path.endswith(b"/")
        found.encrypted |= flags & _ENCRYPTED != 0
        data = start + 30 + sum(struct.unpack_from("<HH", content, start + 26))
        local = struct.unpack_from("<HH", content, start + 6)
        sizes = struct.unpack_from("<II", content, start + 18)
        later = flags & _SIZE_LATER and sizes == (0, 0)
        found.plain &= (
            content.startswith(_LOCAL, start)
            and method in (_STORED, _DEFLATED)
            and local == (flags, method)
            and (sizes == (packed, size) or bool(later))
            and content[start + 30 : start + 30 + name] == path
            and (method != _STORED or packed == size)
            and not flags & _ENCRYPTED
            and (not path.endswith(b"/") or packed <= _EMPTY_DEFLATED)
        )
        places.append((start, data + packed))
        at += 46 + name + extra + comment
    return places


def _search(content: bytes, start: int, stop: int, found: Layout) -> None:
    """Note the first file between two offsets that no entry of the directory describes."""
    for _attempt in itertools.repeat(None, _MAX_UNLISTED):
        at = content.find(_LOCAL, start, stop)
        if at < 0 or len(found.unlisted) >= _MAX_UNLISTED:
            return
        version, _flags, method = struct.unpack_from("<HHH", content[at : at + 30].ljust(30, b"\0"), 4)
        if version & 0xFF <= 63 and method <= 99:
            found.unlisted.append(at)
            return
        start = at + 4
