# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All interpretations of a message, or of a part of one, whose structure mail readers may take in different ways.

An interpretation is a place at which a body may begin, one at which it may end, and a transfer encoding. No field is
trusted: any line that begins with two hyphens may be a delimiter, any line that follows a header may begin a body, and
each body may be in any encoding. What is more than the limits below raises TooComplexError; it is never left out.
"""

from __future__ import annotations

import binascii
import bisect
import re
from collections.abc import Callable, Iterable, Iterator

from mailgate.content import transfer
from mailgate.scan.clamd import AS_MAIL

# Decodings of one message, and their bytes in all, for a message of up to a sixteenth of that and for larger ones.
MAX_DECODINGS = 2000
MAX_BYTES = 128 * 1024 * 1024
MAX_FACTOR = 16
# Boundaries, one inside another, that a body may be inside of.
_MAX_BOUNDARIES = 30
_MAX_DEPTH = 6
_MINIMUM_SIZE = 40
_SHIFTED_SIZE = 32 * 1024

_RUN = re.compile(rb"(?:[A-Za-z0-9+/=]+[ \t]*\r\n[ \t]*)*[A-Za-z0-9+/=]+")
# Encoded letters, which need no encoding, and control characters, which text does not have: this hides something.
LETTERS = re.compile(rb"=(?:[46][1-9A-Fa-f]|[57][0-9Aa])")
# ESC is in ISO-2022-JP.
CONTROL = re.compile(rb"=(?:0[0-8BCEFbcef]|1[0-9ACDEFacdef])")
# As lenient as mail clients, which skip lines that are not uuencoded.
_UU = re.compile(rb"^begin(-base64)?[ \t][^\r\n]*\r\n(.*?)(?:^end|^====|\Z)", re.DOTALL | re.MULTILINE)
_YENC = re.compile(rb"^=ybegin [^\r\n]*\r\n(?:=ypart [^\r\n]*\r\n)?(.*?)^=yend", re.DOTALL | re.MULTILINE)
# What names an encoding, or begins encoded text.
_ANNOUNCED = re.compile(rb"encoding[^\r\n]{0,900}(?:64|quoted|uu)|^begin |^=ybegin ", re.IGNORECASE | re.MULTILINE)
# A field that may announce an encoding: no reader decodes what no field announces. It may be folded or in other forms.
_BASE64 = re.compile(rb"encoding(?:[^\r\n]|\r\n[ \t])*(?:64|=\?|\*)", re.IGNORECASE)
_QUOTED = re.compile(rb"encoding(?:[^\r\n]|\r\n[ \t])*(?:quoted|printable|=\?|\*)", re.IGNORECASE)
NEWLINE = re.compile(rb"\r?\n")
_MIME = re.compile(rb"^(?:content-[a-z-]{2,40}[ \t]*:|begin(?:-base64)?[ \t]|=ybegin )", re.IGNORECASE | re.MULTILINE)
# A line that may be a delimiter, and the text that tells it from delimiters of other boundaries.
_DELIMITER = re.compile(rb"^--([^\r\n]*?)(?:--)?[ \t]*(?:\r\n|\Z)", re.MULTILINE)
# A header, and the first line that some readers take as the end of it: empty, of blanks, or without a colon.
_HEADER = re.compile(
    rb"(?:^[!-9;-~]++[ \t]*:[^\r\n]*(?:\r\n|\Z)(?:[ \t]+[^\r\n \t][^\r\n]*(?:\r\n|\Z))*)+", re.MULTILINE
)
_EMPTY = re.compile(rb"\r\n\r\n")
_BLANK = re.compile(rb"^[ \t]*\r\n", re.MULTILINE)
# Files that are recognized by their first bytes, and that can be without NUL.
FILE = re.compile(
    rb"[ \t\r\n]*(?:\x1f[\x8b\x9d]|BZh|\xfd7zXZ|PK|Rar!|7z\xbc|MZ|MSCF|\xd0\xcf|LZIP|[\x28\x22]\xb5\x2f|..-l[hz])"
)


class TooComplexError(ValueError):
    """There are more interpretations than can be scanned."""


class Budget:
    """What may still be decoded of one message; `take` returns whether these bytes are new."""

    def __init__(self, size: int) -> None:
        self.bytes = max(MAX_BYTES, MAX_FACTOR * size)
        self.seen: set[tuple[int, int]] = set()

    def take(self, data: bytes) -> bool:
        """Return whether this decoding is new; raise TooComplexError if it is beyond the limits."""
        # The hash is keyed for each process: a sender cannot make two decodings have the same one.
        key = (len(data), hash(data))
        if not data or key in self.seen:
            return False
        self.seen.add(key)
        self.bytes -= len(data)
        if len(self.seen) > MAX_DECODINGS or self.bytes < 0:
            raise TooComplexError
        return True


def distinct(decodings: Iterable[Callable[[], Iterator[bytes]]], size: int) -> Iterator[bytes]:
    """Yield each decoding once, of those of a message of `size` bytes; raise TooComplexError beyond the limits."""
    budget = Budget(size)
    for decode in decodings:
        for data in decode():
            if budget.take(data):
                yield data


def all_decodings(raw: bytes) -> Iterator[bytes]:
    """Decode everything in `raw` that may be encoded, and what is encoded in that; raise TooComplexError."""
    return _Sweep(raw).decodings(raw, 0)


def in_text(text: bytes) -> Iterator[bytes]:
    """Decode the uuencode and yEnc blocks of a text."""
    for found in _UU.finditer(text):
        yield from transfer.base64_decodings(found[2]) if found[1] else transfer.uu_decodings(found[2])
    for found in _YENC.finditer(text):
        yield transfer.undo_yenc(found.group(1))


def as_files(body: bytes) -> Iterator[bytes]:
    """Yield a body that is not encoded, if it begins like a file, with line ends as on the wire and as in a file."""
    if found := FILE.match(body):
        for data in (body, body[found.end() - len(found[0].lstrip()) :]):
            yield data
            yield data.replace(b"\r\n", b"\n")


def bodies(raw: bytes) -> Iterator[bytes]:
    """Yield what may be the body of a part: each place where one may begin, with each where it may end."""
    delimiters = [(found.start(), found.end(), found[1]) for found in _DELIMITER.finditer(raw)]
    following = 0
    for start in _starts(raw, [end for _start, end, _text in delimiters]):
        while following < len(delimiters) and delimiters[following][0] < start:
            following += 1
        # A reader that begins here knows the boundary before it; others, inside or around it, may be known or not.
        own = delimiters[following - 1][2] if following else None
        ends: dict[bytes, int] = {}
        for offset, _end, text in delimiters[following:]:
            if text not in ends:
                if len(ends) == _MAX_BOUNDARIES:
                    raise TooComplexError
                ends[text] = offset
            if text == own:
                break
        else:
            ends[b"\r\n"] = len(raw)
        for end in dict.fromkeys(ends.values()):
            # The CRLF before a delimiter is part of it.
            yield raw[start : end - 2 if end < len(raw) else end]


def _starts(raw: bytes, after_delimiters: Iterable[int]) -> Iterator[int]:
    """Yield where a body may begin, in order: after a delimiter, after a header, or at a line that is not a field."""
    found = {0, *after_delimiters}
    edges = sorted(found)
    start = 0
    # An empty line ends a header with invalid lines as well.
    for empty in _EMPTY.finditer(raw):
        begin = max(start, edges[bisect.bisect_right(edges, empty.start()) - 1])
        if _HEADER.search(raw, begin, empty.start() + 2):
            found.add(empty.end())
        start = empty.end()
    for blank in _BLANK.finditer(raw):
        if blank.start() in found:
            found.add(blank.end())
    for header in _HEADER.finditer(raw):
        found.discard(header.start())
        line = _BLANK.match(raw, header.end())
        if line:
            found.add(line.end())
        # A line of blanks is part of the body to some readers.
        if not line or line.group() != b"\r\n":
            found.add(header.end())
    yield from sorted(found)


def _is_mime(data: bytes) -> bool:
    # The search for bytes is many times faster than an expression.
    small = data.lower()
    return any(text in small for text in (b"content-", b"begin")) and _MIME.search(data) is not None


class _Sweep:
    """The decodings of one piece of a message; each text inside is opened once."""

    def __init__(self, raw: bytes) -> None:
        self.opened = {hash(raw)}

    def decodings(self, raw: bytes, depth: int) -> Iterator[bytes]:
        for run in _RUN.finditer(raw):
            if run.end() - run.start() >= _MINIMUM_SIZE:
                yield from self._nested(transfer.base64_decodings(run.group()), depth)
        # What no header announces, with other characters inside and words before it that shift the groups of four.
        letters = transfer.letters(raw) if len(raw) <= _SHIFTED_SIZE else b""
        for shift in range(4) if len(letters) >= _MINIMUM_SIZE else ():
            yield from self._nested([binascii.a2b_base64(transfer.quartets(letters[shift:]))], depth)
        base64 = _BASE64.search(raw) is not None
        quoted = _QUOTED.search(raw) is not None
        if quoted:
            yield from self._nested(transfer.quoted_decodings(raw), depth)
        yield from self._nested(in_text(raw), depth)
        for body in bodies(raw):
            yield from as_files(body)
            if base64 and len(transfer.letters(body)) >= _MINIMUM_SIZE:
                yield from self._nested(transfer.base64_decodings(body), depth)
            if quoted and (LETTERS.search(body) or CONTROL.search(body)):
                yield from self._nested(transfer.quoted_decodings(body), depth)

    def _nested(self, decoded: Iterable[bytes], depth: int) -> Iterator[bytes]:
        """Yield decoded data, and the decodings of what is encoded in it."""
        for data in decoded:
            yield data
            if not _is_mime(data):
                continue
            mail = NEWLINE.sub(b"\r\n", data)
            if hash(mail) in self.opened:
                continue
            self.opened.add(hash(mail))
            if depth >= _MAX_DEPTH:
                if _ANNOUNCED.search(mail):
                    raise TooComplexError
                continue
            yield AS_MAIL + mail
            yield from self.decodings(mail, depth + 1)
