# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slow clients from many addresses: ordinary mail continues."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from gateway_doubles import Campus, Client, wait_for

from mailgate.config import Limits, Tls

MESSAGE = b"Subject: x\r\n\r\nHello.\r\n"
PLACES = Limits(max_connections=40)
ATTACKERS = [f"127.{network}.0.{host}" for network in (1, 2) for host in range(1, 11)]


async def connect(campus: Campus, address: str) -> Client:
    """Connect from an address of the loopback network."""
    client = Client(*await asyncio.open_connection("127.0.0.1", campus.port, local_addr=(address, 0)))
    campus.clients.append(client)
    return client


async def fill(campus: Campus, number: int, *lines: str) -> list[Client]:
    """Take places, each with a byte of a command after these lines."""
    slow = []
    for _, address in zip(range(number), itertools.cycle(ATTACKERS), strict=False):
        client = await connect(campus, address)
        assert (await client.reply()).startswith("220")
        for line in lines:
            await client.say(line)
        client.writer.write(b"E")
        slow.append(client)
    return slow


async def deliver(campus: Campus, address: str, recipient: str = "alice@a.univ.example") -> str:
    client = await connect(campus, address)
    greeting = await client.reply()
    if not greeting.startswith("220"):
        return greeting
    await client.hello()
    [reply] = await client.start(recipient)
    return await client.send(MESSAGE) if reply.startswith("250") else reply


def advance(campus: Campus, seconds: float) -> None:
    """Let admission's clock go forward."""
    admission = campus.gateway.admission
    clock = admission.clock
    admission.clock = lambda: clock() + seconds


class TestConnections:
    async def test_a_client_with_history_delivers_while_slow_clients_hold_all_places(self, make_campus):
        campus = await make_campus(limits=PLACES)
        campus.gateway.admission.min_idle = 3600
        assert (await deliver(campus, "127.9.0.1")).startswith("250")
        campus.clients[0].writer.close()
        await wait_for(lambda: campus.gateway.worker_counters.connections == 0)
        await fill(campus, 40)
        assert (await deliver(campus, "127.8.0.1")).startswith("421 4.3.2"), "a stranger waits"
        assert (await deliver(campus, "127.9.0.2")).startswith("250"), "another host of the network with history"
        assert campus.gateway.worker_counters.connections == 40

    async def test_a_new_client_delivers_after_seconds(self, make_campus):
        campus = await make_campus(limits=PLACES)
        campus.gateway.admission.min_idle = 30
        slow = await fill(campus, 40)
        assert (await deliver(campus, "127.8.0.1")).startswith("421 4.3.2")
        advance(campus, 30)
        assert (await deliver(campus, "127.8.0.1")).startswith("250")
        assert (await slow[0].reply()).startswith("421 4.3.2 Too many connections")
        with pytest.raises((EOFError, ConnectionError)):
            await slow[0].reply()

    async def test_slow_clients_time_out_in_seconds_and_their_places_are_free(self, make_campus):
        campus = await make_campus(limits=PLACES)
        slow = await fill(campus, 40)
        advance(campus, 11)
        replies = await asyncio.gather(*(client.reply() for client in slow[:11]))
        assert [reply[:9] for reply in replies] == ["421 4.4.2"] * 11
        await wait_for(lambda: len(campus.gateway.sessions) == 29)
        assert campus.gateway.worker_counters.connections == 29
        assert (await deliver(campus, "127.8.0.1")).startswith("250")

    async def test_idle_commands_do_not_keep_a_place(self, make_campus):
        campus = await make_campus(limits=PLACES)
        slow = await fill(campus, 30)
        slow[0].writer.write(b"HLO x\r\n")
        await slow[0].reply()
        replies = [await slow[0].say("NOOP") for _ in range(5)]
        assert replies[-1] == "421 4.7.0 Too many commands without a mail transaction"

    async def test_clients_that_do_not_read_are_closed(self, make_campus):
        campus = await make_campus(limits=PLACES)
        [client] = await fill(campus, 1)
        # Replies that are never read: the client's receive buffer fills up, then ours.
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(b"HLO\r\n" + b"EHLO x\r\n" * 100_000)
        [session] = campus.gateway.sessions
        await wait_for(lambda: session._visit.ranking is None or session._writing_paused)
        await fill(campus, 35)
        advance(campus, 11)
        await wait_for(lambda: session not in campus.gateway.sessions)


class TestHandshakes:
    @pytest.mark.parametrize("way", ["reset", "timeout", "displaced"])
    async def test_an_unfinished_handshake_frees_its_place(self, make_campus, certificate, monkeypatch, way):
        monkeypatch.setattr("mailgate.server.protocol.TLS_SECONDS", 0.2 if way == "timeout" else 60)
        campus = await make_campus(tls=Tls(*certificate), limits=PLACES)
        client = await campus.connect()
        [session] = campus.gateway.sessions
        assert (await client.say("STARTTLS")).startswith("220")
        if way == "reset":
            client.writer.transport.abort()
        elif way == "displaced":
            await fill(campus, 35)
            advance(campus, 11)
        await wait_for(lambda: session not in campus.gateway.sessions)
        assert campus.gateway.worker_counters.connections == len(campus.gateway.sessions)


class TestTransactions:
    async def test_slow_clients_past_rcpt_do_not_keep_a_next_hop_to_themselves(self, make_campus):
        campus = await make_campus(
            limits=Limits(max_connections_per_next_hop=4),
        )
        begin = ("EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<alice@a.univ.example>")
        await fill(campus, 4, *begin)
        assert campus.a.open == 4
        other = asyncio.create_task(deliver(campus, "127.8.0.1", "bob@a.univ.example"))
        await wait_for(lambda: campus.gateway.delivery.pool.contended)
        advance(campus, 6)
        assert (await other).startswith("250")
        assert len(campus.a.received) == 1

    async def test_slow_data_ends(self, make_campus):
        campus = await make_campus(limits=Limits(max_transactions=2))
        begin = ("EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<alice@a.univ.example>", "DATA")
        slow = await fill(campus, 2, *begin)
        assert (await deliver(campus, "127.8.0.1")).startswith("451 4.3.2")
        advance(campus, 11)
        for client in slow:
            assert (await client.reply()).startswith("421 4.4.2")
        await wait_for(lambda: campus.gateway.worker_counters.transactions == 0)
        assert (await deliver(campus, "127.8.0.1")).startswith("250")
        assert len(campus.a.received) == 1
        assert campus.gateway.budget.used == 0

    async def test_a_server_that_hangs_does_not_take_the_places_of_other_mail(self, make_campus):
        campus = await make_campus()
        campus.a.mail = "250-"
        held = []
        for number in range(126):
            client = await connect(campus, ATTACKERS[number % 20])
            await client.reply()
            await client.hello()
            held.append(asyncio.create_task(client.start("alice@a.univ.example")))
        await wait_for(lambda: campus.gateway.worker_counters.transactions == 126)
        assert (await deliver(campus, "127.8.0.1", "bob@b.univ.example")).startswith("250")
        assert not any(task.done() for task in held[:20])
        for task in held:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*held)
