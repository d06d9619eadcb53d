# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages for the spam scan, and what a next hop gets of them."""

from __future__ import annotations

from gateway_doubles import Campus
from rule_clients import ALICE, OK, connect

RELAYING = "198.18.50.1"
ACCEPTED = "250 2.0.0 Message accepted"
REFUSED = "554 5.7.1 Spam message rejected"
MESSAGE = b"From: a@sender.example\r\nSubject: offer\r\n\r\nBuy.\r\n"


async def send(campus: Campus, *recipients: str, content: bytes = MESSAGE, **given: str) -> str:
    """Return the reply to the end of data."""
    sender = given.pop("sender", "a@sender.example")
    client = await connect(campus, **given)
    recipients = recipients or (ALICE,)
    assert await client.start(*recipients, sender=sender) == [OK] * len(recipients)
    return await client.send(content)


def spam_fields(content: bytes) -> list[str]:
    """Return the gateway's fields, which are below its trace field and above the message."""
    lines = content.partition(b"\r\n\r\n")[0].decode().replace("\r\n\t", " ").split("\r\n")
    assert lines[0].startswith("Received: from ")
    return [line for line in lines if line.startswith("X-Spam")]
