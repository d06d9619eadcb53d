# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message's octets: out of the DATA stream, checked for form, and given its trace header."""

from __future__ import annotations

import hashlib
import re
import time
from email.utils import formatdate
from functools import lru_cache

from mailgate.smtp.reply import Reply

# What takes a header apart holds it several times over, so a whole message must not be one.
MAX_HEADER = 1024 * 1024
LARGE, EDGE = 256 * 1024, 64 * 1024
# In the first header section: not behind an empty line.
_MESSAGE_ID = re.compile(rb"\A(?:(?!\r\n)[^\n]*\n)*?message-id[ \t]*:[ \t]*<[^>\r\n]+>", re.IGNORECASE)
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"\n(?<!\r\n)")


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
