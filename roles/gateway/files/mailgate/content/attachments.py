# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of attachments other than the virus scan: by file name, by real type, and by the files inside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.header import decode_header, make_header
from fnmatch import fnmatchcase

from mailgate.archives import archive
from mailgate.archives.bsdtar import UnpackError
from mailgate.config import Attachments
from mailgate.content.policy import ContentPolicy, strictest_action

_DOUBLE = re.compile(r"\.[a-z][a-z0-9]{1,4}\s*\.\s*([a-z0-9]{1,5})$")
# Bidirectional control characters: they show `gpj.exe` as `exe.jpg`.
_BIDI_CONTROL = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Violation:
    """A kind of content (of config.ATTACHMENT_KINDS), the file that has it, and what was found."""

    kind: str
    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file or 'file without a name'}: {self.what}"


def violations(names: Iterable[str], content: bytes, lists: Attachments, *, wait: bool = True) -> Iterator[Violation]:
    """Yield all violations of a file and of the files inside it, which are named `outer/inner`.

    Args:
        names: All names of the file.
        content: The file.
        lists: The extensions and types to report.
        wait: Whether it may take long.

    Raises:
        archive.MustWaitError: Without `wait`, if it takes longer than a moment.
    """
    bounds = archive.Bounds() if wait else archive.Bounds.inline()
    yield from _check_file([readable(name) for name in names if name], content, lists, bounds, 0)


def strictest_violation(found: Iterable[Violation], policy: ContentPolicy) -> tuple[str, Violation | None]:
    """Return the strictest action of the policy for the violations, and the first of them that calls for it."""
    reasons: dict[str, Violation] = {}
    for violation in found:
        reasons.setdefault(str(getattr(policy, violation.kind)), violation)
    action = strictest_action([*reasons, "allow"])
    return action, reasons.get(action)


def readable(name: str) -> str:
    """Return a file name with its RFC 2047 encoded words decoded."""
    try:
        return str(make_header(decode_header(name)))
    except (ValueError, LookupError):
        return name


def _check_file(
    names: list[str], content: bytes, lists: Attachments, bounds: archive.Bounds, depth: int
) -> Iterator[Violation]:
    for name in dict.fromkeys(names):
        yield from _check_name(name, lists)
    shown = names[0] if names else ""
    kind = archive.real_type(content)
    if any(fnmatchcase(kind, pattern) for pattern in lists.real_types):
        yield Violation("real_type", shown, kind)
    if archive.has_macros(content, kind):
        yield Violation("macro", shown, "document with macros")
    if archive.is_encrypted_document(content, kind):
        yield Violation("encrypted_archive", shown, "encrypted document")
    try:
        for inner, file in archive.files_inside(content, kind, bounds):
            if depth >= archive.MAX_DEPTH:
                raise UnpackError("archives nested too deep")
            yield from _check_file(
                [f"{shown}/{inner}" if inner else _unpacked_name(shown)], file, lists, bounds, depth + 1
            )
    except UnpackError as error:
        yield Violation("encrypted_archive", shown, f"cannot be unpacked ({error})")


def _check_name(name: str, lists: Attachments) -> Iterator[Violation]:
    # Windows drops dots and spaces at the end.
    plain = re.sub(r"[\0-\x1f]", "", name).rstrip(". ").lower()
    extension = plain.rpartition(".")[2] if "." in plain else ""
    listed = extension in lists.extensions
    if listed:
        yield Violation("extension", name, f".{extension}")
    double = _DOUBLE.search(plain)
    if (double and listed) or _BIDI_CONTROL.search(name):
        yield Violation("double_extension", name, "misleading file name")


def _unpacked_name(name: str) -> str:
    """Return the name that a compressed file has when it is unpacked."""
    return re.sub(r"\.(gz|bz2|xz)$", "", re.sub(r"\.(tgz|tbz2?|txz)$", ".tar", name, flags=re.I), flags=re.I)
