# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways that share the memory of sent mail in a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
from gateway_doubles import Clock, wait_for
from rule_clients import ALICE
from shared_server import MISSING, SharedServer, program
from test_sent_mail import ACCEPTED, REFUSED, bounce, send, settings

from mailgate.limits.remote import Remote
from mailgate.limits.sent_mail import DAY
from mailgate.limits.shared_sent_mail import SharedSentMail
from mailgate.smtp.address import Mailbox

pytestmark = pytest.mark.skipif(not program(), reason=MISSING)
ANN, BEN, BOB = (Mailbox(name, "a.univ.example") for name in ("ann", "ben", "bob"))


@pytest.fixture
async def other(server: SharedServer) -> AsyncIterator[SharedSentMail]:
    """Return what another gateway shares."""
    failures: list[str] = []
    remote = Remote(server.settings, failures.append)
    assert await remote.probe()
    shared = SharedSentMail(remote, 14)
    shared.failures = failures
    yield shared
    server.resume()
    await remote.close()


async def published(shared: SharedSentMail, sender: Mailbox) -> None:
    shared.publish(sender)
    await wait_for(lambda: not shared.publisher.pending)


async def test_one_of_several(other, server):
    assert not await other.has_any([ANN, BEN])
    await published(other, Mailbox("ann+list-7", "a.univ.example"))
    assert await other.has_any([BEN, ANN])
    key = server.command("RANDOMKEY")
    assert key.startswith("mailgate:sent:") and "ann" not in key
    assert 13 * DAY < int(server.command("TTL", key).removeprefix(":")) <= 14 * DAY


async def test_without_the_server(other, server):
    server.kill()
    await published(other, ANN)
    assert not await other.has_any([ANN])
    assert other.failures


async def test_by_mail(make_campus, other, server):
    """A bounce of mail that left by another gateway is delivered; without the store it is refused as before."""
    config = settings()
    campus = await make_campus(
        bounces=config.bounces,
        own_names=config.own_names,
        relay_networks=config.relay_networks,
        proxy_protocol_from=(ip_network("127.0.0.0/8"),),
        shared_state=server.settings,
    )
    campus.gateway.sent_mail._clock = Clock()
    assert not campus.gateway.sent_mail.is_complete
    campus.gateway.sent_mail._clock.ahead = 15 * DAY
    task = asyncio.create_task(campus.gateway.client_limits.share(exchange=True))
    await wait_for(lambda: campus.gateway.client_limits.remote.available)
    assert await bounce(campus) == REFUSED
    await published(other, Mailbox("alice", "a.univ.example"))
    assert await bounce(campus) == ACCEPTED

    assert not await other.has_any([BOB])
    await send(campus, str(BOB))
    await wait_for(lambda: not campus.gateway.shared_sent_mail.publisher.pending)
    assert await other.has_any([BOB])
    server.kill()
    assert await bounce(campus, ALICE) == REFUSED
    task.cancel()
