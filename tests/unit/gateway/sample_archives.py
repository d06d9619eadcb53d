# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of formats for which no free program is available (RAR, CAB, LHA); others made by bsdtar."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

BSDTAR = shutil.which("bsdtar")
MISSING = "bsdtar is not installed here (apt-get install libarchive-tools)"

_ENCRYPTED = 0x04


def _stored(content: bytes, encrypted: bool) -> bytes:
    # Any raw will do that are not those of the checksum.
    return bytes(byte ^ 0x5A for byte in content) if encrypted else content


def rar4(content: bytes, name: bytes, *, encrypted: bool = False, head_encrypted: bool = False) -> bytes:
    """Return a RAR archive (2.9 to 4) with one stored file ("RAR archive format", technote.txt of unrar)."""

    def block(kind: int, flags: int, rest: bytes) -> bytes:
        body = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body

    head = b"Rar!\x1a\x07\0" + block(0x73, 0x80 if head_encrypted else 0, bytes(6))
    if head_encrypted:
        return head + bytes(range(80))
    size = len(content)
    file = struct.pack("<IIBIIBBHI", size, size, 3, zlib.crc32(content), 0x5A000000, 20, 0x30, len(name), 0o100644)
    flags = 0x8000 | (_ENCRYPTED if encrypted else 0)
    return head + block(0x74, flags, file + name) + _stored(content, encrypted) + block(0x7B, 0x4000, b"")


def rar5(content: bytes, name: bytes, *, encrypted: bool = False, head_encrypted: bool = False) -> bytes:
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
    file = (2, flags, *sizes, 0x04, len(content), 0o100644, crc, 0, 1, len(name), name, extra)
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
