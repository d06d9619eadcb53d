# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plain aiosmtpd gets wrong, and the grammar of the conversation, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest
from gateway_doubles import Client

from mailgate.config import Limits, MessageFormat, Timeouts

SHORT = {"timeouts": Timeouts(command=1, data_idle=1, connect=2, next_hop_command=2, next_hop_data=4, scan=2, queue=2)}


def reset(client: Client) -> None:
    """End the connection by RST."""
    linger = struct.pack("ii", 1, 0)
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.writer.transport.abort()


async def test_a_slow_hand_over_outlasts_the_idle_timeout(make_campus):
    campus = await make_campus(**SHORT)
    campus.a.before_final = lambda: asyncio.sleep(1.5)
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
    assert len(campus.a.received) == 1


async def test_steady_data_outlasts_the_idle_timeout(make_campus):
    campus = await make_campus(**SHORT)
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    await client.say("DATA")
    for _ in range(5):
        client.writer.write(b"line\r\n")
        await asyncio.sleep(0.3)
    client.writer.write(b".\r\n")
    assert (await client.reply()).startswith("250")


async def test_silence_ends_the_conversation(make_campus):
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


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_client_that_leaves_after_the_final_dot_does_not_stop_the_hand_over(campus, way):
    reached, go = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await go.wait()

    campus.a.before_final = hold
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    await client.say("DATA")
    client.writer.write(b"Subject: x\r\n\r\n.\r\n")
    await asyncio.wait_for(reached.wait(), 2)
    if way == "reset":
        reset(client)
        await asyncio.sleep(0.05)
        assert not campus.gateway.sessions, "the connection is gone"
    else:
        client.writer.close()
        await asyncio.sleep(0.05)
    go.set()
    await campus.gateway.finish(2)
    assert len(campus.a.received) == 1
    assert campus.count("processed") == 1


async def test_client_that_leaves_within_the_message_delivers_nothing(campus):
    for cut in (b"", b"Subject: x\r\n\r\n", b"Subject: x\r\n\r\ntext\r\n.", b"Subject: x\r\n\r\ntext\r\n.\r"):
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        await client.say("DATA")
        client.writer.write(cut)
        await client.writer.drain()
        client.writer.close()
    await asyncio.sleep(0.2)
    assert campus.a.received == campus.queue.received == []
    assert campus.a.open == 0
    assert campus.gateway.budget.used == 0


async def test_client_that_closes_its_side_gets_all_answers(campus):
    client = await campus.connect(hello=False)
    client.writer.write(
        b"EHLO x.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@a.univ.example>\r\nDATA\r\n"
        b"Subject: x\r\n\r\n.\r\nQUIT\r\n"
    )
    client.writer.write_eof()
    answers = (await client.reader.read()).decode().splitlines()
    assert [answer[:4] for answer in answers if answer[3] == " "] == ["250 ", "250 ", "250 ", "354 ", "250 ", "221 "]
    assert len(campus.a.received) == 1


@pytest.mark.parametrize("step", [1, 2, 3, 7])
async def test_pipelined_and_split_anywhere(campus, step):
    dialogue = (
        b"EHLO x.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@a.univ.example>\r\nDATA\r\n"
        b"Subject: 1\r\n\r\n..\r\n...\r\n.\r\n"
        b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<bob@a.univ.example>\r\nDATA\r\nSubject: 2\r\n\r\nx\r\n.\r\nQUIT\r\n"
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


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n"])
async def test_no_other_end_of_data_works(campus, end):
    smuggled = b"MAIL FROM:<evil@a.univ.example>\r\nRCPT TO:<bob@a.univ.example>\r\nDATA\r\nSubject: smuggled\r\n"
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(b"Subject: x\r\n\r\ntext" + end + smuggled)).startswith("554 5.6.0")
    assert campus.a.received == campus.queue.received == []
    assert not any("evil" in command for command in campus.a.commands)


async def test_bare_newlines_are_made_whole_by_policy(make_campus):
    campus = await make_campus(content=MessageFormat(bare_newlines="normalize"))
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(b"Subject: x\n\na\rb\r\r\n.\n\r\n")).startswith("250")
    [got] = campus.a.received
    assert got.content.endswith(b"Subject: x\r\n\r\na b \r\n\n\r\n".replace(b"\n\n\r\n", b"\n\r\n\r\n"))
    assert got.content.count(b"\r") == got.content.count(b"\n") == got.content.count(b"\r\n")


async def test_form_limits(make_campus):
    campus = await make_campus(
        content=MessageFormat(max_line_bytes=1000, max_hops=3),
        limits=Limits(max_message_bytes=5000, max_bytes_in_flight=9000),
    )
    client = await campus.connect()
    for content, answer in (
        (b"Subject: x\r\n\r\n" + b"y" * 998 + b"\r\n", "250"),
        (b"Subject: x\r\n\r\n" + b"y" * 999 + b"\r\n", "554 5.6.0"),
        (b"Subject: x\r\n\r\na\0b\r\n", "554 5.6.0"),
        (b"Received: x\r\n" * 3 + b"\r\nReceived: in the text\r\n", "250"),
        (b"received: x\r\n" * 4 + b"\r\n", "554 5.4.6"),
        (b"Subject: x\r\n\r\n" + (b"y" * 90 + b"\r\n") * 60, "552 5.3.4"),
        (b"", "250"),
    ):
        await client.start("alice@a.univ.example")
        assert (await client.send(content)).startswith(answer), content[:40]
    assert (await client.say("MAIL FROM:<a@x.example> SIZE=5001")).startswith("552 5.3.4")
    assert campus.gateway.budget.used == 0


