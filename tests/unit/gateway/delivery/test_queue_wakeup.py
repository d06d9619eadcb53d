# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue is flushed when a server is up again."""

from __future__ import annotations

from gateway_doubles import (
    KEEP_CONNECTIONS,
    catch_all_probed,
    only_alice_and_bob,
    send_hello,
    wait_for,
)

from mailgate.delivery.queue_wakeup import QueueFlushTrigger
from mailgate.routes import NextHop


class TestFlush:
    async def test_the_queue_is_flushed_when_a_server_is_up_again(self, make_campus, monkeypatch):
        monkeypatch.setattr("mailgate.delivery.queue_wakeup.FIRST_SECONDS", 0.1)
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice_and_bob
        client = await campus.connect()
        await send_hello(client)
        await catch_all_probed(campus)
        campus.gateway.delivery.pool.close()
        await wait_for(lambda: campus.a.open == 0)
        campus.a.banner = None
        assert (await send_hello(client)).startswith("250")
        assert len(campus.queue.received) == 1
        campus.a.banner = "220 back"
        await wait_for(lambda: "ETRN a.univ.example" in campus.queue.commands)

    async def test_a_server_is_probed_once(self, campus, monkeypatch):
        monkeypatch.setattr("mailgate.delivery.queue_wakeup.FIRST_SECONDS", 0.1)
        pool, hops = campus.gateway.delivery.pool, (NextHop("127.0.0.1", campus.a.port),)
        flush_trigger = QueueFlushTrigger(pool, campus.gateway.delivery.queue_hop, campus.gateway.events)
        flush_trigger.watch(hops, {"a.example"})
        flush_trigger.watch(hops, {"b.example"})
        await wait_for(lambda: sum(command.startswith("ETRN") for command in campus.queue.commands) == 2)
        assert [command for command in campus.queue.commands if command.startswith("ETRN")] == [
            "ETRN a.example",
            "ETRN b.example",
        ]
        assert campus.a.connections == 1
        flush_trigger.stop()
