# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second look at what clamd calls clean: octets that a mail reader may find in a message though clamd does not.

clamd 1.4 opens message/rfc822, if it knows its first field, but no other message/*; some parts of multipart/mixed,
alternative and related, not all of others; no multipart that is itself encoded; no base64 that goes on after its
padding; no quoted-printable in very long lines; no yEnc; nothing behind the last boundary. To it a field that ends in
a semicolon swallows the next, and some broken structures it takes apart otherwise than readers do.
"""

from __future__ import annotations

import binascii
import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial

from mailgate.content import mime
from mailgate.message import has_long_line
from mailgate.scan.clamd import AS_MAIL

# Of one message, at most so many are looked at one by one; the rest in one piece, of so many octets at most.
MAX_READINGS = 40
MAX_REST = 64 * 1024 * 1024

_RUN = re.compile(rb"(?:[A-Za-z0-9+/=]+[ \t]*\r\n[ \t]*)*[A-Za-z0-9+/=]+")
_LEAST = 40
_FOREIGN = re.compile(rb"[^A-Za-z0-9+/]+")
_SOFT_BREAK = re.compile(rb"=[ \t]+\r\n")
_HEX = re.compile(rb"=[0-9A-Fa-f]{2}")
# As lenient as readers are, who skip what is no line of it.
_UU = re.compile(rb"^begin(-base64)? [0-7]+ [^\r\n]*\r\n(.*?)(?:^end|^====|\Z)", re.DOTALL | re.MULTILINE)
# Of uuencode and yEnc.
_BEGIN = b"begin "
# Letters need no encoding; who encodes them hides something.
_LETTERS = re.compile(rb"=(?:[46][1-9A-Fa-f]|[57][0-9Aa])")
_YENC = re.compile(rb"^=ybegin [^\r\n]*\r\n(?:=ypart [^\r\n]*\r\n)?(.*?)^=yend", re.DOTALL | re.MULTILINE)
_DELIMITER = re.compile(rb"^--[^\r\n]{1,72}\r\n", re.MULTILINE)
_MIME = re.compile(rb"^(?:content-|--|begin )", re.IGNORECASE | re.MULTILINE)
# Lines of nothing but base64, as no text has them.
_CODED_TEXT = re.compile(rb"\r\n(?:[A-Za-z0-9+/]{60,}\r\n){2}")
_LARGE_TEXT = 1024 * 1024
_LONG_LINE = 998
_MAX_DEPTH = 3
_TRUSTED = ("multipart/mixed", "multipart/alternative", "multipart/related", "message/rfc822")
_PLAIN_MESSAGES = (
    "message/rfc822",
    "message/delivery-status",
    "message/disposition-notification",
    "message/feedback-report",
)
# A message within the message is one to clamd by its first field: by these among others, and in this case of letters.
FIRST_FIELDS = tuple(
    name + b": "
    for name in (b"Received", b"From", b"Date", b"Subject", b"To", b"Message-ID", b"Return-Path", b"MIME-Version",
                 b"Content-Type", b"Delivered-To")
)  # fmt: skip
_AGAIN = re.compile(rb"=\s*[A-Za-z0-9+/]")


class TooComplexError(ValueError):
    """There is more to read than can be held."""


SuspiciousPart = Callable[[], Iterator[bytes]]


def decodings(raw: bytes, root: mime.Part | None, depth: int = 0) -> Iterator[bytes]:
    """What else to scan of the message `raw`; `root` is None if its structure is ambiguous."""
    for doubt in suspicious_parts(raw, root, depth):
        yield from doubt()


def suspicious_parts(raw: bytes, root: mime.Part | None, depth: int = 0) -> Iterator[SuspiciousPart]:
    """The places of the message that need a second look; taking the octets from one may take a while.

    To find none, as in nearly all mail, costs next to nothing.
    """
    if root is None:
        yield partial(_swept, raw)
        return
    yield from _of_part(raw, root, depth, trusted=True)
    at = root.body
    gaps = []
    for leaf in root.leaves():
        gaps.append(raw[at : leaf.start])
        at = leaf.end
    # Between the parts there are delimiters and headers; what is more than that is before the first or after the last.
    for gap in [*gaps, raw[at:]]:
        if len(gap) > _LEAST and len(rest := _DELIMITER.sub(b"", gap)) > _LEAST:
            yield partial(_swept, rest)


def sweep(raw: bytes, depth: int = 0) -> Iterator[bytes]:
    """Everything in `raw` that looks like encoded octets, decoded."""
    for run in _RUN.finditer(raw):
        if run.end() - run.start() >= _LEAST:
            for octets in mime.base64_decodings(run.group()):
                yield from _deeper(octets, depth)
    # With foreign characters in between, and words before it that shift the groups of four.
    letters = _FOREIGN.sub(b"", raw)
    for shift in range(4) if len(letters) >= _LEAST else ():
        yield from _deeper(binascii.a2b_base64(letters[shift : shift + (len(letters) - shift) // 4 * 4]), depth)
    if _HEX.search(raw):
        yield from _deeper(mime.unquote(raw), depth)
    yield from _in_text(raw)


def _deeper(octets: bytes, depth: int) -> Iterator[bytes]:
    """Decoded octets, and what in turn is encoded in them."""
    yield octets
    if depth < _MAX_DEPTH and _MIME.search(octets):
        yield AS_MAIL + octets
        yield from sweep(octets, depth + 1)


def _swept(raw: bytes) -> Iterator[bytes]:
    return _bounded(sweep(raw))


def _decoded(raw: bytes, leaf: mime.Part) -> Iterator[bytes]:
    yield leaf.decoded(raw)


def _as_mail(raw: bytes, part: mime.Part) -> Iterator[bytes]:
    yield AS_MAIL + raw[part.start : part.end]


def _message(raw: bytes, leaf: mime.Part, depth: int) -> Iterator[bytes]:
    """A message that clamd does not take for one."""
    inner = leaf.decoded(raw)
    yield AS_MAIL + inner
    if depth < _MAX_DEPTH:
        root: mime.Part | None = None
        with contextlib.suppress(mime.AmbiguousError):
            root = mime.walk(inner)
        yield from decodings(inner, root, depth + 1)


def _of_part(raw: bytes, part: mime.Part, depth: int, *, trusted: bool) -> Iterator[SuspiciousPart]:
    if not part.children:
        yield from _of_leaf(raw, part, depth, trusted=trusted and part.plain)
    trusted = trusted and part.plain and part.type in _TRUSTED
    for child in part.children:
        if part.type == "message/rfc822" and not raw.startswith(FIRST_FIELDS, child.start):
            yield partial(_as_mail, raw, child)
        yield from _of_part(raw, child, depth, trusted=trusted)


def _of_leaf(raw: bytes, leaf: mime.Part, depth: int, *, trusted: bool) -> Iterator[SuspiciousPart]:
    is_message = leaf.type.startswith("message/")
    report = leaf.type in _PLAIN_MESSAGES and leaf.encoding not in mime.ENCODED
    if is_message and not (report and b"content-" not in raw[leaf.body : leaf.end].lower()):
        yield partial(_message, raw, leaf, depth)
    if leaf.encoding == "base64":
        yield from _of_base64(raw, leaf, trusted=trusted)
        return
    body = raw[leaf.body : leaf.end]
    if leaf.encoding in mime.ENCODED and (
        not trusted or has_long_line(body, _LONG_LINE) or _SOFT_BREAK.search(body) is not None
    ):
        yield partial(_decoded, raw, leaf)
    is_text = leaf.type.startswith("text/") or is_message
    if leaf.encoding not in (*mime.ENCODED, *mime.IDENTITY) or (not is_text and leaf.encoding != "binary"):
        yield partial(_swept, body)
    elif leaf.encoding in mime.UUENCODED:
        yield partial(_in_text, body)
    elif leaf.encoding == "quoted-printable" and (_BEGIN in body or _LETTERS.search(body)):
        yield lambda: _in_text(leaf.decoded(raw))
    elif _BEGIN in body:
        yield partial(_in_text, body)
    elif len(body) < _LARGE_TEXT and _CODED_TEXT.search(raw, max(0, leaf.body - 2), leaf.end):
        yield partial(_swept, body)


def _of_base64(raw: bytes, leaf: mime.Part, *, trusted: bool) -> Iterator[SuspiciousPart]:
    if raw.find(b" ", leaf.body, leaf.end) >= 0:
        yield partial(_swept, raw[leaf.body : leaf.end])
    elif _goes_on(raw, leaf):
        yield lambda: iter(mime.base64_decodings(raw[leaf.body : leaf.end]))
    elif not trusted:
        yield partial(_decoded, raw, leaf)
    if leaf.type.startswith("text/") and leaf.end - leaf.body < _LARGE_TEXT:
        text = leaf.decoded(raw)
        if _BEGIN in text:
            yield partial(_in_text, text)


def _goes_on(raw: bytes, leaf: mime.Part) -> bool:
    """Whether there is more base64 behind the padding."""
    padding = raw.find(b"=", leaf.body, leaf.end)
    return padding >= 0 and _AGAIN.search(raw, padding, leaf.end) is not None


def _in_text(text: bytes) -> Iterator[bytes]:
    for found in _UU.finditer(text):
        yield from mime.base64_decodings(found[2]) if found[1] else (mime.uudecode(found[2]),)
    for found in _YENC.finditer(text):
        yield _undo_yenc(found.group(1))


def _undo_yenc(body: bytes) -> bytes:
    lines = body.replace(b"\r\n..", b"\r\n.").replace(b"\r\n", b"")
    plain = re.sub(rb"=(.)", lambda match: bytes([(match.group(1)[0] - 64) % 256]), lines, flags=re.DOTALL)
    return plain.translate(bytes((octet - 42) % 256 for octet in range(256)))


def _bounded(found: Iterator[bytes]) -> Iterator[bytes]:
    rest = []
    left = MAX_REST
    for number, octets in enumerate(found):
        if number < MAX_READINGS:
            yield octets
            continue
        rest.append(octets)
        left -= len(octets)
        if left < 0:
            raise TooComplexError
    if rest:
        yield b"\n".join(rest)
