# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of the scenario, with content that careless software changes, and the fields that delivery adds."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field

EICAR_NAME = b"invoice.com"
_BOUNDARY = "=_scenario"

# The antivirus test file (eicar.org), in two halves so that scanners do not report this source file.
_EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + rb"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

# Text that careless software changes: 8-bit characters, leading dots, trailing tabs and spaces, a long line.
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
    """A message to one recipient, optionally with an infected attachment."""

    recipient: str
    sender: str = "stranger@elsewhere.example"
    infected: bool = False
    message_id: str = field(default_factory=lambda: f"{uuid.uuid4().hex}@outside.example")

    def attachment(self) -> bytes:
        """Return the infected attachment as encoded in the message."""
        return base64.b64encode(_EICAR)

    def lf(self) -> str:
        """Return the message with LF line ends, one character per byte."""
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
                "Content-Type: application/octet-stream",  # language: quoted
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
        """Return the message as sent by SMTP (CRLF), in base64."""
        return base64.b64encode(self.lf().replace("\n", "\r\n").encode("latin-1")).decode()

    def around_attachment(self) -> tuple[bytes, bytes]:
        """Return the bytes before and after the infected part with its headers, as in a mailbox."""
        text = as_received(self)
        start = text.index(b"Content-Type: application/octet-stream")  # language: quoted
        end = text.index(f"--{_BOUNDARY}".encode(), start)
        return text[:start], text[end:]


def as_received(letter: Letter) -> bytes:
    """Return the bytes that a message must have in its mailbox, below the trace fields."""
    return letter.lf().encode("latin-1")


def without_trace(copy: bytes) -> bytes:
    """Remove what delivery adds to a mailbox's copy: Return-Path and Received fields, and mbox's final empty line."""
    lines = copy.split(b"\n")
    while lines and lines[0].lower().startswith((b"return-path:", b"received:")):
        del lines[0]
        while lines and lines[0].startswith((b" ", b"\t")):
            del lines[0]
    return b"\n".join(lines).removesuffix(b"\n")
