# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RAR archives before the scanner: Debian's clamd has no reader for them and calls them clean, whatever is in them.

Their files are taken out as for the policy on attachments and scanned one by one. What cannot be taken out has not been
scanned, and counts as encrypted. A RAR is found where it is a part of the message, and in zips and RARs.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import Iterator
from itertools import islice

from mailgate import archive, mime, rar
from mailgate.clamd import CLEAN, Finding, ScanCall, Verdict
from mailgate.content_policy import ContentPolicy
from mailgate.readings import sweep
from mailgate.unpack import RAR, UnpackError

# What one request to clamd holds at most, and what two of the same file have in common.
_SLICE = 16 * 1024 * 1024
_OVERLAP = 64 * 1024
_ZIP_FILE = b"PK\x03\x04"
_BEGINNINGS = (rar.SIGNATURE, _ZIP_FILE)
# The same in base64, as far as it depends on them alone.
_IN_BASE64 = (b"UmFyIRoH", b"UEsDB")
_ENOUGH = 120
_STORED, _DEFLATED, _SIZE_LATER = 0, 8, 8
# More than clamd looks into, which says so.
_MAX_FILES = 20_000


def archives(raw: bytes, root: mime.Part | None) -> Iterator[bytes]:
    """The parts of the message `raw` that may hold a RAR; `root` is None if its structure is ambiguous."""
    if root is None:
        yield from filter(kind_of, sweep(raw))
        return
    for leaf in root.leaves():
        if leaf.encoding == "base64":
            found = raw[leaf.body : min(leaf.end, leaf.body + _ENOUGH)].lstrip().startswith(_IN_BASE64)
        else:
            found = leaf.encoding in mime.ENCODED or raw.startswith(_BEGINNINGS, leaf.body, leaf.end)
        if found and kind_of(octets := leaf.decoded(raw)):
            yield octets


def kind_of(octets: bytes) -> str:
    """The type of an archive that is a RAR, or a zip that may hold one; empty for all else."""
    if octets.startswith(rar.SIGNATURE):
        return RAR
    if octets.startswith(_ZIP_FILE) and any(
        begins.startswith(_BEGINNINGS) for begins in islice(_beginnings(octets), _MAX_FILES)
    ):
        return archive.ZIP
    return ""


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
                begins = zlib.decompressobj(-zlib.MAX_WBITS).decompress(begins, len(rar.SIGNATURE))
        if method not in (_STORED, _DEFLATED):
            # One has to see the whole.
            begins = rar.SIGNATURE
        yield begins
        at = zipped.find(_ZIP_FILE, at + len(_ZIP_FILE))


async def scan_inside(
    octets: bytes, scan: ScanCall, policy: ContentPolicy, bounds: archive.Bounds | None = None, depth: int = 0
) -> Verdict:
    """What a scan finds in the RAR archives in `octets` that the policy does not deliver; else CLEAN."""
    kind = kind_of(octets)
    bounds = bounds or archive.Bounds(files=_MAX_FILES)
    files = archive.files_inside(octets, kind, bounds)
    try:
        if depth > archive.MAX_DEPTH:
            raise UnpackError("archives nested too deep")
        # One at a time, in a thread, so that no more than one of them is in memory.
        while file := await asyncio.to_thread(next, files, None):
            content = file[1]
            # clamd has opened the zip itself.
            verdict = await _scan(content, scan, policy) if kind == RAR else CLEAN
            if policy.on(verdict.finding) == "deliver" and kind_of(content):
                verdict = await scan_inside(content, scan, policy, bounds, depth + 1)
            if policy.on(verdict.finding) != "deliver":
                return verdict
    except UnpackError as error:
        return Verdict(Finding.ENCRYPTED, f"RAR: {error}")
    finally:
        with contextlib.suppress(ValueError):
            files.close()
    return CLEAN


async def _scan(content: bytes, scan: ScanCall, policy: ContentPolicy) -> Verdict:
    for at in range(0, len(content), _SLICE):
        verdict = await scan((content[max(0, at - _OVERLAP) : at + _SLICE],))
        if policy.on(verdict.finding) != "deliver":
            return verdict
    return CLEAN
