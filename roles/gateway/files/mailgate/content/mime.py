# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Positions of the parts of a message, so that one can be replaced while all others stay byte for byte the same."""

from __future__ import annotations

import binascii
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.message import Message
from email.policy import compat32
from email.utils import collapse_rfc2231_value
from functools import lru_cache
from typing import NamedTuple

from mailgate.content.file_names import all_names
from mailgate.content.transfer import base64_decodings, unquote, uudecode
from mailgate.smtp.lines import has_long_line

MAX_DEPTH = 30
# Hyphens that are tried one by one, and maximum size in bytes of a header to cache.
_MAX_ATTEMPTS = 100
_CACHED_SIZE = 400

IDENTITY = ("", "7bit", "8bit", "binary")
UUENCODED = ("x-uuencode", "uuencode", "x-uue")
ENCODED = ("base64", "quoted-printable", *UUENCODED)

_SINGLE = ("content-type", "content-transfer-encoding", "content-disposition")
_LINE = re.compile(rb"\Z|[ \t]|[!-9;-~]+[ \t]*:")
_HEADER = re.compile(rb"(?:[ \t][^\r\n]*\r\n)*(?:[!-9;-~]+[ \t]*:(?:[^\r]|\r(?!\n)|\r\n[ \t])*(?:\r\n|\Z))*(?:\r\n)?")
CONTENT_FIELD = re.compile(
    rb"^(content-[!-9;-~]+)[ \t]*:((?:[^\r]|\r(?!\n)|\r\n[ \t])*)(?=\r\n|\Z)", re.IGNORECASE | re.MULTILINE
)
_CHARSET = re.compile(rb"charset\*?\s*=\s*\"?([\w.:+-]+)", re.IGNORECASE)
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*(?=\r\n|\Z)")
_COMMENT = re.compile(r"\([^()]*\)")
# Fields of the one form that all mail clients parse alike: short, nothing behind the value, no parameter in pieces.
_PARAMETERS = (
    rb"(?:;(?: ?|[ \t]?\r\n(?:\t| {1,8}))"
    rb'(?:[a-z0-9._-]+=(?:"[^"\\\r\n]{0,500}"|[^\s;"()\\,\'=?]{1,500})'
    # A file name in a charset, which may be in pieces (RFC 2231): readers differ in the name only.
    rb'|(?:file)?name\*(?:[0-9]{1,2}\*?)?=(?:"[^"\\\r\n]{0,500}"|[^\s;"()\\,]{1,500}))){0,20}'
)
_PLAIN_FIELD = re.compile(
    rb"content-(?:type: ?(?:\r\n[ \t])?[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,80}" + _PARAMETERS +
    rb"|disposition: ?(?:\r\n[ \t])?[a-z]{1,40}" + _PARAMETERS +
    rb"|transfer-encoding: ?(?:7bit|8bit|binary|base64|quoted-printable)"
    rb'|(?!type|disposition|transfer-encoding|encoding)[a-z0-9-]+:[^;"\\]{0,500})',
    re.IGNORECASE,
)  # fmt: skip
_BOUNDARY = re.compile(
    rb'[; \t\n]boundary=(?:"([a-z0-9_\'()+,./:=?!#$%&*~@<>{}|^-]{1,70})"|([a-z0-9_+.-]{1,70}))(?=;|\r\n|\Z)',
    re.IGNORECASE,
)
_PARAMETER = re.compile(rb"[;\s]([a-z0-9._-]+)[*0-9]*=")
# In two forms in the mail of many programs; readers differ in the name only.
_TWO_FORMS = (b"name", b"filename")
_BLANK_LINE = re.compile(rb"\r\n[ \t]+\r\n")
_HIDDEN_FIELD = re.compile(rb"\r\n[ \t]+content-(?:type|transfer-encoding)[ \t]*:[ \t]*[^:\r\n]*\r\n", re.IGNORECASE)
# Of a header line; clamd and some readers cut longer ones.
_MAX_HEADER_LINE = 900
_UU = re.compile(
    rb"^begin(?P<base64>-base64)? [0-7]{3,4} +(?P<name>[^\r\n]+)\r\n"
    rb"(?P<body>(?(base64)(?:[A-Za-z0-9+/=]+\r\n)+?|(?:[ -`]{1,90}\r\n)+?))"
    rb"(?:(?:end|====)[ \t]*(?=\r\n|\Z)|(?![ -`]{1,90}\r\n)|\Z)",
    re.MULTILINE,
)


