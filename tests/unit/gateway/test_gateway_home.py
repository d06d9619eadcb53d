# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiered delivery: the home server (`a`) is asked about a recipient, its hub (`b`) takes anybody and gets the mail."""

from __future__ import annotations

import asyncio
import time

import pytest
from gateway_doubles import Campus, Hop, asking_a_slow_server

from mailgate.config import Timeouts, Tls
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"
KEPT = Timeouts(connect=1, next_hop_command=2, next_hop_data=2, session_idle=5, scan=2, queue=2, drain=2)
ALICE, GHOST = "alice@leaf.univ.example", "ghost@leaf.univ.example"
UNKNOWN = "550 5.1.1 no such user here"


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


async def probed(campus: Campus) -> None:
    """Wait for the question whether the server takes anybody."""
    for _ in range(100):
        if campus.gateway.verification_cache.catches_all(Mailbox("x", "leaf.univ.example")) is not None:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody was asked about a recipient that cannot exist")


def later(campus: Campus, seconds: float) -> None:
    campus.gateway.verification_cache._clock = lambda: time.time() + seconds


async def test_unknown_user_of_a_leaf_is_refused_though_its_hub_takes_anybody(campus):
    campus.a.rcpt = only_alice
    for _ in range(2):
        assert await ask(campus, GHOST) == UNKNOWN
    assert asked(campus.a, GHOST) == 1, "the answer is remembered"
    assert campus.b.connections == 0


async def test_mail_goes_by_the_hub_and_the_home_server_gets_none(campus):
    campus.a.rcpt = only_alice
    client = await campus.connect()
    for _ in range(3):
        assert await client.start(ALICE, GHOST) == ["250 2.1.5 Recipient accepted", UNKNOWN]
        assert (await client.send(MESSAGE)).startswith("250")
    assert [got.recipients for got in campus.b.received] == [[ALICE]] * 3
    assert campus.a.received == campus.queue.received == []
    assert "DATA" not in campus.a.commands
    assert asked(campus.a, ALICE) == 1, "not again within the hour"


async def test_known_recipient_is_asked_about_again_after_a_while(campus):
    campus.a.rcpt = only_alice
    assert (await ask(campus)).startswith("250")
    campus.a.rcpt = lambda _: UNKNOWN
    assert (await ask(campus)).startswith("250")
    later(campus, 3700)
    assert await ask(campus) == UNKNOWN
    assert asked(campus.a, ALICE) == 2


async def test_home_server_is_asked_for_the_sender_the_size_and_no_more(campus):
    campus.a.ehlo = "250-mailhost\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE 99999999"
    await ask(campus, ALICE, " SIZE=2000 BODY=8BITMIME RET=HDRS")
    [question, *_probe] = [line for line in campus.a.commands if line.startswith("MAIL")]
    assert question == "MAIL FROM:<a@sender.example> SIZE=2000", "the hub may send it on in seven bits"


@pytest.mark.parametrize("banner", ["421 4.3.2 load too high", "450 not now", None])
async def test_home_server_down_and_recipient_known_goes_by_the_hub(campus, banner):
    campus.a.rcpt = only_alice
    assert (await ask(campus)).startswith("250")
    later(campus, 3700)
    campus.a.banner = banner
    client = await campus.connect()
    assert await client.start(ALICE) == ["250 2.1.5 Recipient accepted"]
    assert (await client.send(MESSAGE)).startswith("250")
    assert len(campus.b.received) == 1
    assert campus.queue.received == []
    assert '"event": "verification_server_down"' in campus.gateway.events._out.text


@pytest.mark.parametrize("banner", ["421 4.3.2 load too high", "450 not now", None])
async def test_home_server_down_and_recipient_never_seen_is_put_off(campus, banner):
    campus.a.banner = banner
    assert (await ask(campus)).startswith("450 4.4.1")
    assert campus.b.connections == 0, "the hub's word would mean nothing"


async def test_home_server_up_and_hub_down_goes_to_the_queue(campus):
    campus.a.rcpt = only_alice
    campus.b.stop()
    client = await campus.connect()
    assert await client.start(ALICE, GHOST) == ["250 2.1.5 Recipient accepted", UNKNOWN]
    assert (await client.send(MESSAGE)).startswith("250")
    assert [got.recipients for got in campus.queue.received] == [[ALICE]]


POLICY = [
    ("banner", "554 5.7.1 only the hub may speak here"),
    ("ehlo", "550 5.7.1 only the hub may speak here"),
    ("mail", "550 5.7.1 Access denied"),
    ("mail", "554 not you"),
    ("rcpt", "550 5.7.1 Relaying denied"),
    ("rcpt", "554 5.0.0 not you"),
]


