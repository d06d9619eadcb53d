# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of attachments other than the virus scan: by file name, by real type, and by the files inside."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from email.header import decode_header, make_header
from fnmatch import fnmatchcase

from mailgate.archives import archive
from mailgate.archives.contents import unpacked_name
from mailgate.archives.unpacker import OWN, NotOpened, Unpacker
from mailgate.config import Attachments
from mailgate.content.policy import ContentPolicy, strictest_action

_DOUBLE = re.compile(r"\.[a-z][a-z0-9]{1,4}\s*\.\s*([a-z0-9]{1,5})$")
# Bidirectional control characters: they show `gpj.exe` as `exe.jpg`.
_BIDI_CONTROL = re.compile("[\u202a-\u202e\u2066-\u2069]")

# Files up to this size are checked in the event loop, larger ones in a thread.
_INLINE_SIZE = 64 * 1024


@dataclass(frozen=True)
class Violation:
    """A kind of content (of config.ATTACHMENT_KINDS), the file that has it, and what was found."""

    kind: str
    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file or 'file without a name'}: {self.what}"


async def violations(
    names: Iterable[str], content: bytes, lists: Attachments, unpacker: Unpacker = OWN
) -> AsyncIterator[Violation]:
    """Yield all violations of a file and of the files inside it, which are named `outer/inner`.

    Args:
        names: All names of the file.
        content: The file.
        lists: The extensions and types to report.
        unpacker: Where archives are opened.

    Raises:
        UnpackerError: The unpacker gives no answer.
    """
    own = [readable(name) for name in names if name]
    shown = own[0] if own else ""
    for violation in await _check_file(own, content, lists):
        yield violation
    kind = archive.real_type(content)
    if kind not in archive.ARCHIVES and kind != archive.OLE:
        return
    async for found in unpacker.inside(content, everything=True):
        if isinstance(found, NotOpened):
            yield Violation("encrypted_archive", f"{shown}{found.name}", f"cannot be opened ({found.reason})")
        else:
            name = f"{shown}{found.name}" if found.name else unpacked_name(shown)
            for violation in await _check_file([name] if found.first else [], found.content, lists):
                yield violation


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


async def _check_file(names: list[str], content: bytes, lists: Attachments) -> list[Violation]:
    if len(content) <= _INLINE_SIZE:
        return list(_violations_of(names, content, lists))
    return await asyncio.to_thread(lambda: list(_violations_of(names, content, lists)))


def _violations_of(names: list[str], content: bytes, lists: Attachments) -> Iterator[Violation]:
    for name in dict.fromkeys(names):
        yield from _check_name(name, lists)
    shown = names[0] if names else ""
    kind = archive.real_type(content)
    if any(fnmatchcase(kind, pattern) for pattern in lists.real_types):
        yield Violation("real_type", shown, kind)
    if archive.has_macros(content, kind):
        yield Violation("macro", shown, "document with macros")


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
