# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RAR archives before the scanner: Debian's clamd has no reader for them and calls them clean, whatever is in them.

Their files are taken out as for the policy on attachments and scanned one by one. A RAR that cannot be opened has not
been scanned, and counts as encrypted. RARs are found as parts of a message and in archives of all kinds.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import struct
import zlib
from collections.abc import Generator, Iterable, Iterator
from itertools import islice

from mailgate.archives import archive, rar, tnef
from mailgate.archives.bsdtar import KINDS, RAR, UnpackError
from mailgate.content import mime
from mailgate.content.decodings import sweep
from mailgate.content.policy import ContentPolicy
from mailgate.scan.clamd import AS_MAIL, CLEAN, Finding, ScanCall, Verdict

# An archive and its type.
Found = tuple[bytes, str]

# Smaller ones are looked at right here, larger ones in a thread.
_LOOK_HERE = 64 * 1024
# What one request to clamd holds at most, and what two of the same file have in common.
_SLICE = 16 * 1024 * 1024
_OVERLAP = 64 * 1024
_ZIP_FILE = b"PK\x03\x04"
_RAR_OR_ZIP = (rar.SIGNATURE, _ZIP_FILE)
_BEGINNINGS = (*_RAR_OR_ZIP, b"7z\xbc\xaf", b"MSCF", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", tnef.SIGNATURE)
_HOLDING = KINDS | {archive.TNEF, "application/gzip", "application/x-bzip2", "application/x-xz", "application/x-tar"}
_ENOUGH = 120
# Enough to know a tar by.
_HEAD = 400
_STORED, _DEFLATED, _SIZE_LATER = 0, 8, 8
# More than clamd looks into, which says so.
_MAX_FILES = 20_000


def suspects(raw: bytes, root: mime.Part | None) -> list[mime.Part | None]:
    """The parts of the message `raw` that begin as archives do; None for all of one whose structure is ambiguous.

    To find none, as in nearly all mail, costs next to nothing.
    """
    return [leaf for leaf in root.leaves() if _begins(raw, leaf)] if root else [None]


def archives(raw: bytes, parts: Iterable[mime.Part | None]) -> Iterator[Found]:
    """The archives in those parts; this may take a while."""
    for part in parts:
        for octets in sweep(raw) if part is None else (part.decoded(raw),):
            if kind := kind_of(octets):
                yield octets, kind


def _begins(raw: bytes, leaf: mime.Part) -> bool:
    if leaf.encoding in mime.IDENTITY and leaf.type.startswith("text/"):
        return raw.startswith(_RAR_OR_ZIP, leaf.body, leaf.end)
    head = raw[leaf.body : min(leaf.end, leaf.body + _HEAD)]
    if leaf.encoding == "base64":
        head = head.translate(None, b"\r\n")
        try:
            octets = binascii.a2b_base64(head[: len(head) // 4 * 4])
        except binascii.Error:
            octets = b""
        # What begins otherwise than base64 does is decoded to be sure.
        return not octets or _is_archive(octets)
    if leaf.encoding == "quoted-printable":
        # Text nearly always: spare it the decoding.
        return head.lstrip()[:1] in b"=RP7MB\x1f\xfdx" and _is_archive(mime.unquote(head.lstrip()))
    return leaf.encoding in mime.UUENCODED or _is_archive(head)


def _is_archive(head: bytes) -> bool:
    # An image of a disc begins with nothing at all.
    return head.startswith(_BEGINNINGS) or head[2:4] == b"-l" or head[257:262] == b"ustar" or not head.strip(b"\0 \r\n")


def kind_of(octets: bytes) -> str:
    """The type of an archive that is a RAR or may hold one; empty for all else."""
    if octets.startswith(_ZIP_FILE):
        found = any(begins and _is_archive(begins) for begins in islice(_beginnings(octets), _MAX_FILES))
        return archive.ZIP if found else ""
    kind = archive.real_type(octets)
    return kind if kind in _HOLDING else ""


def _beginnings(zipped: bytes) -> Iterator[bytes]:
    """How the files in a zip begin, by their own headers (APPNOTE.TXT section 4.3.7)."""
    at = zipped.find(_ZIP_FILE)
    while at >= 0 and at + 30 <= len(zipped):
        flags, method = struct.unpack_from("<HH", zipped, at + 6)
        (size,) = struct.unpack_from("<I", zipped, at + 18)
        start = at + 30 + sum(struct.unpack_from("<HH", zipped, at + 26))
        # The size may stand behind the file.
        begins = zipped[start : start + (_ENOUGH if flags & _SIZE_LATER else min(size, _ENOUGH))]
        if method == _DEFLATED:
            with contextlib.suppress(zlib.error):
                begins = zlib.decompressobj(-zlib.MAX_WBITS).decompress(begins, _HEAD)
        if method not in (_STORED, _DEFLATED):
            # One has to see the whole.
            begins = rar.SIGNATURE
        yield begins
        at = zipped.find(_ZIP_FILE, at + len(_ZIP_FILE))


async def scan_all(found: Iterable[Found], scan: ScanCall, policy: ContentPolicy) -> Verdict:
    """What a scan finds in the RARs of these archives that the policy does not deliver; else CLEAN."""
    for one in found:
        verdict = await _scan_inside(one, scan, policy, archive.Bounds(files=_MAX_FILES), 0)
        if policy.on(verdict.finding) != "deliver":
            return verdict
    return CLEAN


async def scan_reading(octets: bytes, scan: ScanCall, policy: ContentPolicy) -> Verdict:
    """The same for `octets`, one way to read a part: a file, or a message behind AS_MAIL."""
    found = _in_reading(octets) if len(octets) <= _LOOK_HERE else await asyncio.to_thread(_in_reading, octets)
    return await scan_all(found, scan, policy)


def _in_reading(octets: bytes) -> list[Found]:
    if not octets.startswith(AS_MAIL):
        return [(octets, kind)] if (kind := kind_of(octets)) else []
    mail = octets[len(AS_MAIL) :]
    try:
        root = mime.walk(mail)
    except mime.AmbiguousError:
        root = None
    return list(archives(mail, suspects(mail, root)))


def _files(found: Found, bounds: archive.Bounds) -> Generator[Found, None, None]:
    with contextlib.closing(archive.files_inside(*found, bounds)) as files:
        for _name, content in files:
            yield content, kind_of(content)


async def _scan_inside(
    found: Found, scan: ScanCall, policy: ContentPolicy, bounds: archive.Bounds, depth: int
) -> Verdict:
    if depth > archive.MAX_DEPTH:
        return Verdict(Finding.ENCRYPTED, "archives nested too deep")
    _octets, kind = found
    files = _files(found, bounds)
    try:
        # One at a time, in a thread, so that no more than one of them is in memory.
        while file := await asyncio.to_thread(next, files, None):
            # Other archives clamd has opened itself.
            verdict = await _scan(file[0], scan, policy) if kind == RAR else CLEAN
            if policy.on(verdict.finding) == "deliver" and file[1]:
                verdict = await _scan_inside(file, scan, policy, bounds, depth + 1)
            if policy.on(verdict.finding) != "deliver":
                return verdict
    except UnpackError as error:
        return Verdict(Finding.ENCRYPTED, f"RAR: {error}") if kind == RAR else CLEAN
    finally:
        # It may still be busy in its thread, when this is cancelled; the program has its own end.
        with contextlib.suppress(ValueError):
            files.close()
    return CLEAN


async def _scan(content: bytes, scan: ScanCall, policy: ContentPolicy) -> Verdict:
    for at in range(0, len(content), _SLICE):
        verdict = await scan((content[max(0, at - _OVERLAP) : at + _SLICE],))
        if policy.on(verdict.finding) != "deliver":
            return verdict
    return CLEAN
