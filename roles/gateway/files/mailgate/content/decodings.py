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
from mailgate.content.readings import CONTROL, FILE, LETTERS, NEWLINE, all_decodings, as_files, in_text
from mailgate.content.transfer import base64_decodings, quoted_decodings
from mailgate.scan.clamd import AS_MAIL
from mailgate.smtp.lines import has_long_line

_MINIMUM_SIZE = 40
_SOFT_BREAK = re.compile(rb"=[ \t]+\r\n")
# In uuencode and yEnc.
_BEGIN = b"begin "
_DELIMITER = re.compile(rb"^--[^\r\n]{1,72}\r\n", re.MULTILINE)
# Lines of base64 only, which normal text does not have.
_CODED_TEXT = re.compile(rb"\r\n(?:[A-Za-z0-9+/]{60,}\r\n){2}")
# A field of a header inside a text, in lower case.
_FIELD = b"content-t"
_FIELD_LINE = re.compile(rb"[ \t>]*content-t(?:ype|ransfer-encoding)[ \t]*:")
_PRINTABLE = bytes(range(32, 127)) + b"\t\r\n"
# Bytes of base64 by which a text is recognized.
_HEAD = 160
_LARGE_TEXT = 1024 * 1024
_LONG_LINE = 998
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
# Charsets in which the letters of ASCII are written in another way.
_NOT_ASCII = ("utf-7", "utf7", "utf-16", "utf16", "utf-32", "utf32", "ucs", "unicode", "cp037", "ibm", "ebcdic", "hz")
# Readers skip any other characters between the padding and what follows it.
_AFTER_PADDING = re.compile(rb"[A-Za-z0-9+/]")


# Returns the decodings of one place in a message.
SuspiciousPart = Callable[[], Iterator[bytes]]


def decodings(raw: bytes, root: mime.Part | None) -> Iterator[bytes]:
    """Yield the alternative decodings of the message `raw`; `root` is None if its structure is ambiguous."""
    for decode in suspicious_parts(raw, root):
        yield from decode()


def suspicious_parts(raw: bytes, root: mime.Part | None) -> Iterator[SuspiciousPart]:
    """Yield the places of the message with alternative decodings; decoding one may take long.

    The search itself is cheap, and finds nothing in most messages.
    """
    if root is None:
        yield partial(all_decodings, raw)
        return
    yield from _in_part(raw, root, trusted=True)
    for gap in _gaps(raw, root):
        if len(gap) > _MINIMUM_SIZE and len(rest := _DELIMITER.sub(b"", gap)) > _MINIMUM_SIZE:
            yield partial(all_decodings, rest)


def _gaps(raw: bytes, part: mime.Part) -> Iterator[bytes]:
    """Yield what is before the first and after the last part of each multipart."""
    if part.children:
        yield raw[part.body : part.children[0].start]
        yield raw[part.children[-1].end : part.end]
    for child in part.children:
        yield from _gaps(raw, child)


def of_leaf(raw: bytes, leaf: mime.Part) -> Iterator[SuspiciousPart]:
    """Yield the decodings of a part without parts, for which the whole message has been found infected."""
    yield from _in_leaf(raw, leaf, trusted=False)
    if not leaf.plain:
        yield partial(all_decodings, raw[leaf.start : leaf.end])


def _decoded(raw: bytes, leaf: mime.Part) -> Iterator[bytes]:
    yield leaf.decoded(raw)


def _as_mail(raw: bytes, part: mime.Part) -> Iterator[bytes]:
    yield AS_MAIL + raw[part.start : part.end]


def _message(raw: bytes, leaf: mime.Part) -> Iterator[bytes]:
    """Yield the decodings of an enclosed message that clamd does not recognize."""
    data = leaf.decoded(raw)
    yield data
    inner = NEWLINE.sub(b"\r\n", data)
    yield AS_MAIL + inner
    yield from all_decodings(inner)


def _in_part(raw: bytes, part: mime.Part, *, trusted: bool, swept: bool = False) -> Iterator[SuspiciousPart]:
    """Yield the suspicious places of a part; `trusted` if clamd opens all parts around it, `swept` if one is decoded.

    A part of whose structure readers may think differently is decoded in all ways, with the parts inside.
    """
    if not (part.plain or swept):
        yield partial(all_decodings, raw[part.start : part.end])
    swept = swept or not part.plain
    trusted = trusted and part.plain
    if not part.children:
        yield from _in_leaf(raw, part, trusted=trusted)
    trusted = trusted and part.type in _TRUSTED
    for child in part.children:
        if part.type == "message/rfc822" and not raw.startswith(FIRST_FIELDS, child.start):
            yield partial(_as_mail, raw, child)
        yield from _in_part(raw, child, trusted=trusted, swept=swept)


