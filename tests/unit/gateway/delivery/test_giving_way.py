# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message whose scan takes long releases its session with the next hop to others, and begins again afterwards."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from fake_clamd import read_stream
from gateway_doubles import KEEP_CONNECTIONS, wait_for

from mailgate.config import Limits
from mailgate.delivery.transaction import Transaction

SLOW = b"Subject: slow\r\n\r\nslow\r\n"
QUICK = b"Subject: quick\r\n\r\nquick\r\n"
ALICE, BOB = "alice@a.univ.example", "bob@a.univ.example"


@asynccontextmanager
async def slow_message(make_campus, *recipients, contended=True):
    """Have a message scanned until the context ends, with the only session that its next hop gets; yield the campus.

    Then `result` of the campus has the reply.
    """
    campus = await make_campus(timeouts=KEEP_CONNECTIONS, limits=Limits(max_connections_per_next_hop=1))
    scanned = asyncio.Event()

    async def serve(reader, writer):
        stream = await read_stream(reader)
        if b"slow" in stream:
            await scanned.wait()
        writer.write(b"stream: OK\0")

    campus.clamd.serve = serve
    client = await campus.connect()
    await client.start(*recipients)
    task = asyncio.create_task(client.send(SLOW))
    await wait_for(lambda: campus.clamd.requests == 1)
    if contended:
        other = await campus.connect()
        assert await other.start(ALICE) == ["250 2.1.5 Recipient accepted"]
        assert (await other.send(QUICK)).startswith("250")
        assert not task.done()
    yield campus
    scanned.set()
    campus.result = await task


async def test_others_get_the_session_and_both_messages_arrive(make_campus):
    async with slow_message(make_campus, ALICE) as campus:
        assert [b"quick" in got.content for got in campus.a.received] == [True]
    assert campus.result.startswith("250")
    assert [b"slow" in got.content for got in campus.a.received] == [False, True]
    assert campus.a.connections == 1
    assert campus.queue.received == []


async def test_session_is_kept_while_nobody_waits(make_campus, monkeypatch):
    looked = []
    give_way = Transaction.give_way
    monkeypatch.setattr(Transaction, "give_way", lambda self: (looked.append(1), give_way(self)))
    async with slow_message(make_campus, ALICE, contended=False) as campus:
        await wait_for(lambda: len(looked) >= 2)
    assert campus.result.startswith("250")
    assert [line[:4] for line in campus.a.commands].count("MAIL") == 1


@pytest.mark.parametrize("refusal", ["550 5.1.1 gone", "451 4.2.0 later"])
async def test_only_recipient_that_is_refused_now(make_campus, refusal):
    async with slow_message(make_campus, ALICE) as campus:
        campus.a.rcpt = lambda _recipient: refusal
    assert campus.result == refusal
    assert campus.queue.received == []


async def test_of_several_recipients_one_is_refused_now(make_campus):
    async with slow_message(make_campus, ALICE, BOB) as campus:
        campus.a.rcpt = lambda recipient: "550 5.1.1 gone" if recipient == BOB else "250 ok"
    assert campus.result.startswith("250")
    assert campus.queue.received[0].recipients == [ALICE, BOB]


async def test_server_that_is_gone_now(make_campus):
    async with slow_message(make_campus, ALICE) as campus:
        campus.a.mail = None
    assert campus.result.startswith("250")
    assert campus.queue.received[0].recipients == [ALICE]
