# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header field Authentication-Results (RFC 8601): written by the gateway, and removed if it is forged."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from mailgate.authentication.dmarc import Dmarc
from mailgate.authentication.signatures import Signature
from mailgate.message import header_section

_FIELDS = re.compile(
    rb"^authentication-results[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)(?:\r\n|\Z)", re.IGNORECASE | re.MULTILINE
)
_COMMENT = re.compile(rb"\([^()]*\)")
# Of the field without comments: a token or a quoted string.
_IDENTIFIER = re.compile(rb'\s*(?:"([^"]*)"|([^\s;"/]+))')
_VALUE = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
MAX_DEPTH = 10


def field(identifier: str, spf: tuple[str, str, str], signatures: Sequence[Signature], dmarc: Dmarc, arc: str) -> bytes:
    """Return the field.

    Args:
        identifier: The gateway's identifier.
        spf: Result, name of the property, and its value.
        signatures: The DKIM signatures.
        dmarc: The result of DMARC.
        arc: The result of the ARC chain; it has none while DNS fails.
    """
    result, name, value = spf
    lines = [f"spf={result}{_property(f'smtp.{name}', value)}"]
    for each in signatures:
        reason = f' reason="{re.sub(r"[^ !#-[^-~]", "?", each.reason)}"' if each.reason else ""
        properties = _property("header.d", each.domain) + _property("header.s", each.selector)
        lines.append(f"dkim={each.result}{reason}{properties}")
    if not signatures:
        lines.append("dkim=none")
    policy = f" (p={dmarc.policy})" if dmarc.result == "fail" else ""
    lines.append(f"dmarc={dmarc.result}{policy}{_property('header.from', dmarc.domain)}")
    if arc != "temperror":
        lines.append(f"arc={arc}")
    return ";\r\n\t".join([f"Authentication-Results: {identifier}", *lines]).encode("ascii") + b"\r\n"


def _property(name: str, value: str) -> str:
    return f" {name}={value}" if _VALUE.fullmatch(value) else ""


def without_forged(content: bytes, identifiers: Collection[str]) -> bytes:
    """Return a message without fields of this name that have one of the gateway's identifiers (section 5)."""
    if content.startswith(b"\r\n"):
        return content
    end = len(header_section(content))
    # With the end of the last field.
    header = content[: end + 2]
    kept = _FIELDS.sub(lambda match: b"" if _identifier(match[1]) in identifiers else match[0], header)
    return content if len(kept) == len(header) else kept + content[end + 2 :]


def _identifier(value: bytes) -> str:
    """Return the identifier of a field in lower case."""
    for _level in range(MAX_DEPTH):
        shorter = _COMMENT.sub(b"", value)
        if len(shorter) == len(value):
            break
        value = shorter
    match = _IDENTIFIER.match(value)
    return (match[1] or match[2] or b"").decode("utf-8", "replace").strip().lower().removesuffix(".") if match else ""
