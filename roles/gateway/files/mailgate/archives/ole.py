# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Office documents with a password: compound files ([MS-CFB]) of old and new formats.

A document in a new format (docx, xlsx, pptx) with a password is a stream in a compound file ([MS-OFFCRYPTO] 2.3.2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_END = 0xFFFFFFFA
_MAX_DIRECTORY = 1024 * 1024
_MAX_RECORDS = 10_000
# Streams of an encrypted document of any format.
_ENCRYPTED_STREAMS = frozenset({"encryptedpackage", "encryptioninfo", "encryptedsummary"})
_ROOT, _STREAM = 5, 2
_FILEPASS, _EOF = 0x002F, 0x000A
_BOF = (0x0009, 0x0209, 0x0409, 0x0809)
_ENCRYPTED_SLIDES = b"\xdf\xc4\xd1\xf3"


def is_encrypted(document: bytes) -> bool:
    """Return whether the document has a password."""
    try:
        return _File(document).is_encrypted()
    except (struct.error, IndexError):
        # A damaged document: its names are all there is to go by.
        return "EncryptedPackage".encode("utf-16-le") in document


class _File:
    def __init__(self, data: bytes) -> None:
        self._data = data
        (shift, mini_shift) = struct.unpack_from("<HH", data, 0x1E)
        if not 7 <= shift <= 20 or not 1 <= mini_shift < shift:
            raise IndexError
        self._size, self._mini_size = 1 << shift, 1 << mini_shift
        (directory,) = struct.unpack_from("<I", data, 0x30)
        (self._cutoff, mini_fat) = struct.unpack_from("<II", data, 0x38)
        self._fat = self._read_fat()
        self._mini_fat = _numbers(self._chain(mini_fat, _MAX_DIRECTORY))
        self.streams: dict[str, tuple[int, int]] = {}
        self._mini = (_END, 0)
        entries = self._chain(directory, _MAX_DIRECTORY)
        for at in range(0, len(entries) - 127, 128):
            length, kind = struct.unpack_from("<HB", entries, at + 64)
            start, size = struct.unpack_from("<II", entries, at + 116)
            name = entries[at : at + max(0, min(length, 64) - 2)].decode("utf-16-le", "replace").lower()
            if kind == _ROOT:
                self._mini = (start, size)
            elif kind == _STREAM:
                self.streams.setdefault(name, (start, size))
            elif kind == 1:
                self.streams.setdefault(name, (_END, 0))

    def _sector(self, number: int) -> bytes:
        return self._data[(number + 1) * self._size : (number + 2) * self._size]

    def _read_fat(self) -> list[int]:
        places = list(struct.unpack_from("<109I", self._data, 0x4C))
        (more, count) = struct.unpack_from("<II", self._data, 0x44)
        for _number in range(min(count, len(self._data) // self._size)):
            if more >= _END:
                break
            sector = _numbers(self._sector(more))
            places += sector[:-1]
            more = sector[-1]
        known = [place for place in places if place < len(self._data) // self._size]
        return _numbers(b"".join(self._sector(place) for place in known[: len(self._data) // self._size // 64 + 2]))

    def _numbers_of(self, start: int, table: list[int]) -> Iterator[int]:
        """Yield the numbers of a chain of sectors, each once at most."""
        for _step in range(len(table)):
            if start >= len(table):
                return
            yield start
            start = table[start]

    def _chain(self, start: int, limit: int) -> bytes:
        found, size = [], 0
        for number in self._numbers_of(start, self._fat):
            found.append(self._sector(number))
            size += self._size
            if size >= limit:
                break
        return b"".join(found)

    def read(self, name: str, limit: int) -> bytes:
        """Return the first bytes of a stream, empty if there is none."""
        start, size = self.streams.get(name, (_END, 0))
        if size >= self._cutoff:
            return self._chain(start, limit)[:limit]
        store = self._chain(self._mini[0], min(self._mini[1], 16 * _MAX_DIRECTORY))
        found = b""
        for number in self._numbers_of(start, self._mini_fat):
            found += store[number * self._mini_size : (number + 1) * self._mini_size]
            if len(found) >= limit:
                break
        return found[: min(size, limit)]

    def is_encrypted(self) -> bool:
        if _ENCRYPTED_STREAMS & self.streams.keys():
            return True
        # FibBase: the bit fEncrypted ([MS-DOC] 2.5.2), which obfuscation sets too.
        word = self.read("worddocument", 32)
        if len(word) >= 12 and word[11] & 0x01:
            return True
        if any(_has_filepass(self.read(name, _MAX_DIRECTORY)) for name in ("workbook", "book")):
            return True
        # CurrentUserAtom: headerToken ([MS-PPT] 2.3.2).
        return self.read("current user", 16)[12:16] == _ENCRYPTED_SLIDES


def _has_filepass(book: bytes) -> bool:
    """Return whether the first substream of a workbook has a FilePass record ([MS-XLS] 2.4.117)."""
    offset = 0
    for number in range(_MAX_RECORDS):
        if offset + 4 > len(book):
            break
        kind, length = struct.unpack_from("<HH", book, offset)
        if kind == _FILEPASS:
            return True
        if (number == 0 and kind not in _BOF) or kind == _EOF:
            break
        offset += 4 + length
    return False


def _numbers(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4]))
