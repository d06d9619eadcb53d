# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives: written here where no free program writes the format (RAR, CAB, LHA, rpm), others made by programs."""

from __future__ import annotations

import asyncio
import gzip
import io
import shutil
import struct
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from mailgate.archives import contents
from mailgate.config import Attachments
from mailgate.content.attachments import Violation, violations

BSDTAR = shutil.which("bsdtar")
MISSING = "bsdtar is not installed here (apt-get install libarchive-tools)"

SEVENZIP = shutil.which("7zz")
NO_SEVENZIP = "7zz is not installed here (apt-get install 7zip)"
LISTS = Attachments()

_ENCRYPTED = 0x04


def violations_of(names: Iterable[str], data: bytes, lists: Attachments = LISTS) -> list[Violation]:
    """Return what violates the policy on attachments."""

    async def found() -> list[Violation]:
        return [violation async for violation in violations(names, data, lists)]

    return asyncio.run(found())


def inside(data: bytes) -> tuple[dict[str, bytes], list[contents.Problem]]:
    """Return the files inside an archive by path, all readings of one joined, and what could not be opened."""
    files: dict[str, bytearray] = {}
    problems = []
    for found in contents.Contents().inside(data):
        if isinstance(found, contents.Problem):
            problems.append(found)
        else:
            files.setdefault(found.name, bytearray()).extend(found.data)
    return {name: bytes(data) for name, data in files.items()}, problems


def hidden(virus: bytes) -> bytes:
    """Return a gzip file that holds `virus` in no plain form: its pieces came before it, so deflate refers to them."""
    pieces = b"\n".join(virus[at : at + 12] for first in range(12) for at in range(first, len(virus), 12))
    return gzip.compress(pieces + b"\n" + virus + b"\n" + pieces, 9, mtime=0)


def _stored(content: bytes, encrypted: bool) -> bytes:
    # Any raw will do that are not those of the checksum.
    return bytes(byte ^ 0x5A for byte in content) if encrypted else content


def rar4(
    content: bytes,
    name: bytes,
    *,
    encrypted: bool = False,
    head_encrypted: bool = False,
    mode: int = 0o100644,
    system: int = 3,
) -> bytes:
    """Return a RAR archive (2.9 to 4) with one stored file ("RAR archive format", technote.txt of unrar)."""

    def block(kind: int, flags: int, rest: bytes) -> bytes:
        body = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body

    head = b"Rar!\x1a\x07\0" + block(0x73, 0x80 if head_encrypted else 0, bytes(6))
    if head_encrypted:
        return head + bytes(range(80))
    size = len(content)
    file = struct.pack("<IIBIIBBHI", size, size, system, zlib.crc32(content), 0x5A000000, 20, 0x30, len(name), mode)
    flags = 0x8000 | (_ENCRYPTED if encrypted else 0)
    return head + block(0x74, flags, file + name) + _stored(content, encrypted) + block(0x7B, 0x4000, b"")


def rar5(
    content: bytes,
    name: bytes,
    *,
    encrypted: bool = False,
    head_encrypted: bool = False,
    mode: int = 0o100644,
    system: int = 1,
) -> bytes:
    """Return a RAR 5 archive with one stored file (https://www.rarlab.com/technote.htm)."""

    def number(value: int) -> bytes:
        out = b""
        while value > 127:
            out += bytes([value & 127 | 128])
            value >>= 7
        return out + bytes([value])

    def block(*fields: int | bytes) -> bytes:
        rest = b"".join(number(field) if isinstance(field, int) else field for field in fields)
        body = number(len(rest)) + rest
        return struct.pack("<I", zlib.crc32(body)) + body

    head = b"Rar!\x1a\x07\x01\0"
    if head_encrypted:
        return head + block(4, 0, 0, 0, b"\x0f" + bytes(16)) + bytes(range(64))
    extra = b""
    if encrypted:
        record = number(1) + number(0) + number(0) + b"\x0f" + bytes(32)
        extra = number(len(record)) + record
    crc = struct.pack("<I", zlib.crc32(content))
    sizes = (len(extra), len(content)) if extra else (len(content),)
    flags = 0x02 | (0x01 if extra else 0)
    file = (2, flags, *sizes, 0x04, len(content), mode, crc, 0, system, len(name), name, extra)
    return head + block(1, 0, 0) + block(*file) + _stored(content, encrypted) + block(5, 0, 0)