async def test_message_that_is_all_header_is_refused(campus):
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(b"X-Line: x\r\n" * 100_000)).startswith("554 5.6.0 Header")
    assert campus.clamd.scans == []


async def test_capabilities(campus):
    client = await campus.connect(hello=False)
    answer = await client.hello()
    assert answer.splitlines() == [
        "250-gw1.univ.example",
        "250-PIPELINING",
        "250-SIZE 26214400",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-DSN",
        "250 ENHANCEDSTATUSCODES",
    ]


async def test_commands(make_campus):
    campus = await make_campus(limits=Limits(max_errors=25))
    client = await campus.connect(hello=False)
    for command, answer in (
        ("MAIL FROM:<a@x.example>", "503 5.5.1"),
        ("EHLO", "501 5.5.4"),
        ("EHLO a b", "501 5.5.4"),
        ("HELO pc_7", "250"),
        ("MAIL FROM:<a@x.example> SIZE=1", "555 5.5.4"),
        ("ehlo sender.example", "250"),
        ("RCPT TO:<alice@a.univ.example>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("VRFY alice", "252"),
        ("EXPN staff", "502"),
        ("AUTH PLAIN AGEAYg==", "500"),
        ("STARTTLS", "502"),
        ("XCLIENT ADDR=198.18.0.1", "500"),
        ("NOOP", "250 2.0.0"),
        ("HELP", "214"),
        ("MAIL FROM:a@x.example", "501"),
        ("MAIL FROM:<a@x.example> SMTPUTF8=1", "501"),
        ("MAIL FROM:<a@x.example> MT-PRIORITY=3", "555"),
        ("MAIL FROM:<a@x.example> RET=ALL", "501"),
        ("MAIL FROM:<a@x.example> SIZE=x", "501"),
        ("MAIL FROM:<a@x.example> BODY=BINARYMIME", "501"),
        ("MAIL FROM:<a@x.example> SIZE=10 BODY=8bitmime", "250"),
        ("MAIL FROM:<a@x.example>", "503"),
        ("RCPT TO:<>", "501"),
        ("RCPT TO:<alice@a.univ.example> NOTIFY=NEVER,DELAY", "501"),
        ("RCPT TO:<alice@a.univ.example> RRVS=1", "555"),
        ("RSET now", "501"),
        ("RSET", "250 2.0.0"),
    ):
        assert (await client.say(command)).splitlines()[-1].startswith(answer), command
    assert (await client.say(b"MAIL FROM:<\xc3\xa9@x.example>")).startswith("553 5.6.7")
    assert (await client.say("NOOP " + "x" * 2000)).startswith("500")
    assert (await client.say("NOOP " + "x" * 200_000)).startswith("500")
    assert (await client.say(b"NOOP a\0b")).startswith("500")
    client.writer.write(b"NOOP\n")
    assert (await client.reply()).startswith("421 4.7.0"), "too many errors"
    assert await client.reader.read() == b""


async def test_helo_is_plain_smtp_in_the_trace(campus):
    client = await campus.connect(hello=False)
    await client.say("HELO pc7")
    await client.start("alice@a.univ.example")
    await client.send(b"Subject: x\r\n\r\n")
    assert b"from pc7 ([127.0.0.1])" in campus.a.received[0].content
    assert b" with SMTP id " in campus.a.received[0].content


async def test_an_endless_command_line_is_cut_off(campus):
    client = await campus.connect()
    for _ in range(200):
        client.writer.write(b"x" * 10_000)
    with contextlib.suppress(ConnectionError):
        assert (await client.reply()).startswith("421")
    assert (await (await campus.connect()).say("NOOP")).startswith("250")


async def test_large_message_passes_in_bulk(campus):
    line = b"." + b"x" * 70 + b"\r\n"
    content = b"Subject: big\r\n\r\n" + line * 100_000
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(content.replace(b"\r\n.", b"\r\n.."))).startswith("250")
    assert campus.a.received[0].content.endswith(content)
    assert campus.gateway.budget.used == 0


async def test_idle_clients_are_told_of_a_stop_and_busy_ones_finish(campus):
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


async def test_reset_connection_leaves_nothing_behind(campus):
    for _ in range(5):
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        reset(client)
    await asyncio.sleep(0.2)
    assert campus.gateway.worker_counters.connections == 0
    assert not campus.gateway.sessions
    assert campus.a.open == 0


async def test_endless_talk_is_ended(campus):
    client = await campus.connect()
    client.writer.write(b"NOOP\r\n" * 5000)
    answers = (await client.reader.read()).splitlines()
    assert len(answers) <= 101
    assert answers[-1].startswith(b"421 4.7.0")
