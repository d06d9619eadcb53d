# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything inside an archive: the files at each level, and what could not be opened.

Each archive is read to its end by libarchive; if that does not get everything out, by 7zz too. What came out is
compared with what the archive announces. An archive of which not every file came out is a problem, never empty.

This runs in the unpacker's process only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from mailgate.archives import archive, embedded, libarchive, ole, rar, sevenzip, tnef, zips
from mailgate.archives.libarchive import Reading

# As clamd's own limits (MaxFiles, MaxScanSize; MaxRecursion is 17).
MAX_FILES = 10_000
MAX_UNPACKED = 200 * 1024 * 1024
MAX_DEPTH = 12
# Largest archive inside another one that is held in memory.
MAX_NESTED = 64 * 1024 * 1024
# Bytes of a file by which its type is recognized, if it is larger than MAX_NESTED.
_HEAD = 64 * 1024

ENCRYPTED, UNCHECKED = "encrypted", "unchecked"

_MANIFEST = "META-INF/manifest.xml"

_Entries = Iterator[tuple[str, Iterator[bytes]]]


@dataclass(frozen=True)
class Piece:
    """A piece of a file; the first of each file has `begins` set.

    Attributes:
        name: Path of the file, through the archives that hold it.
        data: The bytes.
        begins: Whether it is the first piece of a file.
        seen: Whether clamd opens the file by itself, so that it need not be scanned again.
    """

    name: str
    data: bytes
    begins: bool
    seen: bool


@dataclass(frozen=True)
class Problem:
    """What was not opened: `kind` is ENCRYPTED or UNCHECKED, `name` its path and `reason` why."""

    kind: str
    name: str
    reason: str


Found = Iterator[Piece | Problem]


class _TooMuchError(Exception):
    pass


