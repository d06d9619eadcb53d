# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfer encodings, each decoded in all the ways in which mail readers decode it."""

from __future__ import annotations

import binascii
import contextlib
import re

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FOREIGN = bytes(byte for byte in range(256) if byte not in _ALPHABET)
_PADDING = b"= \t\r\n"
_UU_ALPHABET = bytes(range(32, 97))
_NOT_UU = bytes(byte for byte in range(256) if byte not in _UU_ALPHABET)
# What an invalid character of uuencode is to some: its lowest bits, or zero; others leave it out.
_MASKED = bytes(byte if byte in _UU_ALPHABET else (byte - 32) % 64 + 32 for byte in range(256))
_ZERO = bytes(byte if byte in _UU_ALPHABET else 32 for byte in range(256))
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r\n)")
_NOT_QUOTED = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r\n)")
_TRAILING_BLANKS = re.compile(rb"[ \t]+(?=\r\n)")
_TRAILING_BLANKS_OF_TEXT = re.compile(rb"(?<![= \t])[ \t]+(?=\r\n)")


def base64_decodings(body: bytes) -> list[bytes]:
    """Decode base64 in each way that mail clients do: up to its padding, beyond it, and with the padding left out."""
    text = letters(body)
    found: dict[bytes, None] = {}
    if b"=" in body.rstrip(_PADDING):
        with contextlib.suppress(binascii.Error):
            found[binascii.a2b_base64(body)] = None
        runs = [letters(run) for run in re.split(rb"=+", body)]
        found[b"".join(map(_cut_short, runs))] = None
    else:
        found[_cut_short(text)] = None
    found[binascii.a2b_base64(quartets(text))] = None
    if b"-" in body or b"_" in body:
        # Some accept the alphabet for URLs as well (RFC 4648 section 5).
        found |= dict.fromkeys(base64_decodings(body.translate(_URL_SAFE)))
    return list(found)


def letters(text: bytes) -> bytes:
    """Return the characters of base64 in a text."""
    return text.translate(None, _FOREIGN)


def _cut_short(text: bytes) -> bytes:
    # The last group may be cut short: three characters hold two bytes, two hold one, one holds none.
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4) if len(text) % 4 != 1 else text[:-1])


def quartets(alphabet: bytes) -> bytes:
    """Return the characters of base64 without an incomplete group at the end."""
    return alphabet[: len(alphabet) // 4 * 4]


def unquote(body: bytes) -> bytes:
    """Decode quoted-printable; spaces at the end of a line are not part of it (RFC 2045 section 6.7)."""
    return binascii.a2b_qp(_TRAILING_BLANKS.sub(b"", body))


def quoted_decodings(body: bytes) -> list[bytes]:
    """Decode quoted-printable in each way that mail clients do.

    A line end is CRLF on the wire and LF in a file; blanks at the end of a line are part of it to some; a soft break
    that ends in blanks is none to others.
    """
    forms = {_TRAILING_BLANKS.sub(b"", body): None}
    if _TRAILING_BLANKS.search(body):
        forms[_SOFT_BREAK.sub(b"=", body)] = None
        forms[_TRAILING_BLANKS_OF_TEXT.sub(b"", body)] = None
        forms[body] = None
    if _NOT_QUOTED.search(body):
        # What is not valid after an equals sign is text to some, and the sign left out by others.
        for form in list(forms):
            forms[_NOT_QUOTED.sub(b"=3D", form)] = None
            forms[_NOT_QUOTED.sub(b"", form)] = None
    decoded = [binascii.a2b_qp(form) for form in forms]
    # The line end of a file is decoded like that of a message, but an encoded CR before it stays.
    decoded += [binascii.a2b_qp(form.replace(b"\r\n", b"\n")) for form in forms]
    return list(dict.fromkeys(decoded))


def uudecode(body: bytes) -> bytes:
    """Decode uuencoded lines; skip other lines."""
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


def uu_decodings(body: bytes) -> list[bytes]:
    """Decode uuencoded lines in each way that mail clients do: without invalid lines, or with invalid characters."""
    found = {uudecode(body): None}
    lines = body.split(b"\r\n")
    if any(line.translate(None, _UU_ALPHABET) for line in lines):
        for table in (_MASKED, _ZERO):
            found[uudecode(b"\r\n".join(line.translate(table) for line in lines))] = None
        found[uudecode(b"\r\n".join(line.translate(None, _NOT_UU) for line in lines))] = None
    return list(found)


def undo_yenc(body: bytes) -> bytes:
    """Decode the lines of a yEnc block."""
    lines = body.replace(b"\r\n..", b"\r\n.").replace(b"\r\n", b"")
    plain = re.sub(rb"=(.)", lambda match: bytes([(match.group(1)[0] - 64) % 256]), lines, flags=re.DOTALL)
    return plain.translate(bytes((byte - 42) % 256 for byte in range(256)))
