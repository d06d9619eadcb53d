# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header field by which a tagged message is marked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import MessageVariant

FIELD = "X-Mailgate-Tag"
_FORGED = re.compile(
    rb"^x-mailgate-tag[ \t]*:[^\r\n]*(?:\r\n|$)(?:[ \t][^\r\n]*(?:\r\n|$))*", re.IGNORECASE | re.MULTILINE
)


def without_forged(content: bytes) -> bytes:
    """Return a message without fields of this name, which only the gateway may add."""
    end = 0 if content.startswith(b"\r\n") else content.find(b"\r\n\r\n")
    # With the end of the last field.
    header = content if end < 0 else content[: end + 2 if end else 0]
    cleaned = _FORGED.sub(b"", header)
    return content if len(cleaned) == len(header) else cleaned + content[len(header) :]


def with_tags(
    variants: Sequence[MessageVariant], recipients: Sequence[Mailbox], tags: Mapping[Mailbox, str]
) -> list[MessageVariant]:
    """Return the variants of a message with a field for those recipients for whom it is tagged."""
    tagged = []
    for variant in variants:
        groups: dict[str, list[Mailbox]] = {}
        for mailbox in variant.of(recipients):
            groups.setdefault(tags.get(mailbox, ""), []).append(mailbox)
        for tag, group in groups.items():
            pieces = [f"{FIELD}: {tag}\r\n".encode(), *variant.pieces] if tag else variant.pieces
            tagged.append(MessageVariant(pieces, variant.recipients if len(groups) == 1 else frozenset(group)))
    return tagged
