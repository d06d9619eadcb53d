# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's connection: timeouts, pipelining, disconnects and input limits, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import replace

import pytest
from gateway_doubles import PATIENCE, PATIENT, Client, wait_for

from mailgate.config import Limits
from mailgate.gateway import INTERNAL_ERROR

SHORT = {"timeouts": replace(PATIENT, command=1, data_idle=1)}


def reset(client: Client) -> None:
    """Reset the connection."""
    linger = struct.pack("ii", 1, 0)
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.writer.transport.abort()


class TestTimeouts:
    async def test_a_slow_delivery_does_not_hit_the_idle_timeout(self, make_campus):
        campus = await make_campus(**SHORT)
        campus.a.before_final = lambda: asyncio.sleep(1.5)
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
        assert len(campus.a.received) == 1

    async def test_steady_data_does_not_hit_the_idle_timeout(self, make_campus, monkeypatch):
        campus = await make_campus(timeouts=replace(PATIENT, data_idle=600, data_total=36000))
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        await client.say("DATA")
        loop, [session] = asyncio.get_running_loop(), campus.gateway.sessions
        for _ in range(5):
            # Each line comes long after the one before it.
            monkeypatch.setattr(loop, "time", lambda now=loop.time: now() + 350)
            before = session._deadline
            client.writer.write(b"line\r\n")
            await wait_for(lambda before=before: session._deadline > before)
        client.writer.write(b".\r\n")
        assert (await client.reply()).startswith("250")

    async def test_silence_ends_the_session(self, make_campus):
        campus = await make_campus(**SHORT)
        idle, sending = await campus.connect(), await campus.connect()
        await sending.start("alice@a.univ.example")
        await sending.say("DATA")
        sending.writer.write(b"half a line")
        assert (await idle.reply()).startswith("421 4.4.2")
        assert (await sending.reply()).startswith("421 4.4.2")
        assert await sending.reader.read() == b""
        assert campus.gateway.budget.used == 0
        assert campus.a.received == []


class TestDisconnect:
    @pytest.mark.parametrize("way", ["close", "reset"])
    async def test_a_disconnect_after_the_final_dot_does_not_stop_the_delivery(self, campus, way):
        reached, go = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            reached.set()
            await go.wait()

        campus.a.before_final = hold
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        await client.say("DATA")
        client.writer.write(b"Subject: x\r\n\r\n.\r\n")
        await reached.wait()
        if way == "reset":
            reset(client)
            await wait_for(lambda: not campus.gateway.sessions)
        else:
            client.writer.close()
            await asyncio.sleep(0.05)
        go.set()
        await campus.gateway.finish(60)
        assert len(campus.a.received) == 1
        assert campus.count("processed") == 1

    async def test_a_message_that_a_stop_cancels_ends_its_session_and_frees_its_memory(self, campus):
        campus.clamd.pause = PATIENCE
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        sending = asyncio.create_task(client.send(b"Subject: x\r\n\r\n"))
        await wait_for(lambda: campus.clamd.scans)
        assert campus.gateway.budget.used
        # Verification in the background may be another task.
        assert await campus.gateway.finish(0) >= 1
        await wait_for(lambda: not campus.gateway.sessions and not campus.gateway.budget.used)
        with pytest.raises((EOFError, ConnectionError)):
            await sending
        assert campus.a.received == []

    async def test_a_message_that_fails_at_its_end_is_deferred(self, campus, monkeypatch):
        def fail(*_arguments, **_words):
            raise OSError("broken")

        monkeypatch.setattr(campus.gateway.duplicates, "mark", fail)
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        content = b"Message-ID: <1@x.example>\r\nDate: 1 Dec 2026 10:00:00 +0000\r\n\r\nx\r\n"
        assert (await client.send(content)).startswith("451")
        assert campus.gateway.budget.used == 0

    async def test_a_disconnect_within_the_message_delivers_nothing(self, campus):
        for cut in (b"", b"Subject: x\r\n\r\n", b"Subject: x\r\n\r\ntext\r\n.", b"Subject: x\r\n\r\ntext\r\n.\r"):
            client = await campus.connect()
            await client.start("alice@a.univ.example")
            await client.say("DATA")
            client.writer.write(cut)
            await client.writer.drain()
            client.writer.close()
        await wait_for(lambda: not campus.gateway.sessions and campus.a.open == 0)
        assert campus.a.received == campus.queue.received == []
        assert campus.gateway.budget.used == 0

    async def test_a_half_closed_connection_gets_all_replies(self, campus):
        client = await campus.connect(hello=False)
        client.writer.write(
            b"EHLO x.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@a.univ.example>\r\nDATA\r\n"
            b"Subject: x\r\n\r\n.\r\nQUIT\r\n"
        )
        client.writer.write_eof()
        answers = (await client.reader.read()).decode().splitlines()
        assert [answer[:4] for answer in answers if answer[3] == " "] == [
            "250 ",
            "250 ",
            "250 ",
            "354 ",
            "250 ",
            "221 ",
        ]
        assert len(campus.a.received) == 1

    async def test_a_stop_sends_421_to_idle_clients_and_lets_busy_ones_finish(self, campus):
        idle, busy = await campus.connect(), await campus.connect()
        await busy.start("alice@a.univ.example")
        campus.gateway.draining = True
        for session in list(campus.gateway.sessions):
            session.drain()
        assert (await idle.reply()).startswith("421 4.3.2")
        assert (await busy.send(b"Subject: x\r\n\r\n")).startswith("250")
        assert (await busy.reply()).startswith("421 4.3.2")
        reader, writer = await asyncio.open_connection("127.0.0.1", campus.port)
        assert (await reader.readline()).startswith(b"421 4.3.2")
        writer.close()

    async def test_a_connection_reset_leaves_nothing_behind(self, campus):
        for _ in range(5):
            client = await campus.connect()
            await client.start("alice@a.univ.example")
            reset(client)
        await wait_for(lambda: not campus.gateway.sessions and campus.a.open == 0)
        assert campus.gateway.worker_counters.connections == 0