def cab(content: bytes, name: bytes) -> bytes:
    """Return a cabinet with one uncompressed file ([MS-CAB])."""
    data = b"".join(
        struct.pack("<IHH", 0, len(chunk), len(chunk)) + chunk
        for chunk in (content[at : at + 32768] for at in range(0, len(content), 32768))
    )
    file = struct.pack("<IIHHHH", len(content), 0, 0, 0x5A00, 0, 0x20) + name + b"\0"
    start = 36 + 8 + len(file)
    folder = struct.pack("<IHH", start, -(-len(content) // 32768), 0)
    size = start + len(data)
    head = struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, size, 0, 44, 0, 3, 1, 1, 1, 0, 1, 0)
    return head + folder + file + data


def lha(content: bytes, name: bytes, method: bytes = b"-lh0-") -> bytes:
    """Return an LHA archive with a level 0 header and one stored file."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    size = len(content)
    head = method + struct.pack("<IIIBBB", size, size, 0x5A000000, 0x20, 0, len(name)) + name + struct.pack("<H", crc)
    return bytes([len(head), sum(head) & 255]) + head + content + b"\0"


def by_bsdtar(kind: str, files: dict[str, bytes], *options: str) -> bytes:
    """Return an archive in a format that bsdtar writes: 7zip, iso9660, zip, ..."""
    assert BSDTAR
    with tempfile.TemporaryDirectory() as directory:
        for name, content in files.items():
            (Path(directory) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(directory) / name).write_bytes(content)
        out = Path(directory) / ".out"
        subprocess.run([BSDTAR, "-c", f"--format={kind}", *options, "-f", out, "-C", directory, *files], check=True)
        return out.read_bytes()


def by_7zz(kind: str, files: dict[str, bytes], *options: str) -> bytes:
    """Return an archive that 7zz writes: 7z, zip, wim, ..."""
    assert SEVENZIP
    with tempfile.TemporaryDirectory() as directory:
        for name, content in files.items():
            (Path(directory) / name).write_bytes(content)
        command = [SEVENZIP, "a", f"-t{kind}", *options, f"out.{kind}", *files]
        subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)
        return (Path(directory) / f"out.{kind}").read_bytes()


def through(program: str, *options: str, data: bytes) -> bytes:
    """Return what a program that compresses makes of data."""
    return subprocess.run([program, *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def rpm(payload: bytes) -> bytes:
    """Return an rpm package with this payload, a compressed cpio, and empty headers (file format of rpm, version 3)."""
    lead = struct.pack(">4sBBHH66sHH16x", b"\xed\xab\xee\xdb", 3, 0, 0, 1, b"a-1-1", 1, 5)
    header = b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", 0, 0)
    return lead + header + header + payload


def zip_with_holes(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, *, streamed: bool = False) -> bytes:
    """Return a zip; `streamed`, with the sizes behind each file."""

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    out = Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, method)
    return out.data if isinstance(out, Pipe) else out.getvalue()


def without_directory(zipped: bytes) -> bytes:
    """Return a zip without the directory at its end."""
    return zipped[: zipped.index(b"PK\x01\x02")]


def without_sizes(zipped: bytes) -> bytes:
    """Return a zip whose first file has no sizes and no checksum before it, only in the directory."""
    return zipped[:14] + bytes(12) + zipped[26:]


def compound(streams: dict[str, bytes]) -> bytes:
    """Return a compound file ([MS-CFB]) with these streams, each padded to more than a small one's size."""
    sector, small = 512, 4096
    padded = {name: data.ljust(small, b"\0") for name, data in streams.items()}
    entries, fat, body = [], [], b""

    def entry(name: str, kind: int, child: int, start: int, size: int, right: int = 0xFFFFFFFF) -> bytes:
        text = name.encode("utf-16-le") + b"\0\0"
        head = text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, 0xFFFFFFFF, right, child)
        return head + bytes(36) + struct.pack("<IQ", start, size)

    for number, (name, data) in enumerate(padded.items(), 1):
        count = -(-len(data) // sector)
        right = number + 1 if number < len(padded) else 0xFFFFFFFF
        entries.append(entry(name, 2, 0xFFFFFFFF, len(fat), len(data), right))
        fat += [*range(len(fat) + 1, len(fat) + count), 0xFFFFFFFE]
        body += data.ljust(count * sector, b"\0")
    directory = entry("Root Entry", 5, 1, 0xFFFFFFFE, 0) + b"".join(entries)
    count = -(-len(directory) // sector)
    first = len(fat)
    fat += [*range(first + 1, first + count), 0xFFFFFFFE]
    body += directory.ljust(count * sector, b"\0")
    tables = -(-(len(fat) + 8) // 128)
    places = list(range(len(fat), len(fat) + tables))
    fat += [0xFFFFFFFD] * tables
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(tables * sector, b"\xff")
    magic, none = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0xFFFFFFFE
    numbers = (0x3E, 3, 0xFFFE, 9, 6, 0, tables, first, 0, small, none, 0, none, 0)
    head = struct.pack("<8s16xHHHHH6xIIIIIIIII", magic, *numbers)
    return head + struct.pack("<109I", *places, *[0xFFFFFFFF] * (109 - tables)) + body + table


def record(kind: int, data: bytes = b"") -> bytes:
    """Return a record of a workbook ([MS-XLS] 2.1.4)."""
    return struct.pack("<HH", kind, len(data)) + data


# Office documents with a password, and the same kinds without one.
_BOOK = record(0x0809, bytes(16))
ENCRYPTED_DOCUMENTS = {
    "docx, xlsx, pptx": compound({"EncryptionInfo": b"\4\0\4\0", "EncryptedPackage": bytes(5000)}),
    "doc": compound({"WordDocument": b"\xec\xa5\xc1\0" + bytes(7) + b"\1" + bytes(50), "1Table": bytes(52)}),
    "xls": compound({"Workbook": _BOOK + record(0x0086) + record(0x002F, bytes(54)) + record(0x000A)}),
    "xls of Excel 95": compound({"Book": _BOOK + record(0x002F, bytes(6)) + record(0x000A)}),
    "ppt": compound({"Current User": bytes(12) + b"\xdf\xc4\xd1\xf3", "PowerPoint Document": bytes(99)}),
}
PLAIN_DOCUMENTS = {
    "doc": compound({"WordDocument": b"\xec\xa5\xc1\0" + bytes(60), "1Table": bytes(52)}),
    "xls": compound({"Workbook": _BOOK + record(0x0086) + record(0x000A) + record(0x002F, bytes(54))}),
    "ppt": compound({"Current User": bytes(12) + b"\x5f\xc0\x91\xe3", "PowerPoint Document": bytes(99)}),
}