@pytest.mark.parametrize(("stage", "answer"), POLICY)
async def test_home_server_that_does_not_speak_with_gateways_leaves_it_to_the_hub(campus, stage, answer):
    setattr(campus.a, stage, (lambda _: answer) if stage == "rcpt" else answer)
    campus.a.helo = answer if stage == "ehlo" else campus.a.helo
    campus.b.rcpt = only_alice
    assert (await ask(campus)).startswith("250")
    assert await ask(campus, GHOST) == UNKNOWN
    assert '"event": "verification_server_refused"' in campus.gateway.events._out.text
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
async def test_what_the_home_server_has_against_the_mail_is_passed_on(campus, stage, answer):
    setattr(campus.a, stage, (lambda _: answer) if stage == "rcpt" else answer)
    assert await ask(campus) == answer
    assert campus.b.connections == 0


async def test_home_server_that_is_busy_with_a_known_recipient_leaves_the_mail_with_the_hub(campus):
    campus.a.rcpt = only_alice
    await ask(campus)
    later(campus, 3700)
    campus.a.rcpt = lambda _: "452 4.2.2 mailbox full"
    assert (await ask(campus)).startswith("250")


async def test_hubs_own_refusal_is_passed_on_and_not_remembered(campus):
    campus.b.rcpt = lambda _: "550 5.1.1 never heard of"
    for _ in range(2):
        assert await ask(campus) == "550 5.1.1 never heard of"
    assert campus.gateway.verification_cache.find(Mailbox("alice", "leaf.univ.example")).known


async def test_home_server_is_asked_whether_it_takes_anybody_and_who_is_still_known(make_campus, tmp_path):
    campus = await make_campus(timeouts=KEPT)
    campus.a.rcpt = only_alice
    assert (await ask(campus)).startswith("250")
    await probed(campus)
    assert campus.gateway.verification_cache.catches_all(Mailbox("x", "leaf.univ.example")) is False
    assert sum(line.startswith("RCPT TO:<mailgate-") for line in campus.a.commands) == 1
    now = time.time()
    cache = VerificationCache(tmp_path, known_seconds=30 * 86400, unknown_seconds=7200, clock=lambda: now - 29 * 86400)
    cache.store(Mailbox("gone", "leaf.univ.example"), Reply.of(250, "2.1.5 ok"))
    cache.close()
    assert await campus.gateway.delivery.verifier.refresh(campus.gateway.routes.find) == 1
    assert not campus.gateway.verification_cache.find(Mailbox("gone", "leaf.univ.example")).known
    assert not any("mailgate-" in line or "gone@" in line for line in campus.b.commands)


async def test_server_that_refuses_somebody_does_not_take_anybody(campus):
    cache = campus.gateway.verification_cache
    cache.store_catch_all("leaf.univ.example", Reply.of(250, "ok"))
    assert cache.find(Mailbox("ghost", "leaf.univ.example")).known
    later(campus, 3700)
    campus.a.rcpt = only_alice
    assert await ask(campus, GHOST) == UNKNOWN
    assert cache.catches_all(Mailbox("x", "leaf.univ.example")) is False
    assert cache.find(Mailbox("other", "leaf.univ.example")) is None


async def test_slow_home_server_holds_up_its_own_recipients_only(make_campus):
    async with asking_a_slow_server(make_campus, ALICE) as (_campus, client):
        started = time.monotonic()
        assert (await client.start("bob@b.univ.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250"), "by the same hub"
        assert time.monotonic() - started < 1


async def test_question_goes_over_a_session_that_is_kept_and_over_a_new_one_when_that_is_gone(make_campus):
    campus = await make_campus(timeouts=KEPT)
    campus.a.rcpt = only_alice
    assert (await ask(campus)).startswith("250")
    await probed(campus)
    before = campus.a.connections
    for number in range(5):
        assert await ask(campus, f"ghost{number}@leaf.univ.example") == UNKNOWN
    assert campus.a.connections == before <= 2
    campus.a.hang_ups = 1
    assert await ask(campus, GHOST) == UNKNOWN
    assert campus.a.connections == before + 1


async def test_home_server_that_must_encrypt_is_told_no_name_in_the_clear(make_campus):
    campus = await make_campus(tls=Tls(required_for=("leaf.univ.example",)))
    assert (await ask(campus)).startswith("450 4.7.10")
    assert asked(campus.a, ALICE) == 0
