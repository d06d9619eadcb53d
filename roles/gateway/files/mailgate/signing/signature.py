# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DKIM signature (RFC 6376): rsa-sha256, relaxed/relaxed, of the bytes that are delivered."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mailgate.authentication.body import Body

# Section 5.4.1. What servers on the way add or change (Received, Return-Path, Bcc) is not signed.
SIGNED = (
    "from", "sender", "reply-to", "subject", "date", "message-id", "to", "cc", "mime-version", "content-type",
    "content-transfer-encoding", "content-id", "content-description", "in-reply-to", "references", "resent-date",
    "resent-from", "resent-sender", "resent-to", "resent-cc", "resent-message-id", "list-id", "list-help",
    "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post", "list-owner", "list-archive",
)  # fmt: skip
# Signed once more than they occur, so that nobody can add another one (section 8.15). If a message has none of the
# second kind, the queue may add one.
_CLOSED, _CLOSED_IF_PRESENT = ("from", "subject"), ("to", "date")
# Lists of addresses. The queue, a sendmail, rewrites some of them: it adds a blank to `a@x,b@x`, and quotes to a name
# with a dot. They are signed in the form only that it leaves unchanged; From must be signed, in any form.
_ADDRESSES = frozenset(
    ("sender", "reply-to", "to", "cc", "resent-from", "resent-sender", "resent-to", "resent-cc")
)  # fmt: skip
_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]++"
_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\x80-\xff-]++@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++"
_ELEMENT = rf'(?:(?:(?:"[^"\\]*+"|{_WORD}(?: {_WORD})*+) ?)?<{_ADDRESS}>|{_ADDRESS})'
_UNCHANGED = re.compile(rf"(?:{_ELEMENT}(?:, {_ELEMENT})*+)?".encode("latin-1"))
_FIELD = re.compile(rb"([!-9;-~]+):([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
_BLANKS = re.compile(rb"[ \t\r\n]+")
_LINE = 70
# A signature of more fields is not valid at some verifiers.
MAX_FIELDS = 200


class Field(NamedTuple):
    """A header field: its name in lower case, and its value with folds."""

    name: str
    value: bytes


class Parts(NamedTuple):
    """A message as it is signed: its header fields from top to bottom, and its body."""

    fields: list[Field]
    body: Body


def parts_of(pieces: Sequence[bytes]) -> Parts | None:
    """Return the parts of a message, None if verifiers may read its header section in different ways.

    Args:
        pieces: The message in pieces that begin at the start of a line; only the last one has a body.
    """
    last = pieces[-1]
    if last.startswith(b"\r\n"):
        end, start = 0, 2
    else:
        found = last.find(b"\r\n\r\n")
        end, start = (found + 2, found + 4) if found >= 0 else (len(last), len(last))
    header = b"".join((*pieces[:-1], last[:end]))
    fields = list(_fields_of(header))
    whole = sum(len(raw) for _field, raw in fields) == len(header)
    return Parts([field for field, _raw in fields], Body(last, start)) if whole and fields else None


def _fields_of(header: bytes) -> Iterator[tuple[Field, bytes]]:
    """Yield the fields up to the first line that is part of none, each with its bytes."""
    position = 0
    while found := _FIELD.match(header, position):
        yield Field(found[1].decode("ascii").lower(), found[2]), found[0]
        position = found.end()


def signed_names(fields: Sequence[Field]) -> list[str]:
    """Return the names for `h=`; each stands for one field of this name, from the lowest to the topmost."""
    changing = {
        field.name for field in fields if field.name in _ADDRESSES and not _UNCHANGED.fullmatch(_one_line(field.value))
    }
    present = [field.name for field in fields if field.name not in changing]
    names: list[str] = []
    for name in SIGNED:
        number = present.count(name)
        if name in _CLOSED or (number and name in _CLOSED_IF_PRESENT):
            number += 1
        names += [name] * number
    return names


def signature_field(
    parts: Parts, sign: Callable[[bytes], bytes], *, domain: str, selector: str, now: int
) -> bytes | None:
    """Return the header field DKIM-Signature, None if it would have too many names.

    Args:
        parts: The message.
        sign: Returns the signature (RSASSA-PKCS1-v1_5 with SHA-256) of some bytes.
        domain: Signing domain, as A-labels.
        selector: Selector of the key.
        now: Seconds since 1970.
    """
    names = signed_names(parts.fields)
    if len(names) > MAX_FIELDS:
        return None
    digest, _size = parts.body.hash("sha256", relaxed=True)
    unsigned = (
        f" v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain};\r\n\ts={selector}; t={now};\r\n\th={_folded_names(names)};"
        f"\r\n\tbh={base64.b64encode(digest).decode()};\r\n\tb="
    ).encode()
    data = b"".join(_relaxed(field) for field in _selected(parts.fields, names))
    # Section 3.7: without the final CRLF.
    data += _relaxed(Field("dkim-signature", unsigned))[:-2]
    value = base64.b64encode(sign(data))
    lines = [value[start : start + _LINE] for start in range(0, len(value), _LINE)]
    return b"DKIM-Signature:" + unsigned + b"\r\n\t ".join(lines) + b"\r\n"


def _selected(fields: Sequence[Field], names: Sequence[str]) -> Iterator[Field]:
    """Yield the field of each name (section 5.4.2); names beyond the last field stand for an empty one."""
    left: dict[str, list[Field]] = {}
    for field in fields:
        left.setdefault(field.name, []).append(field)
    for name in names:
        if left.get(name):
            yield left[name].pop()


def _relaxed(field: Field) -> bytes:
    """Return a field in canonical form (section 3.4.2)."""
    return field.name.encode("ascii") + b":" + _one_line(field.value) + b"\r\n"


def _one_line(value: bytes) -> bytes:
    return _BLANKS.sub(b" ", value).strip(b" ")


def _folded_names(names: Sequence[str]) -> str:
    """Return the value of `h=` in lines of moderate length."""
    lines, line = [], ""
    for name in names:
        if line and len(line) + len(name) > _LINE:
            lines.append(line)
            line = ""
        line += f"{name}:"
    return "\r\n\t ".join([*lines, line]).removesuffix(":")