class TestInput:
    @pytest.mark.parametrize("step", [1, 2, 3, 7])
    async def test_pipelined_input_split_anywhere(self, campus, step):
        dialogue = (
            b"EHLO x.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@a.univ.example>\r\nDATA\r\n"
            b"Subject: 1\r\n\r\n..\r\n...\r\n.\r\n"
            b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<bob@a.univ.example>\r\nDATA\r\n"
            b"Subject: 2\r\n\r\nx\r\n.\r\nQUIT\r\n"
        )
        client = await campus.connect(hello=False)
        for start in range(0, len(dialogue), step):
            client.writer.write(dialogue[start : start + step])
            await asyncio.sleep(0)
        await client.reader.read()
        assert [got.content.partition(b"Subject")[2] for got in campus.a.received] == [
            b": 1\r\n\r\n.\r\n..\r\n",
            b": 2\r\n\r\nx\r\n",
        ]

    async def test_commands_in_one_packet_are_answered_in_order_up_to_the_last_one(self, campus):
        client = await campus.connect()
        client.writer.write(
            b"NOOP\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<x@elsewhere.example>\r\n"
            b"RCPT TO:<alice@a.univ.example>\r\nNO\0OP\r\n" + b"x" * 3000 + b"\r\n"
            b"RSET\r\nRCPT TO:<alice@a.univ.example>\r\nQUIT\r\nNOOP\r\n"
        )
        codes = [line[:9].decode() for line in (await client.reader.read()).splitlines()]
        assert codes == [
            "250 2.0.0", "250 2.1.0", "550 5.7.1", "250 2.1.5", "500 5.5.2", "500 5.5.2", "250 2.0.0", "503 5.5.1",
            "221 2.0.0",
        ]  # fmt: skip

    async def test_an_unfinished_command_does_not_extend_the_time_for_it(self, make_campus):
        campus = await make_campus(timeouts=replace(PATIENT, command=300))
        client = await campus.connect()
        [session] = campus.gateway.sessions
        deadline = session._deadline
        client.writer.write(b"NO")
        await wait_for(lambda: session.unread)
        assert session._deadline == deadline
        client.writer.write(b"OP\r\n")
        assert (await client.reply()).startswith("250")
        assert session._deadline > deadline

    async def test_a_client_that_does_not_read_is_asked_for_no_more_commands(self, campus):
        client = await campus.connect()
        [session] = campus.gateway.sessions
        session.pause_writing()
        client.writer.write(b"NOOP\r\n" * 3)
        assert (await client.reply()).startswith("250")
        await wait_for(lambda: session._write_waiter)
        assert session.unread
        session.resume_writing()
        assert [(await client.reply())[:3] for _ in range(2)] == ["250", "250"]

    async def test_an_endless_command_line_is_ended(self, campus):
        client = await campus.connect()
        for _ in range(200):
            client.writer.write(b"x" * 10_000)
        with contextlib.suppress(ConnectionError):
            assert (await client.reply()).startswith("421")
        assert (await (await campus.connect()).say("NOOP")).startswith("250")

    async def test_a_large_message_is_read_in_bulk(self, campus):
        line = b"." + b"x" * 70 + b"\r\n"
        content = b"Subject: big\r\n\r\n" + line * 100_000
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(content.replace(b"\r\n.", b"\r\n.."))).startswith("250")
        assert campus.a.received[0].content.endswith(content)
        assert campus.gateway.budget.used == 0

    async def test_too_many_commands_end_the_session(self, campus):
        client = await campus.connect()
        client.writer.write(b"NOOP\r\n" * 5000)
        answers = (await client.reader.read()).splitlines()
        assert len(answers) <= 101
        assert answers[-1].startswith(b"421 4.7.0")


