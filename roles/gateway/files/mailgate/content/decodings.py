# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alternative decodings of a message that mail clients may apply but clamd does not; each is scanned separately.

clamd 1.4 opens message/rfc822, if it knows its first field, but no other message/*; some parts of multipart/mixed,
alternative and related, not all of others; no multipart that is itself encoded; no base64 that continues after its
padding; no quoted-printable in very long lines; no yEnc; nothing after the last boundary. It takes the line after a
field that ends in a semicolon as part of that field, and parses some broken structures otherwise than clients do.
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

# Decodings of a message that are scanned one by one; and bytes of the rest, which is scanned in one piece.
MAX_DECODINGS = 40
MAX_REST = 64 * 1024 * 1024

_RUN = re.compile(rb"(?:[A-Za-z0-9+/=]+[ \t]*\r\n[ \t]*)*[A-Za-z0-9+/=]+")
_MINIMUM_SIZE = 40
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_SOFT_BREAK = re.compile(rb"=[ \t]+\r\n")
_HEX = re.compile(rb"=[0-9A-Fa-f]{2}")
# As lenient as mail clients, which skip lines that are not uuencoded.
_UU = re.compile(rb"^begin(-base64)? [0-7]+ [^\r\n]*\r\n(.*?)(?:^end|^====|\Z)", re.DOTALL | re.MULTILINE)
# In uuencode and yEnc.
_BEGIN = b"begin "
# Encoded letters; letters need no encoding, so this hides something.
_LETTERS = re.compile(rb"=(?:[46][1-9A-Fa-f]|[57][0-9Aa])")
_YENC = re.compile(rb"^=ybegin [^\r\n]*\r\n(?:=ypart [^\r\n]*\r\n)?(.*?)^=yend", re.DOTALL | re.MULTILINE)
_DELIMITER = re.compile(rb"^--[^\r\n]{1,72}\r\n", re.MULTILINE)
_MIME = re.compile(rb"^(?:content-|--|begin )", re.IGNORECASE | re.MULTILINE)
# Lines of base64 only, which normal text does not have.
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
# clamd recognizes an enclosed message by its first field: these among others, case-sensitive.
FIRST_FIELDS = tuple(
    name + b": "
    for name in (b"Received", b"From", b"Date", b"Subject", b"To", b"Message-ID", b"Return-Path", b"MIME-Version",
                 b"Content-Type", b"Delivered-To")
)  # fmt: skip
_AFTER_PADDING = re.compile(rb"=\s*[A-Za-z0-9+/]")


class TooComplexError(ValueError):
    """The decodings are too large to hold in memory."""


# Returns the decodings of one place in a message.
SuspiciousPart = Callable[[], Iterator[bytes]]


def decodings(raw: bytes, root: mime.Part | None, depth: int = 0) -> Iterator[bytes]:
    """Yield the alternative decodings of the message `raw`; `root` is None if its structure is ambiguous."""
    for decode in suspicious_parts(raw, root, depth):
        yield from decode()


def suspicious_parts(raw: bytes, root: mime.Part | None, depth: int = 0) -> Iterator[SuspiciousPart]:
    """Yield the places of the message with alternative decodings; decoding one may take long.

    The search itself is cheap, and finds nothing in most messages.
    """
    if root is None:
        yield partial(_bounded_decodings, raw)
        return
    yield from _in_part(raw, root, depth, trusted=True)
    offset = root.body
    gaps = []
    for leaf in root.leaves():
        gaps.append(raw[offset : leaf.start])
        offset = leaf.end
    # Between the parts there are delimiters and headers; anything else is before the first or after the last.
    for gap in [*gaps, raw[offset:]]:
        if len(gap) > _MINIMUM_SIZE and len(rest := _DELIMITER.sub(b"", gap)) > _MINIMUM_SIZE:
            yield partial(_bounded_decodings, rest)


def all_decodings(raw: bytes, depth: int = 0) -> Iterator[bytes]:
    """Decode everything in `raw` that looks encoded."""
    for run in _RUN.finditer(raw):
        if run.end() - run.start() >= _MINIMUM_SIZE:
            for data in mime.base64_decodings(run.group()):
                yield from _nested(data, depth)
    # With other characters inside, and words before it that shift the groups of four.
    letters = _NOT_BASE64.sub(b"", raw)
    for shift in range(4) if len(letters) >= _MINIMUM_SIZE else ():
        yield from _nested(binascii.a2b_base64(letters[shift : shift + (len(letters) - shift) // 4 * 4]), depth)
    if _HEX.search(raw):
        yield from _nested(mime.unquote(raw), depth)
    yield from _in_text(raw)


def _nested(data: bytes, depth: int) -> Iterator[bytes]:
    """Yield decoded data, and the decodings of what is encoded in it."""
    yield data
    if depth < _MAX_DEPTH and _MIME.search(data):
        yield AS_MAIL + data
        yield from all_decodings(data, depth + 1)


def _decoded(raw: bytes, leaf: mime.Part) -> Iterator[bytes]:
    yield leaf.decoded(raw)


def _as_mail(raw: bytes, part: mime.Part) -> Iterator[bytes]:
    yield AS_MAIL + raw[part.start : part.end]


def _message(raw: bytes, leaf: mime.Part, depth: int) -> Iterator[bytes]:
    """Yield the decodings of an enclosed message that clamd does not recognize."""
    inner = leaf.decoded(raw)
    yield AS_MAIL + inner
    if depth < _MAX_DEPTH:
        root: mime.Part | None = None
        with contextlib.suppress(mime.AmbiguousError):
            root = mime.walk(inner)
        yield from decodings(inner, root, depth + 1)


def _in_part(raw: bytes, part: mime.Part, depth: int, *, trusted: bool) -> Iterator[SuspiciousPart]:
    """Yield the suspicious places of a part; `trusted` if clamd opens all parts around it."""
    if not part.children:
        yield from _in_leaf(raw, part, depth, trusted=trusted and part.plain)
    trusted = trusted and part.plain and part.type in _TRUSTED
    for child in part.children:
        if part.type == "message/rfc822" and not raw.startswith(FIRST_FIELDS, child.start):
            yield partial(_as_mail, raw, child)
        yield from _in_part(raw, child, depth, trusted=trusted)


def _in_leaf(raw: bytes, leaf: mime.Part, depth: int, *, trusted: bool) -> Iterator[SuspiciousPart]:
    is_message = leaf.type.startswith("message/")
    report = leaf.type in _PLAIN_MESSAGES and leaf.encoding not in mime.ENCODED
    if is_message and not (report and b"content-" not in raw[leaf.body : leaf.end].lower()):
        yield partial(_message, raw, leaf, depth)
    if leaf.encoding == "base64":
        yield from _in_base64(raw, leaf, trusted=trusted)
        return
    body = raw[leaf.body : leaf.end]
    if leaf.encoding in mime.ENCODED and (
        not trusted or has_long_line(body, _LONG_LINE) or _SOFT_BREAK.search(body) is not None
    ):
        yield partial(_decoded, raw, leaf)
    is_text = leaf.type.startswith("text/") or is_message
    if leaf.encoding not in (*mime.ENCODED, *mime.IDENTITY) or (not is_text and leaf.encoding != "binary"):
        yield partial(_bounded_decodings, body)
    elif leaf.encoding in mime.UUENCODED:
        yield partial(_in_text, body)
    elif leaf.encoding == "quoted-printable" and (_BEGIN in body or _LETTERS.search(body)):
        yield lambda: _in_text(leaf.decoded(raw))
    elif _BEGIN in body:
        yield partial(_in_text, body)
    elif len(body) < _LARGE_TEXT and _CODED_TEXT.search(raw, max(0, leaf.body - 2), leaf.end):
        yield partial(_bounded_decodings, body)


def _in_base64(raw: bytes, leaf: mime.Part, *, trusted: bool) -> Iterator[SuspiciousPart]:
    if raw.find(b" ", leaf.body, leaf.end) >= 0:
        yield partial(_bounded_decodings, raw[leaf.body : leaf.end])
    elif _continues_after_padding(raw, leaf):
        yield lambda: iter(mime.base64_decodings(raw[leaf.body : leaf.end]))
    elif not trusted:
        yield partial(_decoded, raw, leaf)
    if leaf.type.startswith("text/") and leaf.end - leaf.body < _LARGE_TEXT:
        text = leaf.decoded(raw)
        if _BEGIN in text:
            yield partial(_in_text, text)


def _continues_after_padding(raw: bytes, leaf: mime.Part) -> bool:
    padding = raw.find(b"=", leaf.body, leaf.end)
    return padding >= 0 and _AFTER_PADDING.search(raw, padding, leaf.end) is not None


def _in_text(text: bytes) -> Iterator[bytes]:
    """Decode the uuencode and yEnc blocks of a text."""
    for found in _UU.finditer(text):
        yield from mime.base64_decodings(found[2]) if found[1] else (mime.uudecode(found[2]),)
    for found in _YENC.finditer(text):
        yield _undo_yenc(found.group(1))


def _undo_yenc(body: bytes) -> bytes:
    lines = body.replace(b"\r\n..", b"\r\n.").replace(b"\r\n", b"")
    plain = re.sub(rb"=(.)", lambda match: bytes([(match.group(1)[0] - 64) % 256]), lines, flags=re.DOTALL)
    return plain.translate(bytes((byte - 42) % 256 for byte in range(256)))


def _bounded_decodings(raw: bytes) -> Iterator[bytes]:
    """Yield all decodings, those after the first MAX_DECODINGS in one piece; raise TooComplexError over MAX_REST."""
    rest = []
    left = MAX_REST
    for number, data in enumerate(all_decodings(raw)):
        if number < MAX_DECODINGS:
            yield data
            continue
        rest.append(data)
        left -= len(data)
        if left < 0:
            raise TooComplexError
    if rest:
        yield b"\n".join(rest)
