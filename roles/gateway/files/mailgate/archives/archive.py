# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real types of files by their first bytes, and the files inside archives, within limits.

Python's own modules open zip, tar, gzip, bzip2 and xz; a program in its own process opens the rest (`bsdtar`).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import time
import zipfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import IO, cast

from mailgate.archives import bsdtar, tnef
from mailgate.archives.bsdtar import UnpackError

MAX_DEPTH = 5
MAX_FILES = 2000
MAX_UNPACKED = 64 * 1024 * 1024
MAX_SECONDS = 20.0
# Maximum size to unpack in the event loop.
INLINE_SIZE = 1024 * 1024

ZIP = "application/zip"
OLE = "application/x-ole-storage"
TNEF = "application/vnd.ms-tnef"
_MSI = b"\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00F"

_LHA = (b"lh0", b"lh1", b"lh2", b"lh3", b"lh4", b"lh5", b"lh6", b"lh7", b"lhd", b"lzs", b"lz4", b"lz5")

# A table in place of libmagic: no C parser reads hostile data in the process that handles all mail, and the names are
# the same on every host. The names are libmagic's (`file --mime-type`), except for OLE and the types derived from it.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"MZ", "application/x-dosexec"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (0, b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xca\xfe\xba\xbe", "application/x-java-applet"),
    (0, b"#!", "text/x-shellscript"),
    (0, b"L\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
    (0, b"ITSF", "application/vnd.ms-htmlhelp"),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE),
    (0, b"Rar!\x1a\x07", "application/x-rar"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"MSCF", "application/vnd.ms-cab-compressed"),
    *((2, b"-%b-" % method, "application/x-lzh-compressed") for method in _LHA),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (257, b"ustar", "application/x-tar"),
    (0x8001, b"CD001", bsdtar.ISO),
    (0, tnef.SIGNATURE, TNEF),
    (0, b"%PDF-", "application/pdf"),
    (0, b"{\\rtf", "text/rtf"),
    (0, b"FWS", "application/x-shockwave-flash"),
    (0, b"CWS", "application/x-shockwave-flash"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
)
UNKNOWN = "application/octet-stream"  # language: quoted


class MustWaitError(Exception):
    """Unpacking would take longer than the event loop may be blocked."""


@dataclass
class Bounds:
    """What may still be unpacked for one file of a message.

    Attributes:
        files: Number of files.
        size: Bytes in all.
        deadline: When unpacking must be done, as time.monotonic().
        wait: Whether it may take long; if not, MustWaitError is raised when it would.
    """

    files: int = MAX_FILES
    size: int = MAX_UNPACKED
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)
    wait: bool = True

    @classmethod
    def inline(cls) -> Bounds:
        """Return the bounds for unpacking in the event loop."""
        return cls(size=INLINE_SIZE, wait=False)

    def take(self, size: int) -> None:
        """Count one file; raise UnpackError or MustWaitError when that is too much."""
        self.files -= 1
        self.size -= size
        if self.size < 0 and not self.wait:
            raise MustWaitError
        if self.files < 0 or self.size < 0:
            raise UnpackError("exceeds the limits for unpacking")


def real_type(content: bytes) -> str:
    """Return the MIME type by content, UNKNOWN if it is not in the table."""
    found = next((kind for offset, signature, kind in _SIGNATURES if content.startswith(signature, offset)), UNKNOWN)
    if found == ZIP and b"META-INF/MANIFEST.MF" in content and b"word/" not in content:
        return "application/java-archive"
    if found == OLE and _MSI in content[:4096]:
        return "application/x-msi"
    return found


def has_macros(content: bytes, kind: str) -> bool:
    """Return whether an Office document, old (OLE) or new (zip), has macros."""
    if kind == OLE:
        return any(name.encode("utf-16-le") in content for name in ("_VBA_PROJECT", "_xlm"))
    return kind == ZIP and any(name in content for name in (b"vbaProject.bin", b"xl/macrosheets/"))


def is_encrypted_document(content: bytes, kind: str) -> bool:
    """Return whether it is an Office document with a password ([MS-OFFCRYPTO] section 2.3)."""
    return kind == OLE and "EncryptedPackage".encode("utf-16-le") in content


def files_inside(content: bytes, kind: str, bounds: Bounds) -> Generator[tuple[str, bytes], None, None]:
    """Yield names and contents of the files in an archive; none if it is not an archive.

    Raises:
        UnpackError: The archive cannot be unpacked, or not to its end; the files before that are yielded.
        MustWaitError: Unpacking takes long, and `bounds` do not allow that.
    """
    try:
        if kind in (ZIP, "application/java-archive"):
            yield from _zip(content, bounds)
        elif kind == "application/x-tar":
            yield from _tar(content, bounds)
        elif kind in _OPEN:
            with _OPEN[kind](io.BytesIO(content)) as stream:
                yield "", _read(stream, bounds)
        elif kind == TNEF:
            for name, file in tnef.files_inside(content):
                bounds.take(len(file))
                yield name, file
        elif kind in bsdtar.KINDS:
            if not bounds.wait:
                raise MustWaitError
            yield from bsdtar.files_inside(content, kind, bounds)
    except (UnpackError, MustWaitError):
        raise
    except Exception as error:
        # The standard library raises many kinds of exceptions for damaged archives, IndexError among others.
        raise UnpackError(str(error) or type(error).__name__) from error


_OPEN: dict[str, Callable[[io.BytesIO], IO[bytes]]] = {
    "application/gzip": lambda raw: cast(IO[bytes], gzip.GzipFile(fileobj=raw)),
    "application/x-bzip2": bz2.BZ2File,
    "application/x-xz": lzma.LZMAFile,
}


def _zip(content: bytes, bounds: Bounds) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in entries:
            if entry.flag_bits & 1:
                # Its name can be checked though its content cannot.
                yield entry.filename, b""
                continue
            with archive.open(entry) as stream:
                yield entry.filename, _read(stream, bounds)
        if any(entry.flag_bits & 1 for entry in entries):
            raise UnpackError("encrypted")


def _tar(content: bytes, bounds: Bounds) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for entry in archive:
            stream = archive.extractfile(entry) if entry.isfile() else None
            if stream:
                yield entry.name, _read(stream, bounds)


def _read(stream: IO[bytes], bounds: Bounds) -> bytes:
    content = stream.read(bounds.size + 1)
    bounds.take(len(content))
    return content
