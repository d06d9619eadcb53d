# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message's octets: out of the DATA stream, checked for form, and given its trace header."""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Iterator
from email.utils import formatdate
from functools import lru_cache

from mailgate.reply import Reply

# As expressions: several times as fast as bytes.find for so short a needle.
_END = re.compile(rb"\r\n\.\r\n")
_DOTTED = re.compile(rb"\r\n\.")
# What takes a header apart holds it several times over, so a whole message must not be one.
MAX_HEADER = 1024 * 1024
LARGE, EDGE = 256 * 1024, 64 * 1024
# In the first header section: not behind an empty line.
_MESSAGE_ID = re.compile(rb"\A(?:(?!\r\n)[^\n]*\n)*?message-id[ \t]*:[ \t]*<[^>\r\n]+>", re.IGNORECASE)
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"\n(?<!\r\n)")


class DataDecoder:
    """Collects what follows 354 up to CRLF.CRLF and undoes dot-stuffing (RFC 5321 section 4.5.2).

    No other sequence ends the data, whatever the pieces it arrives in. Beyond `limit` octets the rest is read
    and thrown away.
    """

    def __init__(self, limit: int) -> None:
        # It gives away what it holds without a copy.
        self._content = io.BytesIO()
        self._size = 0
        # The last octets: the end may lie across pieces. At first the line end of DATA itself, so that a dot on the
        # first line is like any other.
        self._tail = b"\r\n"
        self._limit = limit
        self._dotted = False
        self._discarding = False
        self.done = False
        self.too_big = False

    def discard(self) -> None:
        """Keep nothing from now on, but go on looking for the end."""
        self._discarding = True
        self._content = io.BytesIO()

    def feed(self, chunk: bytes) -> bytes:
        """Take octets; returns those after the end of the data, once `done`."""
        tail = self._tail
        edge = tail + chunk[:4]
        found = _END.search(edge)
        end: int | None
        if found:
            end = found.start() + 2 - len(tail)
        else:
            self._dotted = self._dotted or _DOTTED.search(edge) is not None
            end = self._end_in(chunk)
        self.done = end is not None
        size = len(chunk) if end is None else end
        self._tail = chunk[-4:] if len(chunk) >= 4 else (tail + chunk)[-4:]
        self._size += size
        if not self._discarding:
            if self._size > self._limit:
                # With dots undone it may be a few octets less; a sender that close to the limit is over it.
                self.too_big = True
                self.discard()
            elif size == len(chunk):
                self._content.write(chunk)
            elif size >= 0:
                self._content.write(memoryview(chunk)[:size])
            else:
                # The end began in octets that were kept already.
                self._content.truncate(self._size)
        return chunk[size + 3 :] if self.done else b""

    def _end_in(self, chunk: bytes) -> int | None:
        """Where the message ends, its last CRLF included, if the end lies within the chunk."""
        # Lines that begin with a dot are few, so one search serves for both.
        for dot in _dotted_lines(chunk):
            if chunk.startswith(b"\r\n", dot.end()):
                return dot.start() + 2
            self._dotted = True
        return None

    def content(self) -> bytes:
        """The message, once `done`; the decoder is empty afterwards."""
        content = self._content.getvalue()
        self._content = io.BytesIO()
        if content.startswith(b"."):
            content = content[1:]
        return content.replace(b"\r\n.", b"\r\n") if self._dotted else content


def _dotted_lines(octets: bytes) -> Iterator[re.Match[bytes]]:
    """CRLF and a dot, wherever they are."""
    # An attachment has no dots at all, and a single octet is found faster than by any expression.
    first, last = octets.find(b"."), octets.rfind(b".")
    yield from _DOTTED.finditer(octets, max(0, first - 2), octets.rfind(b".", 0, max(0, last)) + 1)
    if last >= 2 and (found := _DOTTED.match(octets, last - 2)):
        yield found


def stuff(piece: bytes) -> bytes:
    """Dot-stuff octets that begin at the start of a line (section 4.5.2); the same object if there is nothing to do."""
    stuffed = piece.replace(b"\r\n.", b"\r\n..") if next(_dotted_lines(piece), None) else piece
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def bare_newlines(content: bytes) -> bool:
    """Whether a CR or LF stands alone."""
    return _BARE_CR.search(content) is not None or _BARE_LF.search(content) is not None


def normalize(content: bytes) -> bytes:
    """Make a bare CR a space and a bare LF a line end."""
    return _BARE_LF.sub(b"\r\n", _BARE_CR.sub(b" ", content))


def has_long_line(content: bytes, limit: int) -> bool:
    """Whether a line, its CRLF included, is longer than `limit` octets."""
    start = 0
    while start + limit < len(content):
        end = content.rfind(b"\n", start, start + limit)
        if end < 0:
            return True
        start = end + 1
    return False


def hops(content: bytes) -> int:
    """Number of Received fields in the header section."""
    end = content.find(b"\r\n\r\n")
    return len(_RECEIVED.findall(content, 0, end if end >= 0 else len(content)))


def header_section(content: bytes) -> memoryview:
    """All before the first empty line."""
    end = content.find(b"\r\n\r\n")
    return memoryview(content)[: len(content) if end < 0 else end]


def fingerprint(content: bytes) -> bytes:
    """Digest by which a message is known again: of all of it, or of its edges and size where that is enough.

    A Message-ID names one version of one message (RFC 5322 section 3.6.4), so that with one in the header section the
    middle of a large message need not be read.
    """
    if len(content) > LARGE and _MESSAGE_ID.search(content, 0, EDGE):
        edges = hashlib.sha256(content[:EDGE])
        edges.update(content[-EDGE:])
        edges.update(len(content).to_bytes(8, "big"))
        return edges.digest()
    return hashlib.sha256(content).digest()


def check_form(content: bytes, *, refuse_bare: bool, max_line: int, max_hops: int) -> Reply | None:
    """Refusal of a message for its form, or None."""
    if b"\0" in content:
        return Reply.of(554, "5.6.0 Message contains NUL")
    if refuse_bare and bare_newlines(content):
        return Reply.of(554, "5.6.0 Message contains CR or LF alone")
    if max_line and has_long_line(content, max_line):
        return Reply.of(554, f"5.6.0 Line longer than {max_line} octets")
    if len(header_section(content)) > MAX_HEADER:
        return Reply.of(554, f"5.6.0 Header section longer than {MAX_HEADER} octets")
    if hops(content) > max_hops:
        return Reply.of(554, "5.4.6 Too many hops: this message is looping")
    return None


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    """Date of a field, made once a second."""
    return formatdate(second, localtime=True)


def received_header(
    *,
    helo: str,
    client: str,
    hostname: str,
    protocol: str,
    message_id: str,
    recipient: str = "",
    now: float | None = None,
) -> bytes:
    """Trace field (section 4.4); `recipient` only when it is the only one, so that nobody learns of the others."""
    literal = f"IPv6:{client}" if ":" in client else client
    only_for = f"\r\n\tfor <{recipient}>" if recipient else ""
    return (
        f"Received: from {helo} ([{literal}])\r\n\tby {hostname} with {protocol} id {message_id}{only_for};"
        f"\r\n\t{_date(int(time.time() if now is None else now))}\r\n"
    ).encode()
