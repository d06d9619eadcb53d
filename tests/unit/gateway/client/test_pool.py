# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to next hops: reuse, limits, and independence from slow servers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gateway_doubles import (
    KEEP_CONNECTIONS,
    MESSAGE,
    catch_all_probed,
    only_alice_and_bob,
    probing_a_slow_server,
    send_hello,
    wait_for,
)

from mailgate.config import Limits


class TestReuse:
    async def test_a_connection_is_reused(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice_and_bob
        client = await campus.connect()
        assert (await send_hello(client)).startswith("250")
        await catch_all_probed(campus)
        before = campus.a.connections
        for _ in range(5):
            assert (await send_hello(client)).startswith("250")
        assert campus.a.connections == before <= 2
        assert len(campus.a.received) == 6

    async def test_an_aborted_transaction_is_not_part_of_the_next(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice_and_bob
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        await client.say("RSET")
        await catch_all_probed(campus)
        assert (await send_hello(client, "bob@a.univ.example")).startswith("250")
        assert [got.recipients for got in campus.a.received] == [["bob@a.univ.example"]]
        assert "RSET" in campus.a.commands

    async def test_a_connection_closed_by_the_server_is_not_used(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice_and_bob
        client = await campus.connect()
        await send_hello(client)
        await catch_all_probed(campus)
        campus.a.hang_ups = 1
        assert (await send_hello(client)).startswith("250")
        assert len(campus.a.received) == 2
        assert campus.queue.received == []

    async def test_idle_and_old_connections_are_closed(self, make_campus):
        campus = await make_campus(timeouts=replace(KEEP_CONNECTIONS, session_idle=1))
        campus.a.rcpt = only_alice_and_bob
        client = await campus.connect()
        await send_hello(client)
        await catch_all_probed(campus)
        assert campus.a.connections >= 1
        await wait_for(lambda: campus.a.open == campus.gateway.delivery.pool.open == 0)

    async def test_each_idle_connection_is_closed_at_its_time(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        pool, hop = campus.gateway.delivery.pool, campus.gateway.routes.find("a.univ.example").next_hops[0]
        first, second, third = [await pool.acquire(hop, fresh=True) for _ in range(3)]
        server = pool._server(hop)
        for session in (first, second, third):
            pool.release(session)
        server.idle_since[first] -= KEEP_CONNECTIONS.session_idle
        # The one that is used again is not idle since then.
        assert await pool.acquire(hop) is third
        pool.release(third)
        server.timer.cancel()
        pool._expire(server)
        await wait_for(lambda: pool.open == 2)
        assert list(server.idle) == [second, third] and set(server.idle_since) == {second, third}
        assert server.timer.when() == server.idle_since[second] + KEEP_CONNECTIONS.session_idle
        pool.close()
        await wait_for(lambda: campus.a.open == pool.open == 0)
        assert server.timer is None


class TestLimits:
    async def test_connections_to_one_server_are_limited_and_others_are_served(self, make_campus):
        campus = await make_campus(
            timeouts=KEEP_CONNECTIONS,
            limits=Limits(max_connections_per_next_hop=2, max_transactions=7),
        )
        clients = [await campus.connect() for _ in range(7)]
        held = [asyncio.create_task(client.start("alice@a.univ.example")) for client in clients[:6]]
        # Two have a connection, two wait for one, and the others get a reply at once.
        await wait_for(lambda: sum(task.done() for task in held) == 4)
        done = [number for number, task in enumerate(held) if task.done()]
        assert sorted(held[number].result()[0][:3] for number in done) == ["250", "250", "450", "450"]
        assert campus.a.open <= 2
        assert (await send_hello(clients[6], "bob@b.univ.example")).startswith("250")
        assert sum(task.done() for task in held) == 4
        for number in done:
            await clients[number].say("RSET")
        assert [(await task)[0][:3] for number, task in enumerate(held) if number not in done] == ["250", "250"]

    async def test_a_slow_server_does_not_delay_other_mail(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        client, other = await campus.connect(), await campus.connect()
        campus.a.banner = "220-"
        waiting = asyncio.create_task(client.start("alice@a.univ.example"))
        await wait_for(lambda: campus.a.open == 1)
        assert (await send_hello(other, "bob@b.univ.example")).startswith("250")
        assert not waiting.done()
        waiting.cancel()

    async def test_the_next_client_does_not_wait_for_a_slow_server(self, make_campus, monkeypatch):
        monkeypatch.setattr("mailgate.client.pool.DOWN_SECONDS", 600)
        campus = await make_campus(timeouts=replace(KEEP_CONNECTIONS, next_hop_command=0.3))
        client = await campus.connect()
        campus.a.banner = "220-"
        assert (await client.start("alice@a.univ.example"))[0].startswith("450")
        tried = campus.a.connections
        assert tried > 0
        assert (await client.say("RCPT TO:<bob@a.univ.example>")).startswith("450")
        assert campus.a.connections == tried

    async def test_probes_of_a_slow_server_do_not_delay_other_mail(self, make_campus):
        async with probing_a_slow_server(make_campus, "alice@a.univ.example") as (_campus, client):
            assert (await send_hello(client, "bob@b.univ.example")).startswith("250")

    async def test_a_waiter_gets_the_released_connection(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS, limits=Limits(max_connections_per_next_hop=1))
        campus.a.rcpt = only_alice_and_bob
        first, second = await campus.connect(), await campus.connect()
        await first.start("alice@a.univ.example")
        waiting = asyncio.create_task(second.start("bob@a.univ.example"))
        await wait_for(lambda: campus.gateway.delivery.pool.contended)
        assert not waiting.done()
        assert (await first.send(MESSAGE)).startswith("250")
        assert (await waiting)[0].startswith("250")
        assert (await second.send(MESSAGE)).startswith("250")
        assert campus.a.connections == 1
