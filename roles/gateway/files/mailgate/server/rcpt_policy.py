# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipient policy: the refusals at RCPT in their order, and the clients that may relay."""

from __future__ import annotations

from typing import NamedTuple

from mailgate.config import Config
from mailgate.removed_routes import ROUTE_REMOVED, RemovedRoutes
from mailgate.routes import Route, Routes
from mailgate.smtp.address import RELAY_REFUSED, Mailbox, parse_mailbox
from mailgate.smtp.reply import Reply


class Decision(NamedTuple):
    """One of: a refusal (`relay`: of an attempt to relay); a route to verify and deliver by; neither: the queue."""

    recipient: Mailbox
    refusal: Reply | None = None
    relay: bool = False
    route: Route | None = None


def decide(recipient: Mailbox, client: str, config: Config, routes: Routes, removed: RemovedRoutes) -> Decision:
    """Return the decision on a recipient named by `client`, an IP address; the recipient is well-formed."""
    # Every host that accepts mail must accept it for postmaster (RFC 5321 section 4.5.1).
    if recipient.domain in ("", config.hostname) and recipient.local.lower() == "postmaster":
        if not config.postmaster:
            return Decision(Mailbox("postmaster", ""))
        recipient = parse_mailbox(config.postmaster)
    route = routes.find(recipient.domain)
    if route:
        return Decision(recipient, route=route)
    # For clients that may relay too: without a route, the queue would follow MX records, which may lead back here.
    if recipient.domain in removed:
        return Decision(recipient, refusal=ROUTE_REMOVED)
    if recipient.domain.startswith("[") or not config.may_relay(client):
        return Decision(recipient, refusal=RELAY_REFUSED, relay=True)
    return Decision(recipient)