def tasks_of_sessions() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_coro().__qualname__.startswith("Protocol.")]


class TestTasks:
    """A session has a task only while something has to wait."""

    async def test_refusals_need_no_task(self, campus):
        client = await campus.connect()
        [session] = campus.gateway.sessions
        started = []
        session._wait_for = lambda work: started.append(work) or session._reply(INTERNAL_ERROR)
        for line in ("MAIL FROM:<a@sender.example>", "RCPT TO:<x@elsewhere.example>", "NONSENSE", "RSET", "NOOP"):
            await client.say(line)
            assert tasks_of_sessions() == []
        assert (await client.say("QUIT")).startswith("221")
        await wait_for(lambda: not campus.gateway.sessions)
        assert started == []
        assert len(campus.recorded("connection")) == 1

    async def test_a_deferred_guess_needs_no_task(self, make_campus):
        campus = await make_campus(limits=Limits(max_unknown_recipients_per_client=1))
        for _ in range(5):
            campus.gateway.unknown_recipients.count("127.0.0.1", "a.univ.example", unknown=True)
        client = await campus.connect()
        [session] = campus.gateway.sessions
        started = []
        session._wait_for = lambda work: started.append(work) or session._reply(INTERNAL_ERROR)
        assert (await client.start("alice@a.univ.example"))[0].startswith("450 4.7.1")
        assert started == []

    async def test_a_session_whose_task_waits_executes_no_command(self, campus):
        go = asyncio.Event()
        campus.a.before_final = go.wait
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        await client.say("DATA")
        client.writer.write(b"Subject: x\r\n\r\n.\r\nNOOP\r\nQUIT\r\n")
        [session] = campus.gateway.sessions
        await wait_for(lambda: session.unread)
        assert len(tasks_of_sessions()) == 1
        go.set()
        assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "221"]
        await wait_for(lambda: not tasks_of_sessions())

    @pytest.mark.parametrize("begun", [False, True])
    async def test_a_client_that_is_lost_during_a_command_leaves_nothing_behind(self, campus, begun):
        client = await campus.connect()
        await client.start("alice@a.univ.example", "bob@a.univ.example")
        [session] = campus.gateway.sessions
        # The task for this command has not begun when the connection is lost.
        session.data_received(b"RCPT TO:<carol@a.univ.example>\r\n")
        assert session._waiting
        if begun:
            await asyncio.sleep(0)
        transport = session.transport
        session.connection_lost(None)
        await wait_for(lambda: campus.recorded("connection") and campus.a.open == 0)
        transport.abort()
        await wait_for(lambda: not tasks_of_sessions())
        assert [event["recipients"] for event in campus.recorded("abandoned")] == [
            ["alice@a.univ.example", "bob@a.univ.example"]
        ]
        assert len(campus.recorded("connection")) == 1
        assert campus.gateway.worker_counters.transactions == 0

    async def test_a_session_that_is_given_up_is_logged_once(self, campus):
        client, idle = await campus.connect(), await campus.connect()
        await client.start("alice@a.univ.example")
        for session in list(campus.gateway.sessions):
            session.give_up()
        assert len(campus.recorded("abandoned")) == 1
        assert len(campus.recorded("connection")) == 2
        for each in (client, idle):
            each.writer.transport.abort()
        await wait_for(lambda: not campus.gateway.sessions)
        assert len(campus.recorded("abandoned")) == 1
        assert len(campus.recorded("connection")) == 2

    async def test_an_error_outside_of_commands_ends_the_session(self, campus, monkeypatch, caplog):
        client = await campus.connect()
        [session] = campus.gateway.sessions
        monkeypatch.setattr(session, "line_overrun", lambda: 1 / 0)
        client.writer.write(b"x" * 3000)
        assert await client.reply() == "421 4.3.0 Internal error; try again later"
        assert await client.reader.read() == b""
        assert "ZeroDivisionError" in caplog.text
        assert campus.recorded("connection")[0]["reply"] == "421 4.3.0 Internal error; try again later"

    async def test_the_last_reply_waits_for_a_client_that_does_not_read(self, campus):
        client = await campus.connect()
        [session] = campus.gateway.sessions
        session.pause_writing()
        client.writer.write(b"QUIT\r\n")
        assert (await client.reply()).startswith("221")
        await wait_for(lambda: session._write_waiter)
        assert campus.recorded("connection") == []
        session.resume_writing()
        assert await client.reader.read() == b""
        await wait_for(lambda: campus.recorded("connection"))
