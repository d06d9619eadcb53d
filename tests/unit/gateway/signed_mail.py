# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, DKIM signatures and ARC seals of the tests."""

from __future__ import annotations

import base64
import subprocess
from functools import cache

import dkim

HEADER = b"From: Alice <alice@sender.example>\r\nTo: bob@a.univ.example\r\nSubject: Hello\r\nMessage-ID: <1@x>\r\n"
MESSAGE = HEADER + b"\r\nHello  Bob,\t\r\n\r\nbye. \r\n\r\n"


def key(bits: int = 1024) -> tuple[bytes, str]:
    """Return a private key, and the record with its public key."""
    return _key(bits)


@cache
def _key(bits: int) -> tuple[bytes, str]:
    private = subprocess.run(["openssl", "genrsa", str(bits)], capture_output=True, check=True).stdout
    public = subprocess.run(
        ["openssl", "rsa", "-pubout", "-outform", "DER"], input=private, capture_output=True, check=True
    ).stdout
    return private, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


def txt(text: str) -> str:
    """Return a TXT record as it stands in a zone file: in strings of at most 255 bytes."""
    return " ".join(f'"{text[start : start + 250]}"' for start in range(0, len(text), 250))


def sign(
    message: bytes = MESSAGE, domain: str = "sender.example", selector: str = "s1", bits: int = 1024, **more
) -> bytes:
    """Return a message with a signature on top."""
    more.setdefault("canonicalize", (b"relaxed", b"relaxed"))
    return bytes(dkim.sign(message, selector.encode(), domain.encode(), key(bits)[0], **more)) + message


def seal(message: bytes, domain: str = "list.example", results: str = "dmarc=pass header.from=sender.example") -> bytes:
    """Return a message with an ARC set, by which its sealer reports these results."""
    reported = f"Authentication-Results: {domain}; {results}\r\n".encode() + message
    return b"".join(dkim.arc_sign(reported, b"s1", domain.encode(), key()[0], domain.encode())) + reported
