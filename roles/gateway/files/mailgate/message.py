# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A received message: its data, the checks of its format, and its trace header."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.utils import formatdate
from functools import lru_cache

from mailgate.smtp.address import Mailbox
from mailgate.smtp.lines import lines_of
from mailgate.smtp.reply import Reply

# Parsing a header needs several times its size in memory, so its size is limited.
MAX_HEADER_BYTES = 1024 * 1024
# Until the year 2527.
ID_LENGTH = 17
# How much of a header section is searched for what events have of it, and how much of a field they have.
_SEARCHED_BYTES = 64 * 1024
_FIELD_CHARACTERS = 250
_SUBJECT = re.compile(rb"^subject[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:(?:\r\n)?[ \t]*(<[^<>\r\n]+>)", re.IGNORECASE | re.MULTILINE)
_DATE_OR_RECEIVED = re.compile(rb"^(?:date[ \t]*:[^\r\n]*[0-9]|received[ \t]*:)", re.IGNORECASE | re.MULTILINE)
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Client:
    """The SMTP client: IP address, HELO or EHLO name, and protocol of the trace header (RFC 3848).

    Attributes:
        session: Id of its connection in events.
        transaction: Id of its open transaction.
    """

    address: str
    helo: str
    protocol: str
    session: str | None = None
    transaction: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as received from a client, for those recipients that have not received it yet.

    Attributes:
        digest: The `fingerprint` of its content, if it has been computed.
        tags: Marks of refusal rules by recipient; None if no rule applies to the client.
        noted: What rules add to its event.
    """

    id: str
    client: Client
    sender: Mailbox
    recipients: tuple[Mailbox, ...]
    content: bytes
    digest: bytes = b""
    tags: Mapping[Mailbox, str] | None = None
    noted: Mapping[str, object] | None = None

    @property
    def addresses(self) -> list[str]:
        """Addresses of the recipients."""
        return [str(mailbox) for mailbox in self.recipients]


def new_id() -> str:
    """Return a unique id of ID_LENGTH characters: the time in milliseconds and 24 random bits, in hexadecimal."""
    return f"{int(time.time() * 1000):x}{os.urandom(3).hex()}"


def count_hops(content: bytes) -> int:
    """Return the number of Received fields in the header section."""
    end = content.find(b"\r\n\r\n")
    return len(_RECEIVED.findall(content, 0, end if end >= 0 else len(content)))


def header_section(content: bytes) -> memoryview:
    """Return the part before the first empty line."""
    end = content.find(b"\r\n\r\n")
    return memoryview(content)[: len(content) if end < 0 else end]


def is_identifiable(content: bytes) -> bool:
    """Return whether the header section tells the message from all others: by a Message-ID, and a Date or Received.

    Devices send the same text again and again without these, and each of those is a message of its own.
    """
    end = 0 if content.startswith(b"\r\n") else len(header_section(content))
    return _MESSAGE_ID.search(content, 0, end) is not None and _DATE_OR_RECEIVED.search(content, 0, end) is not None


def message_id_of(content: bytes) -> str | None:
    """Return the Message-ID in angle brackets, None without one."""
    found = _MESSAGE_ID.search(content, 0, min(len(header_section(content)) + 2, _SEARCHED_BYTES))
    return found[1].decode("utf-8", "replace")[:_FIELD_CHARACTERS] if found else None


def subject_of(content: bytes) -> str | None:
    """Return the decoded subject (RFC 2047), None without one; never raises."""
    found = _SUBJECT.search(content, 0, min(len(header_section(content)) + 2, _SEARCHED_BYTES))
    if not found:
        return None
    raw = found[1].decode("utf-8", "replace")[: 8 * _FIELD_CHARACTERS]
    try:
        text = str(make_header(decode_header(" ".join(raw.split()))))
    except (ValueError, LookupError):
        text = " ".join(raw.split())
    return text[:_FIELD_CHARACTERS]


def fingerprint(content: bytes) -> bytes:
    """Return a digest of the whole message."""
    return hashlib.sha256(content).digest()


def check_format(content: bytes, *, reject_bare_newlines: bool, max_line: int, max_hops: int) -> Reply | None:
    """Return the reply that refuses a malformed message, or None."""
    if b"\0" in content:
        return Reply.of(554, "5.6.0 NUL not allowed")
    lines = lines_of(content)
    if reject_bare_newlines and lines.have_bare_newlines():
        return Reply.of(554, "5.6.0 Bare CR or LF not allowed")
    if max_line and lines.exceed(max_line):
        return Reply.of(554, f"5.6.0 Line exceeds {max_line} bytes")
    if len(header_section(content)) > MAX_HEADER_BYTES:
        return Reply.of(554, f"5.6.0 Header section exceeds {MAX_HEADER_BYTES} bytes")
    if count_hops(content) > max_hops:
        return Reply.of(554, "5.4.6 Too many hops: possible mail loop")
    return None


def trace_of(names: Collection[str]) -> re.Pattern[bytes]:
    """Return a pattern that finds the trace fields of these hosts, in a Received field or where it is quoted."""
    hosts = "|".join(re.escape(name) for name in sorted(names))
    # A line that is encoded as quoted-printable may be broken by `=`.
    return re.compile(rf"\bby[ \t\r\n=]+(?:{hosts})(?![\w.-])".encode(), re.IGNORECASE)


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    """Return the date as in a header field; computed once per second."""
    return formatdate(second, localtime=True)


def received_header(message: Message, *, hostname: str, recipient: str = "", now: float | None = None) -> bytes:
    """Return the trace field (RFC 5321 section 4.4).

    Args:
        message: The message; its id and client are used.
        hostname: Name of this host.
        recipient: The only recipient; empty if there are several, which must not learn of each other.
        now: Seconds since 1970, the current time by default.
    """
    client = message.client
    literal = f"IPv6:{client.address}" if ":" in client.address else client.address
    only_for = f"\r\n\tfor <{recipient}>" if recipient else ""
    return (
        f"Received: from {client.helo} ([{literal}])\r\n\tby {hostname} with {client.protocol} id {message.id}"
        f"{only_for};\r\n\t{_date(int(time.time() if now is None else now))}\r\n"
    ).encode()
