# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the parts of a message lie in its octets, so that one can be replaced and all others stay as they are."""

from __future__ import annotations

import binascii
import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.message import Message
from email.policy import compat32
from email.utils import collapse_rfc2231_value
from functools import lru_cache
from typing import NamedTuple

MAX_DEPTH = 30
# Hyphens that are tried one by one, and octets of a header that is worth remembering.
_MANY = 100
_USUAL_HEADER = 400

IDENTITY = ("", "7bit", "8bit", "binary")
UUENCODED = ("x-uuencode", "uuencode", "x-uue")
ENCODED = ("base64", "quoted-printable", *UUENCODED)

_SINGLE = ("content-type", "content-transfer-encoding", "content-disposition")
_LINE = re.compile(rb"\Z|[ \t]|[!-9;-~]+[ \t]*:")
_HEADER = re.compile(rb"(?:[ \t][^\r\n]*\r\n)*(?:[!-9;-~]+[ \t]*:(?:[^\r]|\r(?!\n)|\r\n[ \t])*(?:\r\n|\Z))*(?:\r\n)?")
_CONTENT = re.compile(
    rb"^(content-[!-9;-~]+)[ \t]*:((?:[^\r]|\r(?!\n)|\r\n[ \t])*)(?=\r\n|\Z)", re.IGNORECASE | re.MULTILINE
)
_CHARSET = re.compile(rb"charset\*?\s*=\s*\"?([\w.:+-]+)", re.IGNORECASE)
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*(?=\r\n|\Z)")
_COMMENT = re.compile(r"\([^()]*\)")
# Fields of the form that every reader takes alike: nothing ends in the middle, and no parameter is in pieces.
_PARAMETERS = rb'(?:[ \t]*;[ \t]*(?:\r\n[ \t]+)?[a-z0-9*._-]+=(?:"[^"\\\r\n]*"|[^\s;"()\\]+))*[ \t]*'
_PLAIN = re.compile(
    rb"content-(?:type:[ \t]*[a-z0-9.+-]+/[a-z0-9.+-]+" + _PARAMETERS + rb"|disposition:[ \t]*[a-z]+" + _PARAMETERS +
    rb"|transfer-encoding:[ \t]*(?:7bit|8bit|binary|base64|quoted-printable)[ \t]*"
    rb'|(?!type|disposition|transfer-encoding)[a-z0-9-]+:[^;"\\]*)',
    re.IGNORECASE,
)  # fmt: skip
_BOUNDARY = re.compile(rb'boundary=(?:"([^"\r\n]*[^" \t\r\n])"|([^\s;"()\\]+))', re.IGNORECASE)
_UU = re.compile(
    rb"^begin(?P<base64>-base64)? [0-7]{3,4} +(?P<name>[^\r\n]+)\r\n"
    rb"(?P<body>(?(base64)(?:[A-Za-z0-9+/=]+\r\n)+?|(?:[ -`]{1,90}\r\n)+?))"
    rb"(?:(?:end|====)[ \t]*(?=\r\n|\Z)|(?![ -`]{1,90}\r\n)|\Z)",
    re.MULTILINE,
)


class AmbiguousError(ValueError):
    """A structure that readers may take apart in different ways; the message says where."""


