# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Misbehaving clients and servers, exhausted resources: other mail continues, nothing is left over."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
from dataclasses import replace

import pytest
from gateway_doubles import PATIENCE, PATIENT, Campus, Client, wait_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailgate.config import Limits

MESSAGE = b"Subject: x\r\n\r\nHello.\r\n"


DIALOGUE = (
    b"EHLO x.example\r\nMAIL FROM:<a@sender.example> SIZE=30\r\nRCPT TO:<alice@a.univ.example>\r\n"
    b"DATA\r\nSubject: cut\r\n\r\nHello.\r\n.\r\nQUIT\r\n"
)


async def still(campus: Campus) -> None:
    """Wait until all sessions, connections and buffers are released."""
    gateway = campus.gateway
    await wait_for(lambda: not (gateway.sessions or gateway.tasks or campus.a.open or gateway.delivery.pool.open))
    assert gateway.worker_counters.connections == gateway.budget.used == 0


async def deliver(campus: Campus, recipient: str = "alice@a.univ.example") -> None:
    client = await campus.connect()
    assert (await client.start(recipient))[0].startswith("250")
    assert (await client.send(MESSAGE)).startswith("250")
    await client.say("QUIT")


async def farewell(client: Client) -> bytes:
    """Return the reply that ends the session; later input may reset the connection."""
    while not (line := await asyncio.wait_for(client.reader.readline(), PATIENCE)).startswith(b"421") and line:
        pass
    return line


async def in_place_of(hop, serve) -> asyncio.Server:
    """Start another server at the address of `hop`."""
    hop.stop()
    return await asyncio.start_server(serve, "127.0.0.1", hop.port)


async def slowly(writer: asyncio.StreamWriter, content: bytes) -> None:
    for byte in content:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.2)


WORDS = st.sampled_from(
    [b"EHLO x.example", b"HELO x", b"MAIL FROM:<a@x.example>", b"MAIL FROM:<>", b"RCPT TO:<alice@a.univ.example>",
     b"RCPT TO:<x@elsewhere.example>", b"RCPT TO:<x%elsewhere.example@a.univ.example>", b"RSET", b"NOOP", b"DATA",
     b"RCPT TO:<@a.univ.example:x@elsewhere.example>", b'RCPT TO:<"x@elsewhere.example"@a.univ.example>', b"VRFY x",
     b"MAIL FROM:<a@x.example> SMTPUTF8 BODY=8BITMIME", "RCPT TO:<é@a.univ.example>".encode(), b"STARTTLS", b"HELP",
     b".", b"", b"BDAT 5 LAST", b"AUTH PLAIN =", b"MAIL FROM:<a@x.example> SIZE=99999999999999999999"]
)  # fmt: skip


NOISE = st.binary(max_size=40)


