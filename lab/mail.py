# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The letters of the story, made to be changed by anything that is not careful, and what a mailbox may add to them."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field

EICAR_NAME = b"invoice.com"
_BOUNDARY = "=_story"

# The antivirus industry's test file (eicar.org), in two halves so that no scanner stops at this source file.
_EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + rb"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

# Text that careless software spoils: eight bits, dots at line starts, tabs and spaces at line ends, a long line.
_TEXT = "\n".join(
    [
        "Grüße aus der Fakultät. 工学部より。",
        ".a line that begins with a dot",
        "..and one with two",
        ".",
        "trailing spaces   ",
        "\ttab\there\t",
        "x" * 900,
        "",
        "-- ",
        "Stranger",
    ]
)


@dataclass(frozen=True)
class Letter:
    """A message to one recipient, with an infected attachment on demand."""

    recipient: str
    sender: str = "stranger@elsewhere.example"
    infected: bool = False
    message_id: str = field(default_factory=lambda: f"{uuid.uuid4().hex}@outside.example")

    def attachment(self) -> bytes:
        """Return the infected attachment as it stands in the message."""
        return base64.b64encode(_EICAR)

    def lf(self) -> str:
        """Return the message with LF line ends, one character a byte."""
        body = [
            f"--{_BOUNDARY}",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "",
            _TEXT.encode().decode("latin-1"),
            f"--{_BOUNDARY}",
        ]
        if self.infected:
            body += [
                "Content-Type: application/octet-stream",
                f'Content-Disposition: attachment; filename="{EICAR_NAME.decode()}"',
                "Content-Transfer-Encoding: base64",
                "",
                self.attachment().decode(),
                f"--{_BOUNDARY}",
            ]
        body += [
            'Content-Type: text/x-patch; name="fix.patch"',
            "",
            "--- a\n+++ b\n",
            f"--{_BOUNDARY}--",
            "",
        ]
        headers = [
            "Date: Tue, 01 Dec 2026 09:00:00 +0900",
            f"From: Stranger <{self.sender}>",
            f"To: {self.recipient}",
            f"Message-ID: <{self.message_id}>",
            "Subject: a letter\n that is folded",
            "X-Odd:    spaces   kept",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"',
            "",
        ]
        return "\n".join(headers + body)

    def base64(self) -> str:
        """Return the message as it goes over the wire (CRLF), in base64."""
        return base64.b64encode(self.lf().replace("\n", "\r\n").encode("latin-1")).decode()

    def around_attachment(self) -> tuple[bytes, bytes]:
        """Return the bytes before and after the infected part (its headers included), as in a mailbox."""
        text = as_received(self)
        start = text.index(b"Content-Type: application/octet-stream")
        end = text.index(f"--{_BOUNDARY}".encode(), start)
        return text[:start], text[end:]


def as_received(letter: Letter) -> bytes:
    """Return the bytes that a letter must have in its mailbox, below the trace headers."""
    return letter.lf().encode("latin-1")


def without_trace(copy: bytes) -> bytes:
    """Take from a mailbox's copy what delivery adds: Return-Path and Received on top, mbox's empty line at the end."""
    lines = copy.split(b"\n")
    while lines and lines[0].lower().startswith((b"return-path:", b"received:")):
        del lines[0]
        while lines and lines[0].startswith((b" ", b"\t")):
            del lines[0]
    return b"\n".join(lines).removesuffix(b"\n")