class AmbiguousError(ValueError):
    """A structure that mail clients may parse in different ways; the message says where."""


class Part(NamedTuple):
    """A part of a message, by its position.

    Attributes:
        start: Offset of the header.
        body: Offset of the body.
        end: Offset of the end, without the CRLF of the delimiter.
        names: All its file names.
        in_text: Whether it is a uuencoded block, which has no header.
        plain: Whether its header, and the lines between its parts, are of the form that all mail clients parse alike.
    """

    start: int
    body: int
    end: int
    type: str
    encoding: str
    names: tuple[str, ...] = ()
    charset: str = "us-ascii"
    children: tuple[Part, ...] = ()
    in_text: bool = False
    plain: bool = True

    @property
    def filename(self) -> str:
        """The file name that mail clients show, or an empty string."""
        return self.names[0] if self.names else ""

    def leaves(self) -> Iterator[Part]:
        """Yield the parts that have no parts, in order."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    def decoded(self, raw: bytes) -> bytes:
        """Return the body without its transfer encoding, as far as it can be decoded."""
        body = raw[self.body : self.end]
        if self.encoding == "base64":
            try:
                return binascii.a2b_base64(body)
            except binascii.Error:
                return base64_decodings(body)[0]
        if self.encoding == "quoted-printable":
            return unquote(body)
        if self.encoding in UUENCODED:
            blocks = [] if self.in_text else uu_blocks(body, 0, len(body))
            return blocks[0].decoded(body) if blocks else uudecode(body)
        return body


def walk(raw: bytes) -> Part:
    """Return the tree of parts of `raw`, a message with CRLF line ends; raise AmbiguousError."""
    return _part(raw, 0, len(raw), 0)


def replace(raw: bytes, replacements: Mapping[Part, bytes]) -> bytes:
    """Return `raw` with each of the given parts, which must not overlap, replaced by another header and body."""
    pieces = []
    offset = 0
    for part in sorted(replacements, key=lambda part: part.start):
        pieces += [raw[offset : part.start], replacements[part]]
        offset = part.end
    return b"".join([*pieces, raw[offset:]])


def uu_blocks(raw: bytes, start: int, end: int, charset: str = "us-ascii") -> list[Part]:
    """Return the blocks of uuencode (or its base64 form) in a text, without the line end after them."""
    return [
        Part(
            *(block.start(), block.start("body"), block.end()),
            type="application/octet-stream",  # language: quoted
            encoding="base64" if block["base64"] else "x-uuencode",
            names=(block["name"].decode("utf-8", "replace"),),
            charset=charset,
            in_text=True,
        )
        for block in _UU.finditer(raw, start, end)
    ]


def broken_signatures(raw: bytes, root: Part, changed: Iterable[Part]) -> list[str]:
    """Return the names of the signatures that become invalid when the given parts change."""
    parts = list(changed)
    kinds = []
    if re.search(rb"^dkim-signature[ \t]*:", raw[root.start : root.body], re.IGNORECASE | re.MULTILINE):
        kinds.append("dkim")
    for part in _all(root):
        if not any(part.start <= inner.start and inner.end <= part.end for inner in parts):
            continue
        if part.type == "multipart/signed":
            kinds.append("pgp" if b"pgp-signature" in raw[part.start : part.body].lower() else "smime")
        elif part.type in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
            kinds.append("smime")
    return list(dict.fromkeys(kinds))


def _all(part: Part) -> Iterator[Part]:
    yield part
    for child in part.children:
        yield from _all(child)


def _part(raw: bytes, start: int, end: int, depth: int) -> Part:
    if depth > MAX_DEPTH:
        raise AmbiguousError(f"parts nested deeper than {MAX_DEPTH}")
    body = _body_start(raw, start, end)
    head = raw[start:body]
    header = _cached_header(head) if depth and len(head) <= _CACHED_SIZE else _header(head)
    children: tuple[Part, ...] = ()
    plain = header.plain
    if header.type.startswith("multipart/"):
        if header.encoding not in IDENTITY:
            raise AmbiguousError(f"multipart in {header.encoding}")
        children, clear = _children(raw, body, end, header.boundary, depth)
        plain = plain and clear
    elif header.type == "message/rfc822" and header.encoding in IDENTITY and body < end:
        children = (_part(raw, body, end, depth + 1),)
    return Part(*(start, body, end, header.type, header.encoding, header.names, header.charset, children), plain=plain)


class _Header(NamedTuple):
    """The fields of a part's header that matter here."""

    type: str
    encoding: str
    boundary: str | None
    names: tuple[str, ...]
    charset: str
    plain: bool = True


