# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan of archives and documents that clamd does not open, or not wholly, and reports as clean.

They are found among the parts of a message by their first bytes, and by the signature of an archive behind something
else. The unpacker opens each, with all archives inside it, and clamd scans the files one by one. What could not be
opened has not been scanned: that is a finding, encrypted or unchecked, and never clean.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence

from mailgate.archives import archive, embedded, frames, zips
from mailgate.archives.unpacker import OWN, NotOpened, Unpacker, UnpackerError
from mailgate.content import mime
from mailgate.content.policy import ContentPolicy
from mailgate.content.transfer import unquote
from mailgate.scan.clamd import AS_MAIL, CLEAN, Finding, ScanCall, ScanError, Verdict
from mailgate.smtp.lines import joined

# Data up to this size is parsed and hashed in the event loop, larger data in a thread.
_INLINE_SIZE = 64 * 1024
# Characters of an encoded part by whose beginning and end most archives are recognized.
_HEAD, _TAIL = 720, 400
# Archives of one message that are opened, and of those the ones that may use all of their processor time.
_MAX_ARCHIVES, _MAX_SLOW = 200, 3
# Of these, archives that are compared with others when all of the message has been decoded.
_MAX_HELD = 16
_PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
# The signature of the end of a zip in base64, at each position in a group of three bytes.
_ZIP_END = (b"UEsFBgAA", b"BLBQYAA", b"QSwUGAA")

# A file of which not all could be opened, and the verdict on it.
Held = tuple[bytes, Verdict]


class Scans:
    """All scans of one message: calling it has clamd scan something; an archive is opened once.

    Args:
        scan: Scan by clamd.
        unpacker: Where archives are opened.
    """

    def __init__(self, scan: ScanCall, unpacker: Unpacker = OWN) -> None:
        self._scan = scan
        self._unpacker = unpacker
        self._known: dict[bytes, list[Verdict]] = {}
        self._slow = 0
        # Archives that were opened entirely.
        self._whole: list[bytes] = []

    async def __call__(self, pieces: Sequence[bytes]) -> Verdict:
        """Scan the concatenation of `pieces`."""
        return await self._scan(pieces)

    async def archives(self, found: Iterable[bytes], policy: ContentPolicy) -> Verdict:
        """Scan what is inside these files; return the first verdict that the policy does not deliver, else CLEAN.

        Raises:
            ScanError: There is no verdict, from clamd or the unpacker.
        """
        for content in found:
            for verdict in await self._inside(content):
                if policy.action_for(verdict.finding) != "deliver":
                    return verdict
        return CLEAN

    async def decoding(self, data: bytes, policy: ContentPolicy) -> Verdict:
        """Scan the archives in one decoding of a part: a file, or a message after AS_MAIL, as `archives` does."""
        return await self.archives(await _found_in(data), policy)

    async def alternative(self, data: bytes, policy: ContentPolicy, held: list[Held]) -> Verdict:
        """Scan a decoding that few readers apply, as `decoding` does, but add what is unchecked in it to `held`.

        Most of these decodings end a file too early or begin it too late, also in clean messages.
        """
        for content in await _found_in(data):
            for verdict in await self._inside(content):
                if verdict.finding is Finding.UNCHECKED and len(held) < _MAX_HELD:
                    held.append((content, verdict))
                elif policy.action_for(verdict.finding) != "deliver":
                    return verdict
        return CLEAN

    def cut(self, held: Iterable[Held], policy: ContentPolicy) -> Verdict:
        """Return the verdict on what `alternative` held: CLEAN if all are beginnings of archives that were opened."""
        for content, verdict in held:
            whole = any(other.startswith(content) for other in self._whole)
            if not whole and policy.action_for(verdict.finding) != "deliver":
                return verdict
        return CLEAN

    async def _inside(self, content: bytes) -> list[Verdict]:
        """Return the verdicts on what is inside a file: one for each finding, and no more after an infection."""
        inline = len(content) <= _INLINE_SIZE
        digest = _digest(content) if inline else await asyncio.to_thread(_digest, content)
        if digest not in self._known:
            if len(self._known) >= _MAX_ARCHIVES or self._slow >= _MAX_SLOW:
                return [Verdict(Finding.UNCHECKED, "too many archives to open")]
            self._known[digest] = await self._look(content)
            if not self._known[digest] and len(self._whole) < _MAX_HELD:
                self._whole.append(content)
        return self._known[digest]

    async def _look(self, content: bytes) -> list[Verdict]:
        verdicts: dict[Finding, Verdict] = {}
        try:
            async with contextlib.aclosing(self._unpacker.inside(content)) as inside:
                async for found in inside:
                    if isinstance(found, NotOpened):
                        verdict = Verdict(Finding(found.kind), found.reason)
                        self._slow += frames.TOO_LONG in found.reason
                    else:
                        verdict = await self._scan((found.content,)) if found.content else CLEAN
                    if verdict.finding is not Finding.CLEAN:
                        verdicts.setdefault(verdict.finding, verdict)
                    if verdict.finding is Finding.INFECTED:
                        break
        except UnpackerError as error:
            raise ScanError(str(error)) from error
        return sorted(verdicts.values(), key=lambda verdict: verdict.finding is not Finding.INFECTED)