class Contents:
    """One look into a file, within limits that hold for all levels together."""

    def __init__(self, max_size: int = MAX_UNPACKED, max_files: int = MAX_FILES) -> None:
        self._size = max_size
        self._files = max_files

    def inside(self, content: bytes) -> Found:
        """Yield what is inside a file; nothing if it is no archive and holds none."""
        try:
            yield from self._inside(content, "", 0, seen=True)
        except _TooMuchError as error:
            yield Problem(UNCHECKED, "", str(error))

    def _inside(self, content: bytes, name: str, depth: int, *, seen: bool) -> Found:
        kind = archive.real_type(content)
        if kind not in (archive.ZIP, archive.JAR) and zips.ends(content):
            kind = archive.ZIP
        if kind == archive.OLE and ole.is_encrypted(content):
            yield Problem(ENCRYPTED, name, "document with a password")
        if kind in archive.ARCHIVES:
            if depth >= MAX_DEPTH:
                yield Problem(UNCHECKED, name, "archives nested too deep")
                return
            yield from self._archive(content, kind, name, depth, seen=seen)
        if kind not in (archive.RAR, archive.SEVEN_ZIP):
            for found, at in embedded.offsets(content):
                for item in self._archive(content[at:], found, name, depth, seen=False):
                    # Compressed data may hold the beginning of an archive that is whole only when it is unpacked.
                    if kind not in archive.ARCHIVES or not isinstance(item, Problem) or item.kind != UNCHECKED:
                        yield item

    def _archive(self, content: bytes, kind: str, name: str, depth: int, *, seen: bool) -> Found:
        if kind == archive.TNEF:
            yield from self._tnef(content, name, depth)
        elif kind in archive.CLOSED:
            yield Problem(UNCHECKED, name, f"{kind} cannot be opened")
        elif kind in (archive.ZIP, archive.JAR):
            yield from self._zip(content, name, depth, seen=seen)
        elif kind == archive.RAR:
            yield from self._rar(content, name, depth)
        elif kind in _COMPRESSED:
            yield from self._compressed(content, kind, name, depth)
        else:
            yield from self._other(content, kind, name, depth)

    def _files_of(
        self, entries: _Entries, name: str, depth: int, *, seen: bool, streamed: frozenset[str] = frozenset()
    ) -> Found:
        """Yield the files of an archive, and what is inside each; large ones of `streamed` are left to the caller."""
        for inner, pieces in entries:
            self._files -= 1
            if self._files < 0:
                raise _TooMuchError(f"more than {MAX_FILES} files")
            path = f"{name}/{inner}" if inner else unpacked_name(name)
            held: list[bytes] = []
            size, begins = 0, True
            for data in pieces:
                self._size -= len(data)
                if self._size < 0:
                    raise _TooMuchError(f"more than {MAX_UNPACKED // 1024 // 1024} MiB unpacked")
                yield Piece(path, data, begins, seen)
                begins = False
                size += len(data)
                if size <= MAX_NESTED:
                    held.append(data)
            if begins:
                yield Piece(path, b"", begins, seen)
            content = b"".join(held)
            del held
            if size <= MAX_NESTED:
                if inner.endswith(_MANIFEST) and b"encryption-data" in content:
                    yield Problem(ENCRYPTED, name, "document with a password")
                yield from self._inside(content, path, depth + 1, seen=seen)
                continue
            kind = archive.real_type(content[:_HEAD])
            if kind in archive.ARCHIVES - streamed or next(embedded.offsets(content), None):
                yield Problem(UNCHECKED, path, "archive in an archive is too large")

    def _read(
        self, read: Callable[[Reading], _Entries], result: Reading, name: str, depth: int, *, seen: bool
    ) -> Found:
        yield from self._files_of(read(result), name, depth, seen=seen)

    def _zip(self, content: bytes, name: str, depth: int, *, seen: bool) -> Found:
        layout = zips.layout(content)
        plain = seen and layout.plain
        result = Reading()
        read = partial(libarchive.read, content, formats=("zip_seekable",))
        yield from self._read(read, result, name, depth, seen=plain)
        encrypted = result.encrypted or layout.encrypted
        whole = not result.failed and layout.entries is not None and result.entries == layout.files
        if not whole and not encrypted and sevenzip.installed():
            second = Reading()
            yield from self._read(partial(sevenzip.read, content), second, name, depth, seen=False)
            encrypted = encrypted or second.encrypted
            whole = not second.failed
        for start in layout.unlisted:
            # Files that the directory at the end does not list; some programs read without it.
            more = Reading()
            read = partial(libarchive.read, content[start:], formats=("zip_streamable",))
            yield from self._read(read, more, name, depth, seen=False)
            encrypted = encrypted or more.encrypted
            whole = whole and not more.failed
        yield from _judged(name, "zip", result.failed or "damaged", whole=whole, encrypted=encrypted)

    def _rar(self, content: bytes, name: str, depth: int) -> Found:
        announced = rar.headers(content)
        result = Reading()
        if not announced.encrypted:
            read = partial(libarchive.read, rar.regular(content), formats=("rar", "rar5"))
            yield from self._read(read, result, name, depth, seen=False)
        encrypted = announced.encrypted or result.encrypted
        whole = not result.failed and announced.whole and not announced.volume and result.entries >= announced.files
        if not whole and not encrypted and sevenzip.installed():
            # It opens RAR only with the codec of the package 7zip-rar, which is not free software.
            second = Reading()
            yield from self._read(partial(sevenzip.read, content, kind="rar"), second, name, depth, seen=False)
            if not second.entries:
                yield from self._read(partial(sevenzip.read, content, kind="rar5"), second, name, depth, seen=False)
            whole = not second.failed and second.entries >= announced.files and not announced.volume
        reason = "one of several volumes" if announced.volume else result.failed or "damaged"
        yield from _judged(name, "RAR", reason, whole=whole, encrypted=encrypted)

    def _compressed(self, content: bytes, kind: str, name: str, depth: int) -> Found:
        """Yield the file that is compressed, and what is inside it."""
        head, size = b"", 0

        def watched(pieces: Iterator[bytes]) -> Iterator[bytes]:
            nonlocal head, size
            for data in pieces:
                head, size = head or data[:_HEAD], size + len(data)
                yield data

        result = Reading()
        read = libarchive.read(content, result, formats=(), raw=True)
        entries = (("", watched(pieces)) for _name, pieces in read)
        yield from self._files_of(entries, name, depth, seen=False, streamed=_STREAMED)
        inner = archive.real_type(head)
        if size > MAX_NESTED and inner in _STREAMED:
            again = partial(libarchive.read, content, formats=_FORMATS[inner])
            yield from self._read(again, result, name, depth, seen=False)
        yield from _judged(name, kind.rpartition("/")[2], result.failed, whole=not result.failed, encrypted=False)

    def _other(self, content: bytes, kind: str, name: str, depth: int) -> Found:
        readers: list[Callable[[Reading], _Entries]] = []
        if kind in _FORMATS:
            readers.append(partial(_by_libarchive, content, kind))
        if sevenzip.installed():
            readers.append(partial(sevenzip.read, content))
            # 7-Zip's own format: libarchive does not verify checksums.
            if kind == archive.SEVEN_ZIP:
                readers.reverse()
        reason, encrypted, whole = "", False, False
        for number, read in enumerate(readers):
            result = Reading()
            yield from self._read(read, result, name, depth, seen=False)
            encrypted = encrypted or result.encrypted or "encrypt" in result.failed
            reason = reason or result.failed
            whole = whole or not result.failed
            # An image of a disc may have two file systems with different files.
            if (whole or encrypted) and not (kind == archive.ISO and number == 0):
                break
        yield from _judged(name, kind.rpartition("/")[2], reason, whole=whole, encrypted=encrypted)

    def _tnef(self, content: bytes, name: str, depth: int) -> Found:
        failed = ""

        def entries() -> _Entries:
            nonlocal failed
            try:
                for inner, data in tnef.files_inside(content):
                    yield inner, iter((data,))
            except tnef.DamagedError as error:
                failed = str(error)

        yield from self._files_of(entries(), name, depth, seen=False)
        yield from _judged(name, "winmail.dat", failed, whole=not failed, encrypted=False)


