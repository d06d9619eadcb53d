# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of DNS that has a public key (RFC 6376 section 3.6.1): as it must be, and what is wrong with one."""

from __future__ import annotations

import base64
from collections.abc import Sequence

# Of one string of a TXT record (RFC 1035 section 3.3).
_STRING_BYTES = 255


def record_name(domain: str, selector: str) -> str:
    """Return the name of the record, without the final dot."""
    return f"{selector}._domainkey.{domain}"


def record_text(public: bytes) -> str:
    """Return the text of the record for a public key in DER."""
    return f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


def zone_line(domain: str, selector: str, public: bytes) -> str:
    """Return the record as a line of a zone file."""
    text = record_text(public)
    strings = " ".join(f'"{text[start : start + _STRING_BYTES]}"' for start in range(0, len(text), _STRING_BYTES))
    return f"{record_name(domain, selector)}. IN TXT ( {strings} )"


def problem_of(records: Sequence[bytes], public: bytes) -> str:
    """Return why verifiers would not find a public key in these TXT records; empty if they would."""
    keys = [tags for record in records if "p" in (tags := _tags(record))]
    if not keys:
        return "has no key record"
    if len(keys) > 1:
        return "has several key records"
    tags = keys[0]
    if tags["p"] != base64.b64encode(public).decode():
        return "has another key" if tags["p"] else "has a revoked key"
    if tags.get("v", "DKIM1") != "DKIM1" or tags.get("k", "rsa") != "rsa":
        return "is not a record of an RSA key"
    if "sha256" not in tags.get("h", "sha256").split(":") or not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return "does not allow signatures of mail with SHA-256"
    return ""


def _tags(record: bytes) -> dict[str, str]:
    """Return the tags of a record, without the blanks in their values."""
    pairs = (piece.partition("=") for piece in record.decode("utf-8", "replace").split(";"))
    return {name.strip(): "".join(value.split()) for name, equals, value in pairs if equals}
