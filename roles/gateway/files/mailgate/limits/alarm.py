# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Message about a host that relays more mail than usual, in each language."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid

from mailgate.config import LANGUAGES, Config
from mailgate.translation import N_, translator

_SUBJECT = N_("More outgoing mail than usual")
_TEXT = N_(
    "The mail gateway {host} has got mail for more than {recipients} recipients in {minutes} minutes from the host"
    " {client}, which may relay. One of its accounts may be in other hands."
)


def alarm_mail(config: Config, client: str) -> bytes:
    """Return the message to `rates.alarm_to`, with CRLF line ends."""
    rates, languages = config.rates, sorted(LANGUAGES, key=lambda code: code != config.language)
    fields = {
        "host": config.hostname,
        "client": client,
        "recipients": rates.relay_alarm or rates.relayed_per_client,
        "minutes": rates.minutes,
    }
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"Mail gateway <postmaster@{config.hostname}>"
    mail["To"] = config.rates.alarm_to
    mail["Subject"] = " / ".join(translator(code)(_SUBJECT) for code in LANGUAGES) + f": {client}"
    mail["Date"] = formatdate(localtime=True)
    mail["Message-ID"] = make_msgid("alarm", config.hostname)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n\n".join(translator(code)(_TEXT).format(**fields) for code in languages) + "\n", cte="base64")
    return mail.as_bytes()