def _in_leaf(raw: bytes, leaf: mime.Part, *, trusted: bool) -> Iterator[SuspiciousPart]:
    is_message = leaf.type.startswith("message/")
    report = leaf.type in _PLAIN_MESSAGES and leaf.encoding not in mime.ENCODED
    if is_message and not (report and b"content-" not in raw[leaf.body : leaf.end].lower()):
        yield partial(_message, raw, leaf)
    if leaf.charset.startswith(_NOT_ASCII):
        yield partial(_in_charsets, raw, leaf)
    if leaf.encoding == "base64":
        yield from _in_base64(raw, leaf, trusted=trusted)
        return
    body = raw[leaf.body : leaf.end]
    is_text = leaf.type.startswith("text/") or is_message
    if leaf.encoding == "quoted-printable":
        yield from _in_quoted(raw, leaf, body, trusted=trusted and is_text)
    elif not trusted or (leaf.encoding in mime.UUENCODED and has_long_line(body, _LONG_LINE)):
        yield partial(_decoded, raw, leaf)
    if leaf.encoding not in (*mime.ENCODED, *mime.IDENTITY) or (not is_text and leaf.encoding != "binary"):
        yield partial(all_decodings, raw[leaf.start : leaf.end])
    elif leaf.encoding in mime.UUENCODED:
        yield partial(in_text, body)
        yield from _inside(leaf.decoded(raw))
    elif leaf.encoding == "quoted-printable":
        pass
    elif _BEGIN in body:
        yield partial(in_text, body)
    elif len(body) < _LARGE_TEXT and _CODED_TEXT.search(raw, max(0, leaf.body - 2), leaf.end):
        yield partial(all_decodings, raw[leaf.start : leaf.end])
    if leaf.encoding in mime.IDENTITY and FILE.match(body):
        yield partial(as_files, body)
    if leaf.encoding in mime.IDENTITY and not is_message:
        yield from _inside(body)


def _in_quoted(raw: bytes, leaf: mime.Part, body: bytes, *, trusted: bool) -> Iterator[SuspiciousPart]:
    if not trusted or has_long_line(body, _LONG_LINE) or _SOFT_BREAK.search(body) or CONTROL.search(body):
        yield lambda: iter(quoted_decodings(body))
    letters = LETTERS.search(body)
    if letters or _BEGIN in body:
        yield lambda: in_text(leaf.decoded(raw))
    # Without a decoded letter only a soft break can hide a name.
    if letters or _has_header(body.replace(b"=\r\n", b"")):
        yield from _inside(leaf.decoded(raw))


def _in_base64(raw: bytes, leaf: mime.Part, *, trusted: bool) -> Iterator[SuspiciousPart]:
    if raw.find(b" ", leaf.body, leaf.end) >= 0:
        yield partial(all_decodings, raw[leaf.start : leaf.end])
    elif not trusted or _continues_after_padding(raw, leaf) or _is_url_safe(raw, leaf):
        yield lambda: iter(base64_decodings(raw[leaf.body : leaf.end]))
    if leaf.type.startswith("text/") and leaf.end - leaf.body < _LARGE_TEXT:
        text = leaf.decoded(raw)
        if _BEGIN in text:
            yield partial(in_text, text)
        yield from _inside(text)
    elif not leaf.type.startswith("message/") and _is_text(raw, leaf):
        # Of any type: some readers open all that look like messages.
        yield lambda: (data for decode in _inside(leaf.decoded(raw)) for data in decode())


def _inside(text: bytes) -> Iterator[SuspiciousPart]:
    """Yield the decodings of a text that has the header of a part or a message somewhere: some readers open those."""
    if _has_header(text):
        yield lambda: all_decodings(NEWLINE.sub(b"\r\n", text))


def _has_header(text: bytes) -> bool:
    # The search for bytes is many times faster than an expression; in most texts it finds no field but a tag of HTML.
    small = text.lower()
    found = small.find(_FIELD)
    while found >= 0:
        if _FIELD_LINE.match(small, small.rfind(b"\n", 0, found) + 1):
            return True
        found = small.find(_FIELD, found + 1)
    return False


def _in_charsets(raw: bytes, leaf: mime.Part) -> Iterator[bytes]:
    """Yield a text as mail clients show it, whose characters are not those of ASCII on the wire."""
    data = leaf.decoded(raw)
    # UTF-7 is written in ASCII: anything else is a file.
    if data.isascii() or not leaf.charset.startswith(("utf-7", "utf7", "hz")):
        with contextlib.suppress(LookupError, UnicodeError):
            yield data.decode(leaf.charset, "ignore").encode()


def _is_text(raw: bytes, leaf: mime.Part) -> bool:
    """Return whether the first bytes of a part in base64 are those of a text; few files begin with four letters."""
    for size in (8, _HEAD):
        with contextlib.suppress(binascii.Error):
            if binascii.a2b_base64(raw[leaf.body : min(leaf.end, leaf.body + size)]).translate(None, _PRINTABLE):
                return False
    return True


def _is_url_safe(raw: bytes, leaf: mime.Part) -> bool:
    return any(raw.find(character, leaf.body, leaf.end) >= 0 for character in (b"-", b"_"))


def _continues_after_padding(raw: bytes, leaf: mime.Part) -> bool:
    padding = raw.find(b"=", leaf.body, leaf.end)
    return padding >= 0 and _AFTER_PADDING.search(raw, padding, leaf.end) is not None
