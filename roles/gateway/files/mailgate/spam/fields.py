# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Header fields of the spam scan: as SpamAssassin and rspamd write them, so that filters of users know them."""

from __future__ import annotations

import re
import textwrap

from mailgate.message import header_section
from mailgate.spam.rspamd import Score
from mailgate.spam.scanner import NotScanned

# All that filters may look at, of any spam engine; a field with its continuation lines.
_FORGED = re.compile(
    rb"^x-(?:spam|spamd|rspamd)(?:-[!-9;-~]*)?[ \t]*:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*(?:\r\n|\Z)",
    re.IGNORECASE | re.MULTILINE,
)
_SUBJECT = re.compile(rb"^(subject)[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)
_LINE = 70


def without_forged(content: bytes) -> bytes:
    """Return a message without fields by which a sender pretends that it was scanned."""
    if content.startswith(b"\r\n"):
        return content
    end = len(header_section(content))
    # With the end of the last field.
    header = content[: end + 2]
    kept = _FORGED.sub(b"", header)
    return content if len(kept) == len(header) else kept + content[end + 2 :]


def fields(result: Score | NotScanned, threshold: int, *, spam: bool) -> bytes:
    """Return the fields for recipients of a domain.

    Args:
        result: Result of the scan.
        threshold: Score from which the domain has a message marked; 0 for never.
        spam: Whether it is marked.
    """
    if isinstance(result, NotScanned):
        return f"X-Spam-Status: Not scanned, {result.reason}\r\n".encode()
    score = f"{result.score:.2f}"
    status = [f"{'Yes' if spam else 'No'}, score={score}"]
    if threshold:
        status.append(f"required={threshold}")
    lines = [f"X-Spam-Score: {score}", "X-Spam-Status: " + " ".join(status) + _tests(result.symbols)]
    if spam:
        lines = ["X-Spam: Yes", "X-Spam-Flag: YES", *lines]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _tests(symbols: tuple[str, ...]) -> str:
    """Return the names of symbols, folded."""
    return "\r\n\t".join(["", *textwrap.wrap(f"tests={', '.join(symbols) or 'none'}", _LINE)])


def with_subject_tag(content: bytes, tag: str) -> bytes:
    """Return a message whose subject begins with a text in ASCII."""
    end = 0 if content.startswith(b"\r\n") else len(header_section(content))
    found = _SUBJECT.search(content, 0, end)
    text = tag.encode("ascii")
    if not found:
        return b"Subject: " + text + b"\r\n" + content
    rest = content[found.end() :]
    # On a line of its own, so that no line becomes too long; without text on the first line, it has a fold already.
    fold = b"" if rest.startswith(b"\r\n") else b"\r\n "
    return content[: found.start()] + found[1] + b": " + text + fold + rest