async def _found_in(data: bytes) -> list[bytes]:
    return _in_decoding(data) if len(data) <= _INLINE_SIZE else await asyncio.to_thread(_in_decoding, data)


def suspects(raw: bytes, root: mime.Part | None) -> list[mime.Part]:
    """Return the parts of the message `raw` that may hold archives, none for an ambiguous message.

    The search decodes nothing but beginnings, and finds nothing in most messages. All decodings of an ambiguous message
    are searched anyway.
    """
    return [leaf for leaf in root.leaves() if _may_hold(raw, leaf)] if root else []


def archives(raw: bytes, parts: Iterable[mime.Part]) -> Iterator[bytes]:
    """Yield the archives in these parts, decoded; this may take long."""
    for part in parts:
        data = part.decoded(raw)
        if is_archive(data):
            yield data


def is_archive(data: bytes) -> bool:
    """Return whether the unpacker is to look into a file."""
    kind = archive.real_type(data)
    return (
        kind in archive.ARCHIVES
        or kind == archive.OLE
        or zips.ends(data)
        or next(embedded.offsets(data), None) is not None
    )


def _may_hold(raw: bytes, leaf: mime.Part) -> bool:
    head = raw[leaf.body : min(leaf.end, leaf.body + _HEAD)]
    if leaf.encoding == "base64":
        head = _whole_groups(head)
        try:
            data = binascii.a2b_base64(head)
        except binascii.Error:
            # A part that does not begin with valid base64 is decoded to be sure.
            return True
        if not data or data.startswith(_PROGRAMS) or archive.may_begin(data):
            return True
        return _behind_something(raw, leaf)
    if leaf.encoding == "quoted-printable":
        # Nearly always text, which has no such characters.
        body = raw[leaf.body : leaf.end]
        return archive.may_begin(unquote(head.lstrip())) or any(
            code in body for code in (b"=1A", b"=1a", b"\x1a", b"=05=06", b"=BC", b"=bc")
        )
    if leaf.encoding in mime.IDENTITY and leaf.type.startswith("text/"):
        # Without an encoding, only a part without NUL bytes is accepted, which an archive always has.
        return archive.may_begin(head) and not head[:40].isascii()
    return leaf.encoding in mime.UUENCODED or archive.may_begin(head)


def _behind_something(raw: bytes, leaf: mime.Part) -> bool:
    """Return whether a part in base64 may hold an archive that does not begin with its first byte."""
    tail = raw[max(leaf.body, leaf.end - _TAIL) : leaf.end].translate(None, b"\r\n")
    if any(end in tail for end in _ZIP_END):
        return True
    return embedded.may_be_in_base64(joined(raw, leaf.body, leaf.end, embedded.OVERLAP))


def _whole_groups(letters: bytes) -> bytes:
    flat = letters.translate(None, b"\r\n")
    return flat[: len(flat) // 4 * 4]


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _in_decoding(data: bytes) -> list[bytes]:
    if not data.startswith(AS_MAIL):
        return [data] if is_archive(data) else []
    mail = data[len(AS_MAIL) :]
    try:
        root = mime.walk(mail)
    except mime.AmbiguousError:
        root = None
    return list(archives(mail, suspects(mail, root)))