def unpacked_name(name: str) -> str:
    """Return the name that a compressed file has when it is unpacked."""
    plain = re.sub(r"\.(tgz|tbz2?|txz|tzst|tlz|taz)$", ".tar", name, flags=re.IGNORECASE)
    return re.sub(r"\.(gz|bz2|xz|zst|lz4?|lzma|z)$", "", plain, flags=re.IGNORECASE)


def _by_libarchive(content: bytes, kind: str, result: Reading) -> _Entries:
    if kind == archive.ISO:
        # The system area of an image is unused; another format might be recognized in it.
        content = bytes(_ISO_AREA) + content[_ISO_AREA:]
    return libarchive.read(content, result, formats=_FORMATS[kind])


_ISO_AREA = 0x8000
_COMPRESSED = frozenset({
    "application/gzip", "application/x-bzip2", "application/x-xz", "application/zstd", "application/x-lz4",
    "application/x-lzip", "application/x-compress", archive.LZMA,
})  # fmt: skip
# libarchive's names of the formats that it knows.
_FORMATS: dict[str, tuple[str, ...]] = {
    archive.TAR: ("tar",),
    archive.CPIO: ("cpio",),
    archive.ISO: ("iso9660",),
    archive.SEVEN_ZIP: ("7zip",),
    "application/vnd.ms-cab-compressed": ("cab",),
    "application/x-lzh-compressed": ("lha",),
    "application/x-archive": ("ar",),
    "application/x-xar": ("xar",),
    "application/x-rpm": ("cpio",),
    "application/warc": ("warc",),
}
# Formats that it reads without having all of the archive in memory.
_STREAMED = frozenset({archive.TAR, archive.CPIO})


def _judged(name: str, kind: str, reason: str, *, whole: bool, encrypted: bool) -> Found:
    if encrypted:
        yield Problem(ENCRYPTED, name, f"{kind}: encrypted")
    elif not whole:
        yield Problem(UNCHECKED, name, f"{kind}: {reason or 'damaged'}")