def _header(head: bytes) -> _Header:
    found = list(CONTENT_FIELD.finditer(head))
    if not is_plain(head, found):
        return read_header(head, found)._replace(plain=False)
    header = read_plain_header(head, found) or read_header(head, found)
    if header.boundary is not None:
        plain = len(_BOUNDARY.findall(head)) == 1
    else:
        plain = header.encoding in IDENTITY or any(field[1].lower() == b"content-type" for field in found)
    return header if plain else header._replace(plain=False)


def is_plain(head: bytes, found: Sequence[re.Match[bytes]]) -> bool:
    """Return whether a header is short, has fields of the plain form only, and names everything once."""
    if not all(_PLAIN_FIELD.fullmatch(field.group()) for field in found):
        return False
    if has_long_line(head, _MAX_HEADER_LINE) or _BLANK_LINE.search(head) or _HIDDEN_FIELD.search(head):
        return False
    # Some readers take the boundary from any field.
    boundaries = head.lower().count(b"boundary")
    for field in found:
        if field[1].lower() == b"content-type":
            value = field[2].lower()
            names = [name.rstrip(b"*0123456789") for name in _PARAMETER.findall(value) if name not in _TWO_FORMS]
            if len(set(names)) < len(names):
                return False
            boundaries -= value.lstrip().startswith(b"multipart/")
    return boundaries == 0


def read_plain_header(head: bytes, found: Sequence[re.Match[bytes]]) -> _Header | None:
    """Return what `read_header` returns, for fields of plain form, without a full parser; None if it takes one."""
    fields = {field[1].lower(): field[2] for field in found}
    if len(fields) < len(found) or b"name" in head.lower() or not _HEADER.fullmatch(head):
        return None
    kind = fields.get(b"content-type", b"text/plain").partition(b";")[0].strip().lower().decode("ascii")
    encoding = fields.get(b"content-transfer-encoding", b"7bit").strip().lower().decode("ascii")
    boundary = None
    if kind.startswith("multipart/"):
        boundaries = _BOUNDARY.findall(head)
        if len(boundaries) != 1:
            return None
        boundary = (boundaries[0][0] or boundaries[0][1]).decode("ascii", "surrogateescape")
    return _Header(kind, encoding, boundary, (), _charset(head))


def read_header(head: bytes, found: Sequence[re.Match[bytes]]) -> _Header:
    """Return what a full parser reads in a header section with these Content- fields."""
    fields = _fields(head, found)
    kind = fields.get_content_type()
    encoding = _COMMENT.sub("", str(fields.get("content-transfer-encoding", "7bit"))).strip(' \t\r\n";').lower()
    boundary = _boundary(fields) if kind.startswith("multipart/") else None
    names: tuple[str, ...] = ()
    if b"name" in head.lower():
        values = (field[2] for field in found if field[1].lower() in (b"content-type", b"content-disposition"))
        names = tuple(dict.fromkeys((*_names(fields), *all_names(values))))
    return _Header(kind, encoding, boundary, names, _charset(head))


