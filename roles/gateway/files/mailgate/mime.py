# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the parts of a message lie in its octets, so that one can be replaced and all others stay as they are."""

from __future__ import annotations

import binascii
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32

MAX_DEPTH = 30

_SINGLE = ("content-type", "content-transfer-encoding", "content-disposition")
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")


class AmbiguousError(ValueError):
    """A structure that readers may take apart in different ways; the message says where."""


@dataclass(frozen=True)
class Part:
    """A part's octets: header from `start`, body from `body`, up to `end` (the CRLF of the delimiter excluded)."""

    start: int
    body: int
    end: int
    type: str
    encoding: str
    filename: str
    children: tuple[Part, ...] = ()

    def leaves(self) -> Iterator[Part]:
        """Parts without parts, in order."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    def decoded(self, raw: bytes) -> bytes:
        """The body without its transfer encoding, as far as it can be undone."""
        body = raw[self.body : self.end]
        if self.encoding == "base64":
            try:
                return binascii.a2b_base64(body)
            except binascii.Error:
                return _lenient_base64(body)
        if self.encoding == "quoted-printable":
            return binascii.a2b_qp(body)
        return body


def walk(raw: bytes) -> Part:
    """The tree of `raw`, a message with CRLF line ends; raises AmbiguousError."""
    return _part(raw, 0, len(raw), 0)


def replace(raw: bytes, replacements: Mapping[Part, bytes]) -> bytes:
    """`raw` with each of the given parts (which must not overlap) replaced by header and body of another."""
    pieces = []
    at = 0
    for part in sorted(replacements, key=lambda part: part.start):
        pieces += [raw[at : part.start], replacements[part]]
        at = part.end
    return b"".join([*pieces, raw[at:]])


def _part(raw: bytes, start: int, end: int, depth: int) -> Part:
    if depth > MAX_DEPTH:
        raise AmbiguousError(f"more than {MAX_DEPTH} parts inside one another")
    body = _body_start(raw, start, end)
    header = _header(raw[start:body])
    kind = header.get_content_type()
    encoding = str(header.get("content-transfer-encoding", "7bit")).strip().lower()
    children: tuple[Part, ...] = ()
    if kind.startswith("multipart/"):
        if encoding not in ("7bit", "8bit", "binary"):
            raise AmbiguousError(f"multipart in {encoding}")
        children = _children(raw, body, end, header, depth)
    elif kind == "message/rfc822" and encoding in ("7bit", "8bit", "binary") and body < end:
        children = (_part(raw, body, end, depth + 1),)
    return Part(start, body, end, kind, encoding, header.get_filename() or "", children)


def _body_start(raw: bytes, start: int, end: int) -> int:
    if raw[start : start + 2] == b"\r\n" and start + 2 <= end:
        return start + 2
    at = raw.find(b"\r\n\r\n", start, end)
    return at + 4 if at >= 0 else end


def _header(octets: bytes) -> Message:
    for line in octets.split(b"\r\n"):
        if line and line[:1] not in b" \t" and not _FIELD.match(line):
            raise AmbiguousError(f"header line {line[:40]!r} is no field")
    header = BytesHeaderParser(policy=compat32).parsebytes(octets)
    for name in _SINGLE:
        if len(header.get_all(name, [])) > 1:
            raise AmbiguousError(f"{name} given twice")
    return header


def _children(raw: bytes, body: int, end: int, header: Message, depth: int) -> tuple[Part, ...]:
    boundary = header.get_boundary()
    if not boundary or not boundary.isascii() or body >= end:
        raise AmbiguousError("multipart without boundary or body")
    # Every body follows a CRLF, so a delimiter on its first line is found as well.
    delimiter = re.compile(rb"\r\n--" + re.escape(boundary.encode("ascii")) + rb"(--)?[ \t]*(?=\r\n|\Z)")
    found = list(delimiter.finditer(raw, max(0, body - 2), end))
    if len(found) < 2 or not found[-1].group(1) or any(match.group(1) for match in found[:-1]):
        raise AmbiguousError(f"multipart whose boundary {boundary[:70]!r} does not open and close once")
    parts = []
    for opening, closing in itertools.pairwise(found):
        stop = closing.start()
        parts.append(_part(raw, min(opening.end() + 2, stop), stop, depth + 1))
    return tuple(parts)


def _lenient_base64(body: bytes) -> bytes:
    """What a forgiving reader makes of broken base64: alphabet only, cut to whole quartets."""
    alphabet = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
    return binascii.a2b_base64(alphabet[: len(alphabet) // 4 * 4])
