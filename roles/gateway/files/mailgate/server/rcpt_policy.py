# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose mail goes where: the refusals at RCPT, in their order, and the relaying that is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from mailgate.config import Config
from mailgate.routes import Route, Routes
from mailgate.smtp.address import RELAY_REFUSED, Mailbox, parse_mailbox
from mailgate.smtp.reply import Reply


@dataclass(frozen=True)
class Decision:
    """One of: a refusal (`relay`: it was an attempt to relay); a route to ask and deliver by; neither: the queue."""

    recipient: Mailbox
    refusal: Reply | None = None
    relay: bool = False
    route: Route | None = None


def decide(recipient: Mailbox, client: str, config: Config, routes: Routes) -> Decision:
    """Judge a recipient that `client`, an IP address, has named; its address is already known to be well-formed."""
    # Every host that takes mail has a postmaster (RFC 5321 section 4.5.1).
    if recipient.domain in ("", config.hostname) and recipient.local.lower() == "postmaster":
        if not config.postmaster:
            return Decision(Mailbox("postmaster", ""))
        recipient = parse_mailbox(config.postmaster)
    route = routes.find(recipient.domain)
    if route:
        return Decision(recipient, route=route)
    if recipient.domain.startswith("[") or not config.may_relay(client):
        return Decision(recipient, refusal=RELAY_REFUSED, relay=True)
    return Decision(recipient)