# The header of a text part without a name is the same in most messages.
_cached_header = lru_cache(maxsize=256)(_header)


def _boundary(header: Message) -> str | None:
    try:
        return header.get_boundary()
    except (LookupError, ValueError, TypeError):
        raise AmbiguousError("boundary of content-type cannot be read") from None


def _names(header: Message) -> tuple[str, ...]:
    """Return the file names of Content-Disposition and Content-Type (RFC 2231 decoded), without duplicates."""
    found = []
    for field, parameter in (("content-disposition", "filename"), ("content-type", "name")):
        try:
            value = header.get_param(parameter, None, field)
            found.append(collapse_rfc2231_value(value).strip() if value else "")
        except (LookupError, ValueError, TypeError):
            raise AmbiguousError(f"{parameter} of {field} cannot be read") from None
    return tuple(dict.fromkeys(name for name in found if name))


def _charset(head: bytes) -> str:
    found = _CHARSET.search(head)
    return found.group(1).decode("ascii").lower() if found else "us-ascii"


def _body_start(raw: bytes, start: int, end: int) -> int:
    if raw[start : start + 2] == b"\r\n" and start + 2 <= end:
        return start + 2
    offset = raw.find(b"\r\n\r\n", start, end)
    return offset + 4 if offset >= 0 else end


def _fields(head: bytes, found: Iterable[re.Match[bytes]]) -> Message:
    """Return the content-* fields of a header; raise AmbiguousError if any of its fields is malformed."""
    if not _HEADER.fullmatch(head):
        invalid = next((line for line in head.split(b"\r\n") if not _LINE.match(line)), head)
        raise AmbiguousError(f"invalid header line {invalid[:40]!r}")
    header = Message(policy=compat32)
    for field in found:
        name, value = (text.decode("ascii", "surrogateescape") for text in field.groups())
        if name.lower() in _SINGLE and name in header:
            raise AmbiguousError(f"{name.lower()} given twice")
        header[name] = value.lstrip(" \t")
    return header


def _children(raw: bytes, body: int, end: int, boundary: str | None, depth: int) -> tuple[tuple[Part, ...], bool]:
    """Return the parts, and whether each line that begins like a delimiter is exactly one."""
    if not boundary or not boundary.isascii() or body >= end:
        raise AmbiguousError("multipart without boundary or body")
    found, clear = _delimiters(raw, boundary.encode("ascii"), body, end)
    if len(found) < 2 or not found[-1].group(1) or any(match.group(1) for match in found[:-1]):
        raise AmbiguousError(f"multipart whose boundary {boundary[:70]!r} does not open and close once")
    parts = []
    for opening, closing in itertools.pairwise(found):
        stop = closing.start() - len(boundary) - 4
        parts.append(_part(raw, min(opening.end() + 2, stop), stop, depth + 1))
    return tuple(parts), clear


def _delimiters(raw: bytes, boundary: bytes, body: int, end: int) -> tuple[list[re.Match[bytes]], bool]:
    """Return what follows the boundary in each delimiter line, and whether that is never more than hyphens."""
    line = b"\r\n--" + boundary
    found = []
    clear = True
    # Every body follows a CRLF, so a delimiter on its first line is found as well.
    offset = _find_line(raw, line, max(0, body - 2), end)
    while offset >= 0:
        rest = _AFTER_BOUNDARY.match(raw, offset + len(line), end)
        if rest:
            found.append(rest)
        clear = clear and rest is not None and rest.group() in (b"", b"--")
        offset = _find_line(raw, line, offset + 2, end)
    return found, clear


def _find_line(raw: bytes, line: bytes, start: int, end: int) -> int:
    """Return raw.find(line, start, end), for a line that begins with CRLF and a hyphen."""
    # Base64 has no hyphens, and searching for a single byte is many times faster than for a line.
    for _attempt in range(_MAX_ATTEMPTS):
        hyphen = raw.find(b"-", start + 2, end)
        if hyphen < 0 or raw.startswith(line, hyphen - 2, end):
            return max(hyphen - 2, -1)
        start = hyphen - 1
    return raw.find(line, start, end)