LINE = st.tuples(st.one_of(WORDS, NOISE), st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\0\r\n"]))


class TestClients:
    @pytest.mark.parametrize("politely", [True, False])
    async def test_a_disconnect_at_every_byte(self, make_campus, politely):
        campus = await make_campus(limits=Limits(max_connections=1000, max_connections_per_client=1000))
        for end in range(len(DIALOGUE)):
            _reader, writer = await asyncio.open_connection("127.0.0.1", campus.port)
            writer.write(DIALOGUE[:end])
            await asyncio.sleep(0)
            if politely:
                writer.close()
            else:
                writer.transport.abort()
        # Connections are accepted in order: with this one, all others have been.
        await deliver(campus)
        campus.a.received.pop()
        await still(campus)
        whole = b"Subject: cut\r\n\r\nHello.\r\n"
        assert all(got.content.endswith(whole) for got in campus.a.received), "no part of a message was ever delivered"
        assert campus.queue.received == []
        await deliver(campus)

    async def test_a_client_of_one_byte_at_a_time_delays_nobody_and_is_ended(self, make_campus):
        campus = await make_campus(timeouts=replace(PATIENT, command=2, data_idle=2, data_total=2))
        slow = await campus.connect(hello=False)
        ended = asyncio.create_task(farewell(slow))
        for byte in b"EHLO " + b"a-name-that-takes-long-to-say." * 4 + b"example\r\n":
            if ended.done():
                break
            slow.writer.write(bytes([byte]))
            await asyncio.sleep(0.03)
        await deliver(campus)
        assert (await ended).startswith(b"421 4.4.2"), "a command as a whole has its deadline"
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        await client.say("DATA")
        ended = asyncio.create_task(farewell(client))
        while not ended.done():
            client.writer.write(b"x")
            await asyncio.sleep(0.03)
        assert ended.result().startswith(b"421 4.4.2 Timeout exceeded")
        await still(campus)

    async def test_a_thousand_idle_connections_are_limited(self, make_campus):
        campus = await make_campus(limits=Limits(max_connections=100, max_connections_per_client=10_000))
        # No client becomes idle enough to give way to another.
        campus.gateway.admission.clock = lambda: 0.0
        idle = []
        for _ in range(1000):
            try:
                idle.append(await asyncio.open_connection("127.0.0.1", campus.port))
            except OSError:
                break
        greetings = [await asyncio.wait_for(reader.readline(), PATIENCE) for reader, _writer in idle]
        assert sum(greeting.startswith(b"220") for greeting in greetings) == 100
        assert sum(greeting.startswith(b"421 4.3.2") for greeting in greetings) == len(idle) - 100
        for _reader, writer in idle:
            writer.transport.abort()
        await still(campus)
        await deliver(campus)

    @given(st.lists(LINE, max_size=14), st.integers(1, 200))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    async def test_any_dialogue_gets_valid_replies(self, make_campus, lines, step):
        campus = await make_campus()
        data = b"".join(text + end for text, end in lines) + b"\r\n.\r\nRSET\r\nQUIT\r\n"
        client = Client(*await asyncio.open_connection("127.0.0.1", campus.port))
        campus.clients.append(client)
        for start in range(0, len(data), step):
            client.writer.write(data[start : start + step])
        client.writer.write_eof()
        with contextlib.suppress(ConnectionError):
            answers = (await asyncio.wait_for(client.reader.read(), PATIENCE)).split(b"\r\n")
            assert answers[-1] == b"", "whole lines only"
            for answer in answers[:-1]:
                assert answer[:1] in b"2345" and answer[3:4] in (b" ", b"-"), answer
                assert b"Traceback" not in answer and b"Error" not in answer.replace(b"Internal error", b""), answer
                assert not answer.startswith(b"451 4.3.0"), "internal error"
        assert not any("elsewhere" in line for line in campus.a.commands + campus.queue.commands), "no relay"
        for peer in (campus.a, campus.b, campus.queue, campus.clamd):
            peer.stop()


async def slow_greeting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
        await slowly(writer, b"220 a server that takes its time\r\n" * 100)
    writer.close()


async def slow_reply_to_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        writer.write(b"220 server\r\n")
        for answer in (b"250 server", b"250 ok", b"250 ok", b"354 go"):
            await reader.readuntil(b"\r\n")
            writer.write(answer + b"\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        await slowly(writer, b"250-2.0.0 taken, after a while\r\n" * 100)
    writer.close()


class TestServers:
    """Servers of one byte at a time."""

    async def test_a_slow_greeting_is_given_up(self, make_campus):
        campus = await make_campus(timeouts=replace(PATIENT, next_hop_command=1))
        server = await in_place_of(campus.a, slow_greeting)
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("450")
        server.close()

    async def test_a_slow_reply_to_data_is_given_up_and_the_queue_has_the_message(self, make_campus):
        campus = await make_campus(timeouts=replace(PATIENT, next_hop_data=1))
        server = await in_place_of(campus.a, slow_reply_to_data)
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.queue.received) == 1 and campus.count("answers_lost") == 1
        server.close()

    @pytest.mark.parametrize("serve", [slow_greeting, slow_reply_to_data])
    async def test_other_mail_does_not_wait(self, campus, serve):
        server = await in_place_of(campus.a, serve)
        client = await campus.connect()

        async def send() -> None:
            await client.start("alice@a.univ.example")
            await client.send(MESSAGE)

        waiting = asyncio.create_task(send())
        await deliver(campus, "bob@b.univ.example")
        assert not waiting.done()
        waiting.cancel()
        server.close()


class TestResources:
    async def test_no_file_handles_left(self, make_campus):
        campus = await make_campus()
        client = await campus.connect()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Handles that earlier tests left to the garbage collector must not become free later.
        gc.collect()
        spare = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
            with contextlib.suppress(OSError):
                while True:
                    spare.append(open("/dev/null"))  # noqa: ASYNC230, PTH123, SIM115
            answer = (await client.start("alice@a.univ.example"))[0]
        finally:
            for handle in spare:
                handle.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert answer.startswith("450"), "no session can be opened, so the sender is to come again"
        assert (await client.say("RCPT TO:<alice@a.univ.example>")).startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")

    async def test_a_full_disk_loses_nothing(self, databases, campus):
        for database in databases:
            database.full = True

        def no_space(_: str) -> int:
            raise OSError(28, "No space left on device")

        campus.output.write = no_space  # type: ignore[method-assign]
        await deliver(campus)
        assert len(campus.a.received) == 1
