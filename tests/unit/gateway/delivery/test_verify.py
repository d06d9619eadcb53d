# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipient verification with tiered delivery: server `a` verifies, hub `b` accepts all and gets the mail."""

from __future__ import annotations

import time

import pytest
from gateway_doubles import (
    KEEP_CONNECTIONS,
    Campus,
    Hop,
    cached_as_unknown,
    catch_all_probed,
    probing_a_slow_server,
    wait_for,
)

from mailgate.config import Tls
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.smtp.address import Mailbox

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


ALICE, GHOST = "alice@leaf.univ.example", "ghost@leaf.univ.example"


UNKNOWN = "550 5.1.1 no such user here"


CACHED = f"550 5.1.1 <{GHOST}>: Recipient address rejected: User unknown (cached)"


def only_alice(recipient: str) -> str:
    return "250 2.1.5 ok" if recipient == ALICE else UNKNOWN


def asked(hop: Hop, recipient: str) -> int:
    return sum(line.startswith(f"RCPT TO:<{recipient}>") for line in hop.commands)


async def ask(campus: Campus, recipient: str = ALICE, parameters: str = "") -> str:
    client = await campus.connect()
    assert (await client.say(f"MAIL FROM:<a@sender.example>{parameters}")).startswith("250")
    reply = await client.say(f"RCPT TO:<{recipient}>")
    await client.say("QUIT")
    return reply


def later(campus: Campus, seconds: float) -> None:
    campus.clock.ahead = seconds


POLICY = [
    ("banner", "554 5.7.1 only the hub may speak here"),
    ("ehlo", "550 5.7.1 only the hub may speak here"),
    ("mail", "550 5.7.1 Access denied"),
    ("mail", "554 not you"),
    ("rcpt", "550 5.7.1 Relaying denied"),
    ("rcpt", "554 5.0.0 not you"),
]


class TestRecipient:
    async def test_an_unknown_user_is_rejected_although_the_hub_accepts_all(self, campus):
        campus.a.rcpt = only_alice
        assert await ask(campus, GHOST) == UNKNOWN
        await cached_as_unknown(campus, GHOST)
        assert await ask(campus, GHOST) == CACHED
        assert asked(campus.a, GHOST) == 2, "once for the null sender, then never"
        assert campus.b.connections == 0

    async def test_mail_goes_through_the_hub_and_not_to_the_final_server(self, campus):
        campus.a.rcpt = only_alice
        client = await campus.connect()
        for refusal in (UNKNOWN, CACHED, CACHED):
            assert await client.start(ALICE, GHOST) == ["250 2.1.5 Recipient accepted", refusal]
            assert (await client.send(MESSAGE)).startswith("250")
            await cached_as_unknown(campus, GHOST)
        assert [got.recipients for got in campus.b.received] == [[ALICE]] * 3
        assert campus.a.received == campus.queue.received == []
        assert "DATA" not in campus.a.commands
        assert asked(campus.a, ALICE) == 1, "not again within an hour"

    async def test_a_known_recipient_is_verified_again_after_an_hour(self, campus):
        campus.a.rcpt = only_alice
        assert (await ask(campus)).startswith("250")
        campus.a.rcpt = lambda _: UNKNOWN
        assert (await ask(campus)).startswith("250")
        later(campus, 3700)
        assert await ask(campus) == UNKNOWN
        assert asked(campus.a, ALICE) == 2

    async def test_a_probe_sends_sender_and_size_only(self, campus):
        campus.a.ehlo = "250-mailhost\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE 99999999"
        await ask(campus, ALICE, " SIZE=2000 BODY=8BITMIME RET=HDRS")
        [question, *_probe] = [line for line in campus.a.commands if line.startswith("MAIL")]
        assert question == "MAIL FROM:<a@sender.example> SIZE=2000", "the hub may send it on in seven bits"

    async def test_a_probe_that_requires_tls_sends_no_address_in_plain_text(self, make_campus):
        campus = await make_campus(tls=Tls(required_for=("leaf.univ.example",)))
        assert (await ask(campus)).startswith("450 4.7.10")
        assert asked(campus.a, ALICE) == 0


