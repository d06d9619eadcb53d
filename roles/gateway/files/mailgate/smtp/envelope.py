# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sender said with MAIL and RCPT, to be said again to a next hop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailgate.smtp.address import Mailbox


@dataclass
class Envelope:
    """Sender and wishes of one transaction.

    `size` in octets, 0 when not known. `dsn` holds RET and ENVID as they came (RFC 3461), `notify` NOTIFY and ORCPT by
    recipient. `text_utf8` says whether the header section is known to need SMTPUTF8, once there is a message.
    """

    sender: Mailbox
    size: int = 0
    eight_bit: bool = False
    utf8: bool = False
    dsn: str = ""
    notify: dict[Mailbox, str] = field(default_factory=dict)
    text_utf8: bool = False


@dataclass(frozen=True)
class MessageVariant:
    """The message in pieces, as `recipients` are to get it (None: all).

    Each piece begins at the start of a line, the last one ends with CRLF.
    """

    pieces: list[bytes]
    recipients: frozenset[Mailbox] | None = None

    def of(self, recipients: Sequence[Mailbox]) -> list[Mailbox]:
        """Those of `recipients` who are to get it."""
        own = self.recipients
        return [mailbox for mailbox in recipients if own is None or mailbox in own]
