# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions to next hops: used again, bounded, and nobody else's violation when one is slow; questions beside them."""

from __future__ import annotations

import asyncio
import time

from gateway_doubles import Campus, Client, asking_a_slow_server

from mailgate.config import Limits, Timeouts
from mailgate.delivery.queue_wakeup import QueueFlushTrigger
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"
KEPT = Timeouts(connect=1, next_hop_command=2, next_hop_data=2, session_idle=5, scan=2, queue=2, drain=2)


async def send(client: Client, recipient: str = "alice@a.univ.example") -> str:
    assert (await client.start(recipient))[0].startswith("250")
    return await client.send(MESSAGE)


async def until(condition, seconds: float = 3.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("did not come about in time")


async def probed(campus: Campus, domain: str = "a.univ.example") -> None:
    """Wait for the question whether the server takes anybody."""
    await until(lambda: campus.gateway.verification_cache.catches_all(Mailbox("x", domain)) is not None)


def only_people(recipient: str) -> str:
    return "250 2.1.5 ok" if recipient.split("@", maxsplit=1)[0] in ("alice", "bob") else "550 5.1.1 unknown"


async def test_session_is_used_again(make_campus):
    campus = await make_campus(timeouts=KEPT)
    campus.a.rcpt = only_people
    client = await campus.connect()
    assert (await send(client)).startswith("250")
    await probed(campus)
    before = campus.a.connections
    for _ in range(5):
        assert (await send(client)).startswith("250")
    assert campus.a.connections == before <= 2
    assert len(campus.a.received) == 6


async def test_transaction_that_was_given_up_is_not_part_of_the_next(make_campus):
    campus = await make_campus(timeouts=KEPT)
    campus.a.rcpt = only_people
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    await client.say("RSET")
    await probed(campus)
    assert (await send(client, "bob@a.univ.example")).startswith("250")
    assert [got.recipients for got in campus.a.received] == [["bob@a.univ.example"]]
    assert "RSET" in campus.a.commands


async def test_session_that_the_server_closed_meanwhile_is_not_used(make_campus):
    campus = await make_campus(timeouts=KEPT)
    campus.a.rcpt = only_people
    client = await campus.connect()
    await send(client)
    await probed(campus)
    campus.a.hang_ups = 1
    assert (await send(client)).startswith("250")
    assert len(campus.a.received) == 2
    assert campus.queue.received == []


async def test_idle_and_old_sessions_are_ended(make_campus):
    campus = await make_campus(timeouts=Timeouts(session_idle=1))
    campus.a.rcpt = only_people
    client = await campus.connect()
    await send(client)
    await probed(campus)
    assert campus.a.open >= 1
    await until(lambda: campus.a.open == 0)
    assert campus.gateway.delivery.pool.open == 0


async def test_connections_to_one_server_are_bounded_and_the_others_are_served(make_campus):
    campus = await make_campus(
        timeouts=KEPT,
        limits=Limits(max_connections_per_next_hop=2, max_connections=7),
    )
    clients = [await campus.connect() for _ in range(7)]
    held = [asyncio.create_task(client.start("alice@a.univ.example")) for client in clients[:6]]
    # Two have a session, two wait for one, and the others are told at once.
    started = time.monotonic()
    answers = [task.result()[0] for task in (await asyncio.wait(held, timeout=0.5))[0]]
    assert sorted(answer[:3] for answer in answers) == ["250", "250", "450", "450"]
    assert time.monotonic() - started < 0.9
    assert campus.a.open <= 2
    assert (await send(clients[6], "bob@b.univ.example")).startswith("250")
    await asyncio.gather(*held)


async def test_slow_server_slows_nobody_elses_mail(make_campus):
    campus = await make_campus(timeouts=KEPT)

    client, other = await campus.connect(), await campus.connect()
    campus.a.banner = "220-one octet a second"
    waiting = asyncio.create_task(client.start("alice@a.univ.example"))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    assert (await send(other, "bob@b.univ.example")).startswith("250")
    assert time.monotonic() - started < 1
    assert (await waiting)[0].startswith("450")
    started = time.monotonic()
    assert (await client.say("RCPT TO:<bob@a.univ.example>")).startswith("450")
    assert time.monotonic() - started < 0.5, "nobody waits for it again at once"


async def test_nobody_waits_long_behind_questions_to_a_slow_server(make_campus):
    async with asking_a_slow_server(make_campus, "alice@a.univ.example") as (_campus, client):
        started = time.monotonic()
        assert (await send(client, "bob@b.univ.example")).startswith("250")
        assert time.monotonic() - started < 1


async def test_waiters_get_the_session_that_becomes_free(make_campus):
    campus = await make_campus(timeouts=KEPT, limits=Limits(max_connections_per_next_hop=1))
    campus.a.rcpt = only_people
    first, second = await campus.connect(), await campus.connect()
    await first.start("alice@a.univ.example")
    waiting = asyncio.create_task(second.start("bob@a.univ.example"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert (await first.send(MESSAGE)).startswith("250")
    assert (await waiting)[0].startswith("250")
    assert (await second.send(MESSAGE)).startswith("250")
    assert campus.a.connections == 1


async def test_server_that_takes_anybody_is_recognised(make_campus):
    campus = await make_campus(timeouts=KEPT)
    client = await campus.connect()
    await send(client)
    await probed(campus)
    assert campus.gateway.verification_cache.catches_all(Mailbox("x", "a.univ.example"))
    rows = campus.gateway.verification_cache.sizes()[0]
    await client.start(*(f"random{n}@a.univ.example" for n in range(5)))
    assert campus.gateway.verification_cache.sizes()[0] == rows, "its recipients need no rows of their own"
    await client.say("RSET")
    campus.gateway.delivery.pool.close()
    await until(lambda: campus.a.open == 0)
    campus.a.banner = None
    assert (await client.start("never.seen@a.univ.example"))[0].startswith("250"), "anybody is known there"


async def test_server_that_knows_its_people_is_not_taken_for_a_catch_all(make_campus):
    campus = await make_campus(timeouts=KEPT)
    campus.a.rcpt = only_people
    client = await campus.connect()
    await send(client)
    await probed(campus)
    assert campus.gateway.verification_cache.catches_all(Mailbox("x", "a.univ.example")) is False
    probes = [line for line in campus.a.commands if line.startswith("RCPT TO:<mailgate-")]
    assert len(probes) == 1


async def test_known_recipients_are_asked_about_before_their_time_is_over(make_campus, tmp_path):
    campus = await make_campus(timeouts=KEPT)
    now = time.time()
    cache = VerificationCache(tmp_path, known_seconds=30 * 86400, unknown_seconds=7200, clock=lambda: now - 29 * 86400)
    for name in ("alice", "gone"):
        cache.store(Mailbox(name, "a.univ.example"), Reply.of(250, "2.1.5 ok"))
    cache.close()
    campus.a.rcpt = only_people
    asked = await campus.gateway.delivery.verifier.refresh(campus.gateway.routes.find)
    assert asked == 2
    find = campus.gateway.verification_cache.find
    assert find(Mailbox("alice", "a.univ.example")).known
    assert not find(Mailbox("gone", "a.univ.example")).known
    assert campus.gateway.verification_cache.expiring(10) == []


def test_answers_are_bounded_in_number(tmp_path):
    cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100, max_rows=10)
    for number in range(25):
        cache.store(Mailbox(f"u{number}", "a.example"), Reply.of(250, "ok"))
    cache.prune()
    assert sum(cache.sizes()) == 10
    cache.close()


async def test_queue_is_woken_when_a_server_is_back(make_campus, monkeypatch):
    monkeypatch.setattr("mailgate.delivery.queue_wakeup.FIRST_SECONDS", 0.1)
    campus = await make_campus(timeouts=KEPT)
    campus.a.rcpt = only_people
    client = await campus.connect()
    await send(client)
    await probed(campus)
    campus.gateway.delivery.pool.close()
    await until(lambda: campus.a.open == 0)
    campus.a.banner = None
    assert (await send(client)).startswith("250")
    assert len(campus.queue.received) == 1
    campus.a.banner = "220 back"
    await until(lambda: "ETRN a.univ.example" in campus.queue.commands)


async def test_waker_looks_at_a_server_once(campus):
    flush_trigger = QueueFlushTrigger(
        campus.gateway.delivery.pool, campus.gateway.delivery.queue_hop, campus.gateway.events
    )
    hops = (NextHop("127.0.0.1", 1),)
    flush_trigger.watch(hops, {"a.example"})
    flush_trigger.watch(hops, {"b.example"})
    assert flush_trigger._domains == {hops: {"a.example", "b.example"}}
    assert len(flush_trigger._background) == 1
    flush_trigger.stop()
