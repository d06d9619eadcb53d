# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message's octets: out of the DATA stream, checked for form, and given its trace header."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache

from mailgate.reply import Reply

_END = b"\r\n.\r\n"
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"(?<!\r)\n")


class DataDecoder:
    """Collects what follows 354 up to CRLF.CRLF and undoes dot-stuffing (RFC 5321 section 4.5.2).

    No other sequence ends the data, whatever the pieces it arrives in. Beyond `limit` octets the rest is read
    and thrown away.
    """

    def __init__(self, limit: int) -> None:
        # The line end of DATA itself, so that a dot on the first line is like any other.
        self._buffer = bytearray(b"\r\n")
        self._limit = limit
        self._discarding = False
        self.done = False
        self.too_big = False

    def discard(self) -> None:
        """Keep nothing from now on, but go on looking for the end."""
        self._discarding = True
        del self._buffer[:-4]

    def feed(self, chunk: bytes) -> bytes:
        """Take octets; returns those after the end of the data, once `done`."""
        seen = len(self._buffer)
        self._buffer += chunk
        at = self._buffer.find(_END, max(0, seen - 4))
        if at >= 0:
            rest = bytes(self._buffer[at + 5 :])
            del self._buffer[at + 2 :]
            self.done = True
        else:
            rest = b""
        if not self._discarding and len(self._buffer) - 2 > self._limit:
            # With dots undone it may be a few octets less; a sender that close to the limit is over it.
            self.too_big = True
            self._discarding = True
        if self._discarding and not self.done:
            del self._buffer[:-4]
        return rest

    def content(self) -> bytes:
        """The message, once `done`; the decoder is empty afterwards."""
        buffer, self._buffer = self._buffer, bytearray()
        del buffer[: 3 if buffer[2:3] == b"." else 2]
        return bytes(buffer).replace(b"\r\n.", b"\r\n")


def stuff(piece: bytes) -> bytes:
    """Dot-stuff octets that begin at the start of a line (section 4.5.2); the same object if there is nothing to do."""
    stuffed = piece.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def bare_newlines(content: bytes) -> bool:
    """Whether a CR or LF stands alone."""
    pairs = content.count(b"\r\n")
    return content.count(b"\r") != pairs or content.count(b"\n") != pairs


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


def header_section(content: bytes) -> bytes:
    """All before the first empty line."""
    end = content.find(b"\r\n\r\n")
    return content if end < 0 else content[:end]


def check_form(content: bytes, *, refuse_bare: bool, max_line: int, max_hops: int) -> Reply | None:
    """Refusal of a message for its form, or None."""
    if b"\0" in content:
        return Reply.of(554, "5.6.0 Message contains NUL")
    if refuse_bare and bare_newlines(content):
        return Reply.of(554, "5.6.0 Message contains CR or LF alone")
    if max_line and has_long_line(content, max_line):
        return Reply.of(554, f"5.6.0 Line longer than {max_line} octets")
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
