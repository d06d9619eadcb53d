# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read new entries of mailboxes (mbox), on the disks of the twin's hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NUMBER = re.compile(rb"^Message-ID: <rehearsal\.(\d+)@", re.MULTILINE | re.IGNORECASE)
REASONS = (
    re.compile(rb"^Diagnostic-Code: *(.+)$", re.MULTILINE | re.IGNORECASE),
    re.compile(rb"^Status: *(5\..+)$", re.MULTILINE | re.IGNORECASE),
)


def message_id(number: int) -> str:
    """Return the Message-ID of a message, without brackets."""
    return f"rehearsal.{number}@rehearsal.example"


@dataclass(frozen=True)
class Entry:
    """A message in a mailbox: its number, and for a notice of non-delivery the reason."""

    number: int
    bounce: str = ""


def classify(text: bytes) -> Entry | None:
    """Return what an entry of a mailbox is; None if it is not of the rehearsal."""
    head, _, body = text.partition(b"\n\n")
    if found := NUMBER.search(head):
        return Entry(int(found[1]))
    if found := NUMBER.search(body):
        # A notice that delivery is delayed has a status 4.
        if re.search(rb"^Action: *delayed", body, re.MULTILINE | re.IGNORECASE):
            return None
        reasons = [reason[1].decode(errors="replace") for wanted in REASONS if (reason := wanted.search(body))]
        return Entry(int(found[1]), [*reasons, "returned to the sender"][0])
    return None


def entries(text: bytes) -> tuple[list[Entry], int]:
    """Return the complete entries of a text that begins with one, and the length of them."""
    found: list[Entry] = []
    length = 0
    for part in re.split(rb"(?m)^(?=From )", text):
        # An entry ends with an empty line; what comes after the last one is still being written.
        if part and not part.endswith(b"\n\n"):
            break
        length += len(part)
        entry = classify(part)
        if entry:
            found.append(entry)
    return found, length


class Mailbox:
    """One mailbox file, from the place up to which it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0

    def read(self) -> Iterator[Entry]:
        """Yield the new complete entries."""
        try:
            if self.path.stat().st_size <= self.offset:
                return
            with self.path.open("rb") as file:
                file.seek(self.offset)
                text = file.read()
        except FileNotFoundError:
            return
        found, length = entries(text)
        self.offset += length
        yield from found
