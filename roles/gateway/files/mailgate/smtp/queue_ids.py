# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The number under which a server has a message, in its reply to the message; its log has it too."""

from __future__ import annotations

import re

from mailgate.smtp.reply import Reply

_FORMS = (
    # Postfix, and this gateway
    re.compile(r"(?:queued|accepted) as (?P<id>[0-9A-Za-z_-]{5,64})\b"),
    # sendmail
    re.compile(r"^(?:2\.\d+\.\d+ )?(?P<id>[0-9A-Za-z]{10,24}) Message accepted for delivery"),
    # Exim
    re.compile(r"\bid=(?P<id>[0-9A-Za-z-]{10,40})"),
    # OpenSMTPD, and Exchange
    re.compile(r"^(?:2\.\d+\.\d+ )?(?P<id>[0-9a-f]{8,16}) Message accepted for delivery"),
    re.compile(r"\bInternalId=(?P<id>\d{4,20})"),
)


def queue_id_of(reply: Reply) -> str | None:
    """Return the number in a positive reply to a message, None if it has none in a form that is known."""
    if not reply.ok:
        return None
    text = reply.text
    for form in _FORMS:
        if found := form.search(text):
            return found["id"]
    return None
