# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SMTP envelope of a transaction, as passed on to next hops, and the variants of its message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mailgate.smtp.address import Mailbox


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sender and ESMTP parameters of one transaction.

    Attributes:
        sender: The reverse path.
        size: Size of the message in bytes (RFC 1870), 0 if unknown.
        eight_bit: BODY=8BITMIME was given (RFC 6152).
        utf8: SMTPUTF8 was given (RFC 6531).
        dsn: RET and ENVID as received (RFC 3461).
        notify: NOTIFY and ORCPT by recipient, as received (RFC 3461).
        id: The transaction's id in events; it is not sent.
    """

    sender: Mailbox
    size: int = 0
    eight_bit: bool = False
    utf8: bool = False
    dsn: str = ""
    notify: Mapping[Mailbox, str] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class MessageVariant:
    """The message in pieces, as delivered to `recipients` (None: to all).

    Each piece begins at the start of a line, the last one ends with CRLF.
    """

    pieces: list[bytes]
    recipients: frozenset[Mailbox] | None = None

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum(len(piece) for piece in self.pieces)

    @property
    def ascii(self) -> bool:
        """Whether the message has no byte above 127."""
        return all(piece.isascii() for piece in self.pieces)

    def of(self, recipients: Sequence[Mailbox]) -> list[Mailbox]:
        """Return those of `recipients` that this variant is for."""
        own = self.recipients
        return [mailbox for mailbox in recipients if own is None or mailbox in own]
