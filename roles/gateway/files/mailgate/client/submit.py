# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Submission of notices and released messages to the queue."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

from mailgate.errors import Failure

SECONDS = 60


class QueueError(Failure):
    """The queue did not accept the message; the text has the reason."""


def submit(content: bytes, *, sender: str, recipients: Sequence[str], queue: tuple[str, int], hostname: str) -> None:
    """Submit `content` (CRLF line ends) to the queue for all recipients or for none; raise QueueError."""
    server = f"queue {queue[0]}:{queue[1]}"
    try:
        with smtplib.SMTP(*queue, local_hostname=hostname, timeout=SECONDS) as smtp:
            smtp.ehlo_or_helo_if_needed()
            options = ["BODY=8BITMIME"] if smtp.has_extn("8bitmime") and not content.isascii() else []
            replies = [smtp.mail(sender, options), *(smtp.rcpt(recipient) for recipient in recipients)]
            refusal = next((reply for reply in replies if reply[0] // 100 != 2), None)
            code, text = refusal or smtp.data(content)
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise QueueError(f"{server}: {error}") from error
    if refusal or code // 100 != 2:
        raise QueueError(f"{server}: {code} {text.decode('ascii', 'replace')}")
