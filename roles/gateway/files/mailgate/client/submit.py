# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message of our own, or a released one, handed straight to the queue."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

SECONDS = 60


class QueueError(Exception):
    """The queue has not taken the message; the text says why."""


def hand_over(content: bytes, *, sender: str, recipients: Sequence[str], queue: tuple[str, int], hostname: str) -> None:
    """Give `content` (CRLF line ends) to the queue for all recipients or for none; raises QueueError."""
    where = f"queue {queue[0]}:{queue[1]}"
    try:
        with smtplib.SMTP(*queue, local_hostname=hostname, timeout=SECONDS) as smtp:
            smtp.ehlo_or_helo_if_needed()
            options = ["BODY=8BITMIME"] if smtp.has_extn("8bitmime") and not content.isascii() else []
            answers = [smtp.mail(sender, options), *(smtp.rcpt(recipient) for recipient in recipients)]
            refused = next((answer for answer in answers if answer[0] // 100 != 2), None)
            code, text = refused or smtp.data(content)
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise QueueError(f"{where}: {error}") from error
    if refused or code // 100 != 2:
        raise QueueError(f"{where}: {code} {text.decode('ascii', 'replace')}")
