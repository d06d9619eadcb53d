# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients with any address, and rules as they are written in the settings file."""

from __future__ import annotations

import asyncio

from gateway_doubles import Campus, Client

ALICE = "alice@a.univ.example"
BOB = "bob@b.univ.example"
CLIENT = "198.18.9.9"
OTHER = "198.18.9.10"
OK = "250 2.1.5 Recipient accepted"
ZONE = "dnsbl.example"


def rule(name: str, action: str, when: str, more: str = "", unless: str = "") -> str:
    exceptions = f"[rules.unless]\n{unless}\n" if unless else ""
    return f'[[rules]]\nname = "{name}"\naction = "{action}"\n{more}\n[rules.when]\n{when}\n{exceptions}'


async def connect(campus: Campus, address: str = CLIENT, helo: str = "mail.sender.example") -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", campus.port))
    campus.clients.append(client)
    family = "TCP6" if ":" in address else "TCP4"
    assert (await client.say(f"PROXY {family} {address} {address} 4000 25")).startswith("220")
    assert (await client.say(f"EHLO {helo}")).startswith("250")
    return client


async def reply_to(campus: Campus, *, address=CLIENT, helo="mail.sender.example", sender="a@sender.example", to=ALICE):
    """Return the reply to RCPT of a client."""
    client = await connect(campus, address, helo)
    return (await client.start(to, sender=sender))[0]
