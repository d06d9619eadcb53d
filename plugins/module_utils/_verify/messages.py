# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test messages: send one to each mailbox through the first mail exchange that accepts it."""

from __future__ import annotations

import secrets
import smtplib
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

_AT_ONCE = 8
_LINE = 300
TEXT = (
    "This is a test message of the administrators of the mail system: it shows whether mail from outside arrives in\n"
    "this mailbox. It can be deleted, and needs no answer.\n"
)


@dataclass(frozen=True)
class Exchange:
    """A mail exchange: its name and its address."""

    host: str
    address: str
    port: int = 25


def compose(address: str, name: str, ident: str, now: float) -> bytes:
    """Return the message.

    Args:
        address: The mailbox.
        name: The name of the sending host.
        ident: Its Message-ID, in angle brackets.
        now: Seconds since 1970.
    """
    message = EmailMessage()
    message["From"] = f"postmaster@{name}"
    message["To"] = address
    message["Subject"] = "Test of the mail system"
    message["Date"] = formatdate(now)
    message["Message-ID"] = ident
    # RFC 3834: neither an absence notice nor a mailing list answers.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(TEXT)
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def send(addresses: Sequence[str], exchanges: Sequence[Exchange], name: str, seconds: float) -> list[dict[str, Any]]:
    """Send a message to each mailbox, several at once; return the result for each, in their order.

    Args:
        addresses: The mailboxes.
        exchanges: The mail exchanges in the order of their preference.
        name: The name of this host.
        seconds: The time limit for each connection and reply.
    """
    token = secrets.token_hex(8)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        idents = [f"<mailgate-verify.{token}.{number}@{name}>" for number in range(len(addresses))]
        return list(
            pool.map(lambda address, ident: _send_one(address, ident, exchanges, name, seconds), addresses, idents)
        )


def _send_one(address: str, ident: str, exchanges: Sequence[Exchange], name: str, seconds: float) -> dict[str, Any]:
    result: dict[str, Any] = {"address": address, "id": ident, "exchange": "", "accepted": False, "attempts": []}
    started = time.time()
    content = compose(address, name, ident, started)
    for exchange in exchanges:
        begun = time.monotonic()
        code, text = _try(exchange, address, content, name, seconds)
        result["attempts"].append({"exchange": exchange.host, "code": code, "text": text[:_LINE]})
        if 200 <= code < 300:
            result |= {"accepted": True, "exchange": exchange.host, "seconds": round(time.monotonic() - begun, 2)}
            break
        # As a sender does: a permanent refusal is the answer of all.
        if code >= 500:
            break
    return result | {"started": started}


def _try(exchange: Exchange, address: str, content: bytes, name: str, seconds: float) -> tuple[int, str]:
    """Return the reply to the message, or to what was refused before; code 0 without a reply."""
    # The certificate is judged by smtp_probe; this is what a sender without DANE or MTA-STS does.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with smtplib.SMTP(exchange.address, exchange.port, local_hostname=name, timeout=seconds) as session:
            session.ehlo_or_helo_if_needed()
            if session.has_extn("starttls"):
                session.starttls(context=context)
                session.ehlo_or_helo_if_needed()
            for reply in (session.mail(""), session.rcpt(address)):
                if reply[0] not in range(200, 300):
                    return _reply(reply)
            return _reply(session.data(content))
    except smtplib.SMTPResponseException as error:
        return _reply((error.smtp_code, error.smtp_error))
    except (OSError, smtplib.SMTPException) as error:
        return 0, getattr(error, "strerror", None) or str(error) or type(error).__name__


def _reply(reply: tuple[int, bytes | str]) -> tuple[int, str]:
    code, text = reply
    return code, " ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else text).split())
