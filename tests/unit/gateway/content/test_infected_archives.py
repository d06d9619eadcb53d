# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No archive that a usual program opens passes a real clamd with an infection inside."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import shutil
import zipfile

import pytest
from infected_mail import EICAR, HEAD, TEXT, b64, multi, part, zipped
from sample_archives import (
    BSDTAR,
    MISSING,
    NO_SEVENZIP,
    SEVENZIP,
    by_7zz,
    by_bsdtar,
    cab,
    hidden,
    lha,
    rar4,
    rar5,
    rpm,
    through,
    without_directory,
    without_sizes,
    zip_with_holes,
)

from mailgate.archives import archive, embedded, zips
from mailgate.config import Attachments, Scan
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy
from mailgate.content.screen import Rules, screen
from mailgate.scan.clamd import Clamd, Finding
from mailgate.scan.scanner import Scanner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BSDTAR, reason=MISSING),
    pytest.mark.skipif(not SEVENZIP, reason=NO_SEVENZIP),
]

VIRUS = hidden(EICAR)
TEXT_FILE = b"The notes of the lecture, line by line.\n" * 99
# So that the methods of compression have something to do, the infected file is a text.
PIECES = [EICAR[at : at + 12] for first in range(12) for at in range(first, 68, 12)]
LETTER = b"\n".join((TEXT_FILE, *PIECES, EICAR))
PROGRAM = b"MZ\x90\0" + bytes(2000)
PHOTO = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 8 + b"\xff\xd9"

FILTERS = ("BCJ", "Delta:4", "ARM", "ARM64", "ARMT", "PPC", "SPARC", "IA64", "RISCV", "Swap2")
CONTAINERS = ("gnutar", "pax", "v7tar", "newc", "odc", "bin", "ar", "xar", "warc", "iso9660")
COMPRESSORS = ("gzip", "bzip2", "xz", "xz --format=lzma", "zstd -q", "lz4 -q", "lzip", "compress")


def samples(small: bytes, letter: bytes) -> dict[str, bytes]:
    """Return archives by kind: with a small file that cannot be compressed, or with a letter."""
    files = {"a.gz": small, "b.txt": TEXT_FILE}
    found = {f"zip {method}": by_7zz("zip", {"a.txt": letter}, f"-mm={method}")
             for method in ("Deflate", "Deflate64", "BZip2", "LZMA", "PPMd", "XZ")}  # fmt: skip
    found |= {f"7z {method}": by_7zz("7z", files, f"-m0={method}")
              for method in ("Copy", "LZMA", "LZMA2", "BZip2", "Deflate", "Deflate64", "PPMd")}  # fmt: skip
    found |= {f"7z {name}": by_7zz("7z", files, f"-m0={name}", "-m1=LZMA2") for name in FILTERS}
    streams = ("-m1=LZMA", "-m2=LZMA", "-m3=LZMA", "-mb0:1", "-mb0s1:2", "-mb0s2:3")
    found["7z BCJ2"] = by_7zz("7z", files, "-m0=BCJ2", *streams)
    found["wim"] = by_7zz("wim", files)
    tar, cpio = by_bsdtar("gnutar", files), by_bsdtar("newc", files)
    found |= {name: by_bsdtar(name, files) for name in CONTAINERS}
    for words in COMPRESSORS:
        program, *options = words.split()
        if shutil.which(program):
            found |= {f"{name}, {words}": through(program, *options, "-c", data=data)
                      for name, data in (("tar", tar), ("cpio", cpio), ("file", letter))}  # fmt: skip
    found["rpm"] = rpm(through("xz", "--format=lzma", "-c", data=cpio))
    found["deb"] = by_bsdtar("ar", {"debian-binary": b"2.0\n", "data.tar.zst": through("zstd", "-q", "-c", data=tar)})
    plain, streamed = zip_with_holes(files), zip_with_holes({"a.txt": letter}, streamed=True)
    harmless = zip_with_holes({"b.txt": TEXT_FILE})
    found |= {
        "zip without directory": without_directory(plain),
        "zip, sizes behind, without directory": without_directory(streamed),
        "zip without sizes": without_sizes(plain),
        "zip, sizes behind": streamed,
        "zip, not in its directory": without_directory(plain) + harmless,
        "zip behind a program": PROGRAM + by_7zz("zip", {"a.txt": letter}, "-mm=LZMA"),
        "zip behind a photo": PHOTO + by_7zz("zip", {"a.txt": letter}, "-mm=LZMA"),
        "7z behind a program": PROGRAM + found["7z BZip2"],
        "7z behind a photo": PHOTO + found["7z BZip2"],
        "zeros before it, gzip": through("gzip", data=bytes(4096) + letter),
        "cab": cab(small, b"a.gz"),
        "lha": lha(small, b"a.gz"),
    }
    for name, write in (("rar4", rar4), ("rar5", rar5)):
        found[name] = write(small, b"a.gz")
        noise = os.urandom(200_000)
        for front, what in ((PROGRAM, "program"), (PHOTO, "photo"), (TEXT_FILE, "text"), (noise, "noise")):
            found[f"{name} behind a {what}"] = front + found[name]
        for mode in (0, 0o10644, 0o20644, 0o40755, 0o60644, 0o120777, 0o140644):
            found[f"{name} of mode {mode:o}"] = write(small, b"a.gz", mode=mode, system=3 if name == "rar4" else 1)
    inner = ("7z BZip2", "zip LZMA", "tar, lzip", "rar4 of mode 20644", "rar5 behind a photo", "7z ARM64")
    for name in [name for name in inner if name in found]:
        found |= {
            f"{name} in zip": zipped(found[name]),
            f"{name} in stored zip": zipped(found[name], method=zipfile.ZIP_STORED),
            f"{name} in 7z": by_7zz("7z", {"a.bin": found[name]}, "-m0=Deflate"),
            f"{name} in tar.zst": through("zstd", "-q", "-c", data=by_bsdtar("gnutar", {"a": found[name]})),
            f"{name} in rar": rar5(found[name], b"a.bin"),
            f"{name} in zip in cab": cab(zipped(found[name]), b"a.zip"),
        }
    return found


