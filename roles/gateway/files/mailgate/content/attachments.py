# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attachment is, apart from viruses: by its names, by its real type, and by what is inside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.header import decode_header, make_header
from fnmatch import fnmatchcase

from mailgate.archives import archive
from mailgate.archives.bsdtar import UnpackError
from mailgate.config import Attachments
from mailgate.content.policy import ContentPolicy, strictest_word

_DOUBLE = re.compile(r"\.[a-z][a-z0-9]{1,4}\s*\.\s*([a-z0-9]{1,5})$")
# Characters that turn the direction of writing show `gpj.exe` as `exe.jpg`.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Violation:
    """A kind of content (of ATTACHMENT_KINDS), the file it is about, and what about it."""

    kind: str
    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file or 'file without a name'}: {self.what}"


def violations(names: Iterable[str], octets: bytes, lists: Attachments, *, wait: bool = True) -> Iterator[Violation]:
    """All there is to say about a file that goes by `names`; the files inside it are named by `outer/inner`.

    Without `wait`, archive.MustWaitError if that takes more than a moment.
    """
    bounds = archive.Bounds() if wait else archive.Bounds.at_once()
    yield from _look([readable(name) for name in names if name], octets, lists, bounds, 0)


def worst(found: Iterable[Violation], policy: ContentPolicy) -> tuple[str, Violation | None]:
    """The strictest action that the policy has for what was found, and on whose account."""
    reasons: dict[str, Violation] = {}
    for violation in found:
        reasons.setdefault(str(getattr(policy, violation.kind)), violation)
    action = strictest_word([*reasons, "allow"])
    return action, reasons.get(action)


def readable(name: str) -> str:
    """A file name that may be written as RFC 2047 encoded words."""
    try:
        return str(make_header(decode_header(name)))
    except (ValueError, LookupError):
        return name


def _look(
    names: list[str], octets: bytes, lists: Attachments, bounds: archive.Bounds, depth: int
) -> Iterator[Violation]:
    for name in dict.fromkeys(names):
        yield from _by_name(name, lists)
    shown = names[0] if names else ""
    kind = archive.real_type(octets)
    if any(fnmatchcase(kind, pattern) for pattern in lists.real_types):
        yield Violation("real_type", shown, kind)
    if archive.has_macros(octets, kind):
        yield Violation("macro", shown, "document with macros")
    if archive.is_encrypted_document(octets, kind):
        yield Violation("encrypted_archive", shown, "encrypted document")
    try:
        for inner, content in archive.files_inside(octets, kind, bounds):
            if depth >= archive.MAX_DEPTH:
                raise UnpackError("archives nested too deep")
            yield from _look([f"{shown}/{inner}" if inner else _unpacked(shown)], content, lists, bounds, depth + 1)
    except UnpackError as error:
        yield Violation("encrypted_archive", shown, f"cannot be looked into ({error})")


def _by_name(name: str, lists: Attachments) -> Iterator[Violation]:
    # Windows drops dots and spaces at the end.
    plain = re.sub(r"[\0-\x1f]", "", name).rstrip(". ").lower()
    extension = plain.rpartition(".")[2] if "." in plain else ""
    listed = extension in lists.extensions
    if listed:
        yield Violation("extension", name, f".{extension}")
    double = _DOUBLE.search(plain)
    if (double and listed) or _TURNING.search(name):
        yield Violation("double_extension", name, "name that hides what it is")


def _unpacked(name: str) -> str:
    """The name that a compressed file has when it is unpacked."""
    return re.sub(r"\.(gz|bz2|xz)$", "", re.sub(r"\.(tgz|tbz2?|txz)$", ".tar", name, flags=re.I), flags=re.I)
