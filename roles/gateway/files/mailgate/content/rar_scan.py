# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan of RAR archives: Debian's clamd cannot open them and reports them as clean.

Their files are unpacked as for the policy on attachments and scanned one by one. A RAR that cannot be opened has not
been scanned and counts as encrypted. RARs are found as parts of a message and inside archives of all kinds.
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
from mailgate.content.policy import ContentPolicy
from mailgate.content.transfer import unquote
from mailgate.scan.clamd import AS_MAIL, CLEAN, Finding, ScanCall, Verdict

# An archive and its type.
Found = tuple[bytes, str]

# Data up to this size is parsed in the event loop, larger data in a thread.
_INLINE_SIZE = 64 * 1024
# Maximum size of one request to clamd, and overlap of two requests for the same file.
_SLICE = 16 * 1024 * 1024
_OVERLAP = 64 * 1024
_ZIP_FILE = b"PK\x03\x04"
_RAR_OR_ZIP = (rar.SIGNATURE, _ZIP_FILE)
_ARCHIVE_SIGNATURES = (*_RAR_OR_ZIP, b"7z\xbc\xaf", b"MSCF", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", tnef.SIGNATURE)
_MAY_HOLD_RAR = KINDS | {
    archive.TNEF,
    "application/gzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-tar",
}
# Bytes of a compressed file that are enough to decompress its first bytes.
_COMPRESSED_HEAD = 120
# Bytes by which a tar can be recognized.
_HEAD = 400
_STORED, _DEFLATED, _SIZE_LATER = 0, 8, 8
# More than clamd opens; clamd reports that limit itself.
_MAX_FILES = 20_000


def suspects(raw: bytes, root: mime.Part | None) -> list[mime.Part]:
    """Return the parts of the message `raw` that begin like archives, none for an ambiguous message.

    The search is cheap, and finds nothing in most messages. All decodings of an ambiguous message are searched anyway.
    """
    return [leaf for leaf in root.leaves() if _begins(raw, leaf)] if root else []


def archives(raw: bytes, parts: Iterable[mime.Part]) -> Iterator[Found]:
    """Yield the archives in these parts; this may take long."""
    for part in parts:
        data = part.decoded(raw)
        if kind := kind_of(data):
            yield data, kind


def _begins(raw: bytes, leaf: mime.Part) -> bool:
    if leaf.encoding in mime.IDENTITY and leaf.type.startswith("text/"):
        return raw.startswith(_RAR_OR_ZIP, leaf.body, leaf.end)
    head = raw[leaf.body : min(leaf.end, leaf.body + _HEAD)]
    if leaf.encoding == "base64":
        head = head.translate(None, b"\r\n")
        try:
            data = binascii.a2b_base64(head[: len(head) // 4 * 4])
        except binascii.Error:
            data = b""
        # A part that does not begin with valid base64 is decoded to be sure.
        return not data or _is_archive(data)
    if leaf.encoding == "quoted-printable":
        # Nearly always text: avoid decoding it.
        return head.lstrip()[:1] in b"=RP7MB\x1f\xfdx" and _is_archive(unquote(head.lstrip()))
    return leaf.encoding in mime.UUENCODED or _is_archive(head)


def _is_archive(head: bytes) -> bool:
    # A disc image begins with zeros only.
    return (
        head.startswith(_ARCHIVE_SIGNATURES)
        or head[2:4] == b"-l"
        or head[257:262] == b"ustar"
        or not head.strip(b"\0 \r\n")
    )


def kind_of(data: bytes) -> str:
    """Return the type of an archive that is a RAR or may hold one, else an empty string."""
    if data.startswith(_ZIP_FILE):
        found = any(head and _is_archive(head) for head in islice(_heads(data), _MAX_FILES))
        return archive.ZIP if found else ""
    kind = archive.real_type(data)
    return kind if kind in _MAY_HOLD_RAR else ""


def _heads(zipped: bytes) -> Iterator[bytes]:
    """Yield the first bytes of the files in a zip, by their local headers (APPNOTE.TXT section 4.3.7)."""
    offset = zipped.find(_ZIP_FILE)
    while offset >= 0 and offset + 30 <= len(zipped):
        flags, method = struct.unpack_from("<HH", zipped, offset + 6)
        (size,) = struct.unpack_from("<I", zipped, offset + 18)
        start = offset + 30 + sum(struct.unpack_from("<HH", zipped, offset + 26))
        # The size may be recorded after the file.
        head = zipped[start : start + (_COMPRESSED_HEAD if flags & _SIZE_LATER else min(size, _COMPRESSED_HEAD))]
        if method == _DEFLATED:
            with contextlib.suppress(zlib.error):
                head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, _HEAD)
        if method not in (_STORED, _DEFLATED):
            # Its type is unknown until it is unpacked: treat it as a RAR.
            head = rar.SIGNATURE
        yield head
        offset = zipped.find(_ZIP_FILE, offset + len(_ZIP_FILE))


async def scan_all(found: Iterable[Found], scan: ScanCall, policy: ContentPolicy) -> Verdict:
    """Scan the RARs in these archives; return the first verdict that the policy does not deliver, else CLEAN."""
    for item in found:
        verdict = await _scan_inside(item, scan, policy, archive.Bounds(files=_MAX_FILES), 0)
        if policy.action_for(verdict.finding) != "deliver":
            return verdict
    return CLEAN


async def scan_decoding(data: bytes, scan: ScanCall, policy: ContentPolicy) -> Verdict:
    """Scan the RARs in one decoding of a part, a file or a message after AS_MAIL, as `scan_all` does."""
    found = _in_decoding(data) if len(data) <= _INLINE_SIZE else await asyncio.to_thread(_in_decoding, data)
    return await scan_all(found, scan, policy)


def _in_decoding(data: bytes) -> list[Found]:
    if not data.startswith(AS_MAIL):
        return [(data, kind)] if (kind := kind_of(data)) else []
    mail = data[len(AS_MAIL) :]
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
    _content, kind = found
    files = _files(found, bounds)
    try:
        # One at a time, in a thread, so that only one of them is in memory.
        while file := await asyncio.to_thread(next, files, None):
            # clamd itself has opened archives of other kinds.
            verdict = await _scan(file[0], scan, policy) if kind == RAR else CLEAN
            if policy.action_for(verdict.finding) == "deliver" and file[1]:
                verdict = await _scan_inside(file, scan, policy, bounds, depth + 1)
            if policy.action_for(verdict.finding) != "deliver":
                return verdict
    except UnpackError as error:
        return Verdict(Finding.ENCRYPTED, f"RAR: {error}") if kind == RAR else CLEAN
    finally:
        # After a cancellation the generator may still run in its thread; the program has its own time limit.
        with contextlib.suppress(ValueError):
            files.close()
    return CLEAN


async def _scan(content: bytes, scan: ScanCall, policy: ContentPolicy) -> Verdict:
    for offset in range(0, len(content), _SLICE):
        verdict = await scan((content[max(0, offset - _OVERLAP) : offset + _SLICE],))
        if policy.action_for(verdict.finding) != "deliver":
            return verdict
    return CLEAN