class Part(NamedTuple):
    """A part's octets: header from `start`, body from `body`, up to `end` (the CRLF of the delimiter excluded).

    `names` are all that it is given; `in_text` marks a block of uuencode, which has no header. `plain`: its header, and
    the lines between its parts, are of the form that all readers take alike.
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
        """The name that readers show, or an empty one."""
        return self.names[0] if self.names else ""

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
                return base64_decodings(body)[0]
        if self.encoding == "quoted-printable":
            return unquote(body)
        if self.encoding in UUENCODED:
            blocks = [] if self.in_text else uu_blocks(body, 0, len(body))
            return blocks[0].decoded(body) if blocks else uudecode(body)
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


def uu_blocks(raw: bytes, start: int, end: int, charset: str = "us-ascii") -> list[Part]:
    """Blocks of uuencode (or its base64 form) in a text, without the line end behind them."""
    return [
        Part(
            *(block.start(), block.start("body"), block.end()),
            type="application/octet-stream",
            encoding="base64" if block["base64"] else "x-uuencode",
            names=(block["name"].decode("utf-8", "replace"),),
            charset=charset,
            in_text=True,
        )
        for block in _UU.finditer(raw, start, end)
    ]


def base64_decodings(body: bytes) -> list[bytes]:
    """What readers make of base64: up to its padding, then on beyond it, and with the padding left out."""
    found = []
    with contextlib.suppress(binascii.Error):
        found.append(binascii.a2b_base64(body))
    runs = [re.sub(rb"[^A-Za-z0-9+/]", b"", run) for run in re.split(rb"=+", body)]
    # The last group may be cut short: three characters hold two octets, two hold one, one holds none.
    whole = [run + b"=" * (-len(run) % 4) if len(run) % 4 != 1 else run[:-1] for run in runs if run]
    for lenient in (b"".join(map(binascii.a2b_base64, whole)), binascii.a2b_base64(_quartets(b"".join(runs)))):
        if lenient not in found:
            found.append(lenient)
    return found or [b""]


def unquote(body: bytes) -> bytes:
    """Quoted-printable undone; spaces at the end of a line are no part of it (RFC 2045 section 6.7)."""
    return binascii.a2b_qp(re.sub(rb"[ \t]+(?=\r\n)", b"", body))


def broken_signatures(raw: bytes, root: Part, changed: Iterable[Part]) -> list[str]:
    """Names of the signatures in the message that no longer hold when the given parts change."""
    parts = list(changed)
    kinds = []
    if re.search(rb"^dkim-signature[ \t]*:", raw[root.start : root.body], re.IGNORECASE | re.MULTILINE):
        kinds.append("dkim")
    for part in _all(root):
        if not any(part.start <= one.start and one.end <= part.end for one in parts):
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


def _quartets(alphabet: bytes) -> bytes:
    return alphabet[: len(alphabet) // 4 * 4]


def uudecode(body: bytes) -> bytes:
    """Lines of uuencode undone, without those that are none."""
    out = []
    for line in body.split(b"\r\n"):
        if not line or line.startswith((b"begin ", b"end")):
            continue
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            # Some encoders pad lines beyond their length.
            length = (((line[0] - 32) & 63) * 4 + 5) // 3
            try:
                out.append(binascii.a2b_uu(line[:length]))
            except binascii.Error:
                continue
    return b"".join(out)


def _part(raw: bytes, start: int, end: int, depth: int) -> Part:
    if depth > MAX_DEPTH:
        raise AmbiguousError(f"more than {MAX_DEPTH} parts inside one another")
    body = _body_start(raw, start, end)
    octets = raw[start:body]
    header = _known_header(octets) if depth and len(octets) <= _USUAL_HEADER else _header(octets)
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
    """What a part's header says of it."""

    type: str
    encoding: str
    boundary: str | None
    names: tuple[str, ...]
    charset: str
    plain: bool = True


def _header(octets: bytes) -> _Header:
    found = list(_CONTENT.finditer(octets))
    if not all(_PLAIN.fullmatch(field.group()) for field in found):
        return _read(octets, found)._replace(plain=False)
    header = _read_plain(octets, found) or _read(octets, found)
    if header.boundary is not None:
        plain = len(_BOUNDARY.findall(octets)) == 1
    else:
        plain = header.encoding in IDENTITY or any(field[1].lower() == b"content-type" for field in found)
    return header if plain else header._replace(plain=False)


def _read_plain(octets: bytes, found: Sequence[re.Match[bytes]]) -> _Header | None:
    """What `_read` makes of fields of plain form, without a parser for all others; None where that takes one."""
    fields = {field[1].lower(): field[2] for field in found}
    if len(fields) < len(found) or b"name" in octets.lower() or not _HEADER.fullmatch(octets):
        return None
    kind = fields.get(b"content-type", b"text/plain").partition(b";")[0].strip().lower().decode("ascii")
    encoding = fields.get(b"content-transfer-encoding", b"7bit").strip().lower().decode("ascii")
    boundary = None
    if kind.startswith("multipart/"):
        boundaries = _BOUNDARY.findall(octets)
        if len(boundaries) != 1:
            return None
        boundary = (boundaries[0][0] or boundaries[0][1]).decode("ascii", "surrogateescape")
    return _Header(kind, encoding, boundary, (), _charset(octets))