def plain_readings(data: bytes) -> list[bytes]:
    """Return the readings of the bytes that need no unpacking."""
    return [data, data[::-1], binascii.hexlify(data), base64.b64encode(data)]


@pytest.fixture(scope="module")
def archives() -> dict[str, bytes]:
    return samples(VIRUS, LETTER)


# What is damaged, as its end is missing, and what no program reads: kept, not delivered.
NOT_WHOLE = {"zip without directory", "zip, sizes behind, without directory", "zip, not in its directory"}


async def test_clean_archives_pass_unchanged(real_clamd):
    scanner = Scanner(Scan(socket=str(real_clamd.socket), max_signature_days=0), lambda *_, **__: None)
    rules = Rules(ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example"))
    changed = {}
    for name, data in samples(hidden(b"nothing".ljust(68, b"!")), TEXT_FILE).items():
        until = asyncio.get_running_loop().time() + 600
        raw = HEAD + multi(TEXT, part(b64(data), b"application/x; name=a.bin"), part(b64(b"fine")))
        result = await screen(raw, lambda pieces, end=until: scanner.scan(pieces, end), rules)
        if result.content is not raw:
            changed[name] = (result.found.finding, result.keep)
    assert set(changed) <= NOT_WHOLE, changed
    assert set(changed.values()) <= {(Finding.UNCHECKED, True)}


async def test_no_archive_passes(real_clamd, archives):
    scanner = Scanner(Scan(socket=str(real_clamd.socket), max_signature_days=0), lambda *_, **__: None)
    rules = Rules(ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example"))
    wrong, missed = [], 0
    clamd = Clamd(str(real_clamd.socket), 1)
    for name, data in archives.items():
        until = asyncio.get_running_loop().time() + 600
        alone = await clamd.scan((data,), until)
        missed += alone.finding is Finding.CLEAN
        raw = HEAD + multi(TEXT, part(b64(data), b"application/x; name=a.bin"), part(b64(b"fine")))
        result = await screen(raw, lambda pieces, end=until: scanner.scan(pieces, end), rules)
        if result.removed != ("a.bin",) or result.found.finding is not Finding.INFECTED:
            wrong.append(f"{name}: {result.found} (clamd alone: {alone.finding.value})")
    assert wrong == []
    assert missed > 60, "what clamd does not open"


def test_the_infection_is_hidden_in_each(archives):
    clear = [name for name, data in archives.items() if any(EICAR[:40] in reading for reading in plain_readings(data))]
    assert clear == []


# Each look at archives, with a sample that passes without it, since clamd alone does not find the infection.
KINDS = {
    archive.SEVEN_ZIP: "7z BZip2", archive.LZMA: "file, xz --format=lzma", archive.RAR: "rar4",
    archive.ZIP: "zip without directory", "application/x-archive": "deb", "application/x-compress": "file, compress",
    "application/x-lz4": "file, lz4 -q", "application/x-lzip": "file, lzip", "application/x-ms-wim": "wim",
    "application/x-rpm": "rpm", "application/zstd": "file, zstd -q",
}  # fmt: skip
SEARCHES = {
    "offsets": (embedded, lambda _content: iter(()), "rar5 behind a photo"),
    "may_be_in_base64": (embedded, lambda _pieces: False, "7z behind a photo"),
    "ends": (zips, lambda _content: False, "zip behind a photo"),
}


@pytest.mark.parametrize("look", [*KINDS, *SEARCHES])
async def test_each_look_is_needed(real_clamd, archives, monkeypatch, look):
    if look in KINDS:
        name = KINDS[look]
        monkeypatch.setattr(archive, "ARCHIVES", archive.ARCHIVES - {look})
    else:
        module, without, name = SEARCHES[look]
        monkeypatch.setattr(module, look, without)
    if name not in archives:
        pytest.skip(f"no program here writes this: {name}")
    scanner = Scanner(Scan(socket=str(real_clamd.socket), max_signature_days=0, remembered=0), lambda *_, **__: None)
    rules = Rules(ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example"))
    until = asyncio.get_running_loop().time() + 600
    raw = HEAD + multi(TEXT, part(b64(archives[name]), b"application/x; name=a.bin"))
    result = await screen(raw, lambda pieces: scanner.scan(pieces, until), rules)
    assert result.content is raw