class TestServerDown:
    @pytest.mark.parametrize("banner", ["421 4.3.2 load too high", "450 not now", None])
    async def test_verification_server_down_and_recipient_known_goes_through_the_hub(self, campus, banner):
        campus.a.rcpt = only_alice
        assert (await ask(campus)).startswith("250")
        later(campus, 3700)
        campus.a.banner = banner
        client = await campus.connect()
        assert await client.start(ALICE) == ["250 2.1.5 Recipient accepted"]
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.b.received) == 1
        assert campus.queue.received == []
        assert campus.events("verification_server_down")

    @pytest.mark.parametrize("banner", ["421 4.3.2 load too high", "450 not now", None])
    async def test_verification_server_down_and_recipient_unknown_is_deferred(self, campus, banner):
        campus.a.banner = banner
        assert (await ask(campus)).startswith("450 4.4.1")
        assert campus.b.connections == 0, "the hub's word would mean nothing"

    async def test_verification_server_up_and_hub_down_goes_to_the_queue(self, campus):
        campus.a.rcpt = only_alice
        campus.b.stop()
        client = await campus.connect()
        assert await client.start(ALICE, GHOST) == ["250 2.1.5 Recipient accepted", UNKNOWN]
        assert (await client.send(MESSAGE)).startswith("250")
        assert [got.recipients for got in campus.queue.received] == [[ALICE]]

    async def test_a_slow_verification_server_delays_its_own_recipients_only(self, make_campus):
        async with probing_a_slow_server(make_campus, ALICE) as (_campus, client):
            assert (await client.start("bob@b.univ.example"))[0].startswith("250")
            assert (await client.send(MESSAGE)).startswith("250"), "by the same hub"

    async def test_a_probe_uses_an_idle_connection_or_a_new_one(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice
        assert (await ask(campus)).startswith("250")
        await catch_all_probed(campus, "leaf.univ.example")
        before = campus.a.connections
        for number in range(5):
            assert await ask(campus, f"ghost{number}@leaf.univ.example") == UNKNOWN
            # What confirms the refusal may need a connection of its own.
            await wait_for(lambda: not campus.gateway.delivery.verifier.background)
        assert campus.a.connections == before <= 2
        campus.a.hang_ups = 1
        assert await ask(campus, GHOST) == UNKNOWN
        assert campus.a.connections == before + 1


class TestPolicy:
    @pytest.mark.parametrize(("stage", "answer"), POLICY)
    async def test_a_verification_server_that_rejects_the_gateway_leaves_the_decision_to_the_hub(
        self, campus, stage, answer
    ):
        setattr(campus.a, stage, (lambda _: answer) if stage == "rcpt" else answer)
        campus.a.helo = answer if stage == "ehlo" else campus.a.helo
        campus.b.rcpt = only_alice
        assert (await ask(campus)).startswith("250")
        assert await ask(campus, GHOST) == UNKNOWN
        assert campus.events("verification_server_refused")
        for name in ("alice", "ghost"):
            assert campus.gateway.verification_cache.find(Mailbox(name, "leaf.univ.example")) is None, (
                "a hub's word is not kept"
            )

    @pytest.mark.parametrize(
        ("stage", "answer"),
        [
            ("mail", "553 5.1.8 Domain of sender address does not exist"),
            ("mail", "552 5.3.4 Message is too large"),
            ("rcpt", "552 5.2.2 mailbox full"),
            ("rcpt", "550 no such person"),
            ("mail", "451 4.1.8 Domain of sender address does not resolve"),
            ("rcpt", "451 4.7.1 greylisted"),
        ],
    )
    async def test_a_rejection_of_the_mail_by_the_verification_server_is_returned(self, campus, stage, answer):
        setattr(campus.a, stage, (lambda _: answer) if stage == "rcpt" else answer)
        assert await ask(campus) == answer
        assert campus.b.connections == 0

    async def test_a_busy_verification_server_and_a_known_recipient_go_through_the_hub(self, campus):
        campus.a.rcpt = only_alice
        await ask(campus)
        later(campus, 3700)
        campus.a.rcpt = lambda _: "452 4.2.2 mailbox full"
        assert (await ask(campus)).startswith("250")

    async def test_a_rejection_by_the_hub_is_returned_and_not_cached(self, campus):
        campus.b.rcpt = lambda _: "550 5.1.1 never heard of"
        for _ in range(2):
            assert await ask(campus) == "550 5.1.1 never heard of"
        assert campus.gateway.verification_cache.find(Mailbox("alice", "leaf.univ.example")).known


class TestCatchAll:
    async def test_catch_all_probe_and_refresh_of_known_recipients(self, make_campus, tmp_path):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice
        assert (await ask(campus)).startswith("250")
        await catch_all_probed(campus, "leaf.univ.example")
        assert campus.gateway.verification_cache.catches_all(Mailbox("x", "leaf.univ.example")) is False
        assert sum(line.startswith("RCPT TO:<mailgate-") for line in campus.a.commands) == 1
        now = time.time()
        cache = VerificationCache(
            tmp_path, known_seconds=30 * 86400, unknown_seconds=7200, clock=lambda: now - 29 * 86400
        )
        cache.store(Mailbox("gone", "leaf.univ.example"), known=True)
        cache.close()
        assert await campus.gateway.delivery.verifier.refresh(campus.gateway.routes.find) == 1
        assert not campus.gateway.verification_cache.find(Mailbox("gone", "leaf.univ.example")).known
        assert not any("mailgate-" in line or "gone@" in line for line in campus.b.commands)

    async def test_a_server_that_rejects_a_recipient_is_not_a_catch_all(self, campus):
        cache = campus.gateway.verification_cache
        cache.store_catch_all("leaf.univ.example", known=True)
        assert cache.find(Mailbox("ghost", "leaf.univ.example")).known
        later(campus, 3700)
        campus.a.rcpt = only_alice
        assert await ask(campus, GHOST) == UNKNOWN
        await wait_for(lambda: cache.catches_all(Mailbox("x", "leaf.univ.example")) is False)
        assert cache.find(Mailbox("other", "leaf.univ.example")) is None