def _read(octets: bytes, found: Iterable[re.Match[bytes]]) -> _Header:
    fields = _fields(octets, found)
    kind = fields.get_content_type()
    encoding = _COMMENT.sub("", str(fields.get("content-transfer-encoding", "7bit"))).strip(' \t\r\n";').lower()
    boundary = _boundary(fields) if kind.startswith("multipart/") else None
    names = _names(fields) if b"name" in octets.lower() else ()
    return _Header(kind, encoding, boundary, names, _charset(octets))


# That of a text without a name is the same in most mail.
_known_header = lru_cache(maxsize=256)(_header)


def _boundary(header: Message) -> str | None:
    try:
        return header.get_boundary()
    except (LookupError, ValueError, TypeError):
        raise AmbiguousError("boundary of content-type cannot be read") from None


def _names(header: Message) -> tuple[str, ...]:
    """File names by Content-Disposition and Content-Type (RFC 2231 undone), without doubles."""
    found = []
    for field, parameter in (("content-disposition", "filename"), ("content-type", "name")):
        try:
            value = header.get_param(parameter, None, field)
            found.append(collapse_rfc2231_value(value).strip() if value else "")
        except (LookupError, ValueError, TypeError):
            raise AmbiguousError(f"{parameter} of {field} cannot be read") from None
    return tuple(dict.fromkeys(name for name in found if name))


def _charset(octets: bytes) -> str:
    found = _CHARSET.search(octets)
    return found.group(1).decode("ascii").lower() if found else "us-ascii"


def _body_start(raw: bytes, start: int, end: int) -> int:
    if raw[start : start + 2] == b"\r\n" and start + 2 <= end:
        return start + 2
    at = raw.find(b"\r\n\r\n", start, end)
    return at + 4 if at >= 0 else end


def _fields(octets: bytes, found: Iterable[re.Match[bytes]]) -> Message:
    """The fields of `octets` that say what the part is; all others are only looked at for their form."""
    if not _HEADER.fullmatch(octets):
        wrong = next((line for line in octets.split(b"\r\n") if not _LINE.match(line)), octets)
        raise AmbiguousError(f"header line {wrong[:40]!r} is no field")
    header = Message(policy=compat32)
    for field in found:
        name, value = (text.decode("ascii", "surrogateescape") for text in field.groups())
        if name.lower() in _SINGLE and name in header:
            raise AmbiguousError(f"{name.lower()} given twice")
        header[name] = value.lstrip(" \t")
    return header


def _children(raw: bytes, body: int, end: int, boundary: str | None, depth: int) -> tuple[tuple[Part, ...], bool]:
    """The parts, and whether no line is nearly a delimiter or a delimiter with something behind it."""
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
    """What follows the boundary, of each delimiter line; and whether that is never more than hyphens."""
    line = b"\r\n--" + boundary
    found = []
    clear = True
    # Every body follows a CRLF, so a delimiter on its first line is found as well.
    at = _find_line(raw, line, max(0, body - 2), end)
    while at >= 0:
        rest = _AFTER_BOUNDARY.match(raw, at + len(line), end)
        if rest:
            found.append(rest)
        clear = clear and rest is not None and rest.group() in (b"", b"--")
        at = _find_line(raw, line, at + 2, end)
    return found, clear


def _find_line(raw: bytes, line: bytes, start: int, end: int) -> int:
    """As raw.find(line, start, end), of a line that begins with CRLF and a hyphen."""
    # Base64 has no hyphens, and a single octet is found many times as fast as a line.
    for _attempt in range(_MANY):
        hyphen = raw.find(b"-", start + 2, end)
        if hyphen < 0 or raw.startswith(line, hyphen - 2, end):
            return max(hyphen - 2, -1)
        start = hyphen - 1
    return raw.find(line, start, end)
