# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of a header section, and the addresses in `From` in each way in which mail clients may read them."""

from __future__ import annotations

import re
from functools import cache

from mailgate.message import header_section
from mailgate.smtp.address import MAX_DOMAIN, Mailbox

# Of one field. Longer ones are cut: no sender needs them.
MAX_FIELD_BYTES = 8192
MAX_ADDRESSES = 50
# A quoted string that is not closed goes on to the end.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|<[^<>]*>|\\.|[(),:;<>\\]|[^"<>(),:;\\]+', re.DOTALL)
_COMMENT = re.compile(r"\([^()]*\)")
_BLANKS = re.compile(r"\s+")
_DOMAIN = re.compile(r'[^\s<>()",:;\\@]+')


def values_of(content: bytes, name: str) -> list[bytes]:
    """Return the values of all fields of a name, with their folds; the first is the topmost."""
    header = header_section(content)
    if content.startswith(b"\r\n"):
        return []
    return [match[1] for match in _field(name).finditer(header)]


@cache
def _field(name: str) -> re.Pattern[bytes]:
    pattern = rf"^{re.escape(name)}[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)"
    return re.compile(pattern.encode(), re.IGNORECASE | re.MULTILINE)


def from_mailboxes(content: bytes) -> list[tuple[Mailbox, ...]]:
    """Return the addresses of each `From` field of a message."""
    values = values_of(content, "from")[:MAX_ADDRESSES]
    return [mailboxes_in(value[:MAX_FIELD_BYTES].decode("utf-8", "replace")) for value in values]


def mailboxes_in(value: str) -> tuple[Mailbox, ...]:
    """Return the addresses of an address list (RFC 5322 section 3.4), also of one that is malformed.

    What may be an address is one: of `a@x.example <b@y.example>` it is what stands in angle brackets; without these,
    each word with an at sign.
    """
    found: dict[Mailbox, None] = {}
    text, depth = "", 0
    angles: list[str] = []
    for match in _TOKEN.finditer(value):
        piece = match[0]
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth = max(0, depth - 1)
        elif depth:
            continue
        elif piece in (",", ";"):
            found |= dict.fromkeys(_mailboxes(text, angles))
            text, angles = "", []
        elif piece == ":":
            # Before it: the name of a group.
            text = ""
        elif piece.startswith("<") and len(piece) > 1:
            angles.append(piece[1:-1])
        else:
            text += " " if piece in ("<", ">") else piece
    found |= dict.fromkeys(_mailboxes(text, angles))
    return tuple(found)[:MAX_ADDRESSES]


def _mailboxes(text: str, angles: list[str]) -> list[Mailbox]:
    """Return the addresses of one element of a list: its text outside of angle brackets, and what is in them."""
    candidates = [_BLANKS.sub("", _COMMENT.sub("", each)) for each in angles] if angles else text.split()
    mailboxes = []
    for candidate in candidates:
        local, at, domain = candidate.rpartition("@")
        match = _DOMAIN.match(domain)
        if at and match and (name := domain_name(match[0])):
            # A source route (RFC 5322 section 4.4) is left out.
            mailboxes.append(Mailbox(local.rpartition(":")[2].strip('"'), name))
    return mailboxes


def domain_name(text: str) -> str:
    """Return a domain in lower case, as A-labels and without dots around it; empty if it is none."""
    name = text.strip().lower().strip(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    return name if 0 < len(name) <= MAX_DOMAIN and name.isprintable() else ""
