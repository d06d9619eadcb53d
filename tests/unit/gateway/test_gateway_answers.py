# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway says, when: one test for each row of the table in the design, over real sockets."""

from __future__ import annotations

import asyncio

import pytest
from gateway_doubles import EICAR

from mailgate.config import Limits, Scan
from mailgate.content.screen import AS_MAIL
from mailgate.server.rcpt_policy import decide

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n..one dot\r\n"


def arrived(content: bytes) -> bytes:
    """The message as sent, without the gateway's trace field in front."""
    assert content.startswith(b"Received: from sender.example ([127.0.0.1])\r\n\tby gw1.univ.example with ESMTP id ")
    lines = content.split(b"\r\n")
    first = next(n for n, line in enumerate(lines[1:], 1) if not line.startswith(b"\t"))
    return b"\r\n".join(lines[first:])


async def test_mail_is_delivered_unchanged_and_only_then_accepted(campus):
    client = await campus.connect()
    assert await client.start("alice@a.univ.example") == ["250 2.1.5 Recipient accepted"]
    assert campus.a.commands[-1] == "RCPT TO:<alice@a.univ.example>", "asked while the client waits"
    assert (await client.send(MESSAGE)).startswith("250 2.0.0")
    [got] = campus.a.received
    assert (got.sender, got.recipients) == ("a@sender.example", ["alice@a.univ.example"])
    assert arrived(got.content) == MESSAGE.replace(b"\r\n..", b"\r\n.")
    assert b"for <alice@a.univ.example>;" in got.content
    assert campus.clamd.scans == [AS_MAIL + MESSAGE.replace(b"\r\n..", b"\r\n.")]
    assert campus.queue.connections == 0
    assert campus.count("processed") == 1


async def test_foreign_domain_is_refused_at_rcpt_and_counted(campus):
    client = await campus.connect()
    assert await client.start("x@elsewhere.example") == ["550 5.7.1 Relaying denied"]
    assert campus.count("relay_refused") == 1
    assert '"event": "relay_refused"' in campus.gateway.events._out.text
    assert campus.a.connections == campus.queue.connections == 0


@pytest.mark.parametrize(
    "recipient",
    [
        "x%elsewhere.example@a.univ.example",
        "elsewhere.example!x@a.univ.example",
        "@a.univ.example:x@elsewhere.example",
        "x@elsewhere.example@a.univ.example",
        '"x@elsewhere.example"@a.univ.example',
        '"x%elsewhere.example"@a.univ.example',
        "x@[198.18.1.25]",
        "x@[IPv6:2001:db8::1]",
    ],
)
async def test_every_way_of_asking_for_relay_is_refused(campus, recipient):
    client = await campus.connect()
    assert await client.start(recipient) == ["550 5.7.1 Relaying denied"]
    assert campus.count("relay_refused") == 1
    assert campus.a.connections == 0


async def test_home_servers_refusal_is_passed_on_and_remembered(campus):
    campus.a.rcpt = lambda _: "550 5.1.1 <ghost@a.univ.example>... User unknown"
    for _ in range(2):
        client = await campus.connect()
        assert await client.start("ghost@a.univ.example") == ["550 5.1.1 <ghost@a.univ.example>... User unknown"]
        assert (await client.say("DATA")).startswith("503")
    assert sum(command.startswith("RCPT") for command in campus.a.commands) == 1


async def test_refusal_of_the_sender_is_passed_on_but_says_nothing_about_the_recipient(campus):
    campus.a.mail = "553 5.1.8 Domain of sender address does not exist"
    client = await campus.connect()
    assert await client.start("alice@a.univ.example") == ["553 5.1.8 Domain of sender address does not exist"]
    campus.a.mail = "250 ok"
    client = await campus.connect()
    assert await client.start("alice@a.univ.example") == ["250 2.1.5 Recipient accepted"]


@pytest.mark.parametrize("banner", ["421 4.3.2 load too high", "554 no", None])
async def test_server_down_and_recipient_known_goes_to_the_queue(campus, banner):
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    await client.say("RSET")
    campus.a.banner = banner
    assert await client.start("alice@a.univ.example") == ["250 2.1.5 Recipient accepted"]
    assert (await client.send(MESSAGE)).startswith("250")
    [got] = campus.queue.received
    assert got.recipients == ["alice@a.univ.example"]
    assert arrived(got.content) == MESSAGE.replace(b"\r\n..", b"\r\n.")
    assert campus.a.received == []


async def test_server_down_and_recipient_never_seen_is_put_off(campus):
    campus.a.stop()
    client = await campus.connect()
    [reply] = await client.start("alice@a.univ.example")
    assert reply.startswith("450 4.4.1")


async def test_server_and_queue_down_is_put_off_at_rcpt(campus):
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    await client.say("RSET")
    campus.a.banner = campus.queue.banner = None
    [reply] = await client.start("alice@a.univ.example")
    assert reply.startswith("450")


async def test_second_next_hop_of_a_route_is_tried(campus):
    client = await campus.connect()
    await client.start("alice@two.univ.example")
    assert (await client.send(MESSAGE)).startswith("250")
    assert len(campus.b.received) == 1


MIXED = (
    b'Subject: =?utf-8?B?w6k=?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b 1"\r\n\r\n'
    b"preamble\r\n--b 1\r\n\r\ntext \xc3\xa9\r\n--b 1\r\nContent-Type: application/zip; name=x.com\r\n\r\n"
    + EICAR
    + b"\r\n--b 1--\r\nepilogue\r\n"
)


async def test_infected_attachment_is_stripped_and_the_rest_delivered(campus):
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MIXED)).startswith("250")
    [got] = campus.a.received
    content = arrived(got.content)
    assert EICAR not in content
    before, after = MIXED.split(b"Content-Type: application/zip; name=x.com\r\n\r\n" + EICAR)
    assert content.startswith(before)
    assert content.endswith(after)
    assert content[len(before) :].startswith(b"Content-Type: text/plain; charset=UTF-8\r\n")
    assert campus.count("virus_found") == campus.count("processed") == 1
    assert campus.queue.received == []


async def test_infected_message_is_refused_by_policy(make_campus, tmp_path):
    campus = await make_campus(scan=Scan(socket=str(tmp_path / "clamd.ctl"), infected="refuse", file_size=0))
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert await client.send(MIXED) == "554 5.7.0 Message contains malware: Eicar-Signature"
    assert campus.a.received == campus.queue.received == []
    assert "DATA" not in campus.a.commands


async def test_infected_message_without_a_part_to_blame_is_refused_whole(campus):
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(b"Subject: x\r\n\r\n" + EICAR + b"\r\n")).startswith("554 5.7.0")
    assert campus.a.received == []


async def test_scanner_down_means_try_later_and_nothing_is_sent(campus):
    campus.clamd.stop()
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("451 4.7.0")
    assert "DATA" not in campus.a.commands
    assert campus.a.received == campus.queue.received == []
    await campus.clamd.start()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("250")


async def test_scanner_too_slow_means_try_later(campus):
    campus.clamd.hang = True
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("451 4.7.0")
    assert campus.a.received == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0",
        b"stream: OK",
        b"stream: OK\0stream: OK\0",
        b"stream: OK\n",
        b"stream: ok\0",
        b" stream: OK\0",
        b"stream: Can't allocate memory ERROR\0",
        b"INSTREAM size limit exceeded. ERROR\0",
        b"COMMAND READ TIMED OUT\0",
        b"stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND\0",
        b"stream: OK\0 FOUND\0",
    ],
)
async def test_only_the_literal_ok_is_clean(campus, answer):
    campus.clamd.answer = lambda _: answer
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("451")
    assert campus.a.received == campus.queue.received == []


@pytest.mark.parametrize("reply", ["451 4.2.0 mailbox busy", "554 5.6.1 do not like it", "552 5.2.2 full"])
@pytest.mark.parametrize("stage", ["data", "final"])
async def test_refusal_for_all_recipients_is_passed_on(campus, reply, stage):
    setattr(campus.a, stage, reply)
    client = await campus.connect()
    await client.start("alice@a.univ.example", "bob@a.univ.example")
    assert await client.send(MESSAGE) == reply
    assert campus.queue.received == []
    assert campus.count("processed") == 0


@pytest.mark.parametrize("reply", ["451 4.2.0 busy", "554 5.6.1 no", None])
async def test_mixed_result_is_accepted_and_what_failed_is_queued(campus, reply):
    campus.b.final = reply
    client = await campus.connect()
    assert [r[:3] for r in await client.start("alice@a.univ.example", "bob@b.univ.example")] == ["250", "250"]
    assert (await client.send(MESSAGE)).startswith("250")
    assert campus.a.received[0].recipients == ["alice@a.univ.example"]
    assert b"for <" not in campus.a.received[0].content, "recipients do not store of one another"
    assert campus.queue.received[0].recipients == ["bob@b.univ.example"]


async def test_all_servers_refuse_differently_then_the_sender_tries_again(campus):
    campus.a.final, campus.b.final = "554 5.6.1 no", "451 4.2.0 busy"
    client = await campus.connect()
    await client.start("alice@a.univ.example", "bob@b.univ.example")
    assert await client.send(MESSAGE) == "451 4.2.0 busy"
    assert campus.queue.received == []


async def test_second_server_without_a_queue_needs_its_own_transaction(campus):
    campus.queue.stop()
    client = await campus.connect()
    replies = await client.start("alice@a.univ.example", "bob@b.univ.example", "carol@a.univ.example")
    assert [reply[:9] for reply in replies] == ["250 2.1.5", "452 4.5.3", "250 2.1.5"]


async def test_queue_lost_after_one_server_has_it_does_not_lose_the_other_recipient(campus):
    campus.b.final = "451 4.2.0 busy"
    client = await campus.connect()
    await client.start("alice@a.univ.example", "bob@b.univ.example")
    campus.queue.stop()
    campus.queue.mail = None
    assert (await client.send(MESSAGE)).startswith("451 4.3.0")


async def test_server_lost_between_rcpt_and_data_goes_to_the_queue(campus):
    campus.a.data = None
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("250")
    assert campus.queue.received[0].recipients == ["alice@a.univ.example"]


async def test_server_that_does_not_answer_the_message_in_time_goes_to_the_queue(campus):
    campus.a.before_final = lambda: asyncio.sleep(10)
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("250")
    assert len(campus.queue.received) == 1
    assert '"doubtful": true' in campus.gateway.events._out.text


@pytest.mark.parametrize("stage", ["data", "final", "mail"])
async def test_nothing_is_accepted_when_server_and_queue_fail(campus, stage):
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    campus.a.data = None
    setattr(campus.queue, stage, "452 4.4.5 no space" if stage != "mail" else None)
    assert (await client.send(MESSAGE))[:3] in ("451", "452")
    assert campus.count("processed") == 0


async def test_queue_restarted_while_held_is_asked_again(campus):
    client = await campus.connect()
    await client.start("alice@a.univ.example", "bob@b.univ.example")
    campus.b.final = "451 later"
    campus.queue.hang_ups = 1
    assert (await client.send(MESSAGE)).startswith("250")
    assert campus.queue.connections == 2
    assert campus.queue.received[0].recipients == ["bob@b.univ.example"]


async def test_too_many_connections_are_told_so(make_campus):
    campus = await make_campus(limits=Limits(max_connections=2))
    kept = [await campus.connect() for _ in range(2)]
    reader, writer = await asyncio.open_connection("127.0.0.1", campus.port)
    assert (await reader.readline()).startswith(b"421 4.3.2")
    assert await reader.read() == b""
    writer.close()
    await kept[0].say("QUIT")
    await asyncio.sleep(0.05)
    await campus.connect()


async def test_too_many_connections_of_one_client_are_told_so(make_campus):
    campus = await make_campus(limits=Limits(max_connections_per_client=1))
    await campus.connect()
    reader, writer = await asyncio.open_connection("127.0.0.1", campus.port)
    assert (await reader.readline()).startswith(b"421 4.7.0")
    writer.close()


async def test_too_many_octets_in_memory_are_put_off(make_campus):
    campus = await make_campus(limits=Limits(max_message_bytes=4000, max_bytes_in_flight=5000))
    first, second = await campus.connect(), await campus.connect()
    for client in (first, second):
        await client.start("alice@a.univ.example")
        await client.say("DATA")
    first.writer.write(b"x" * 50 + b"\r\n" + (b"y" * 70 + b"\r\n") * 50)
    await asyncio.sleep(0.05)
    second.writer.write((b"z" * 70 + b"\r\n") * 40 + b".\r\n")
    assert (await second.reply()).startswith("452 4.3.1")
    assert (await second.say("MAIL FROM:<a@sender.example> SIZE=3000")).startswith("452 4.3.1")
    first.writer.write(b".\r\n")
    assert (await first.reply()).startswith("250")
    assert campus.gateway.budget.used == 0
    assert (await second.say("MAIL FROM:<a@sender.example> SIZE=3000")).startswith("250")


async def test_too_many_recipients_are_put_off(make_campus):
    campus = await make_campus(limits=Limits(max_recipients=2))
    client = await campus.connect()
    replies = await client.start(*(f"u{n}@a.univ.example" for n in range(3)))
    assert [reply[:9] for reply in replies] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]


async def test_our_own_bug_is_a_temporary_failure_without_details(campus, monkeypatch, caplog):
    client = await campus.connect()
    await client.start("alice@a.univ.example")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("mailgate.gateway.check_format", broken)
    assert await client.send(MESSAGE) == "451 4.3.0 Internal error; try again later"
    assert "secret detail" in caplog.text
    assert campus.a.received == []
    monkeypatch.setattr("mailgate.server.session.decide", broken)
    assert await client.start("alice@a.univ.example") == ["451 4.3.0 Internal error; try again later"]
    monkeypatch.setattr("mailgate.server.session.decide", decide)
    assert (await client.say("RCPT TO:<alice@a.univ.example>")).startswith("250")


async def test_null_sender_reaches_a_known_recipient(campus):
    client = await campus.connect()
    assert await client.start("alice@a.univ.example", sender="") == ["250 2.1.5 Recipient accepted"]
    assert (await client.send(MESSAGE)).startswith("250")
    assert campus.a.received[0].sender == ""


async def test_bare_postmaster_is_taken(campus):
    client = await campus.connect()
    assert (await client.start("Postmaster"))[0].startswith("250")
    assert (await client.send(MESSAGE)).startswith("250")
    assert campus.queue.received[0].recipients == ["postmaster"]


async def test_wildcard_recipient_goes_to_its_home_server(campus):
    client = await campus.connect()
    assert (await client.start("alice@pc7.lab.A.univ.example"))[0].startswith("250")
    assert campus.a.commands[-1] == "RCPT TO:<alice@pc7.lab.a.univ.example>"


async def test_sender_inside_may_relay_through_the_queue_where_the_settings_say_so(make_campus):
    import ipaddress

    campus = await make_campus(relay_networks=(ipaddress.ip_network("127.0.0.0/8"),))
    client = await campus.connect()
    assert (await client.start("x@elsewhere.example"))[0].startswith("250")
    assert (await client.send(MESSAGE)).startswith("250")
    assert campus.queue.received[0].recipients == ["x@elsewhere.example"]
    await client.say("RSET")
    assert await client.start("x%elsewhere.example@a.univ.example") == ["550 5.7.1 Relaying denied"]


async def test_server_with_a_bare_host_name_and_no_ehlo_is_served(campus):
    campus.a.banner, campus.a.ehlo = "220 mailhost", "500 what?"
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE)).startswith("250")


async def test_eight_bit_mail_is_refused_before_data_where_the_server_does_not_take_it(campus):
    campus.a.ehlo = "250 mailhost"
    client = await campus.connect()
    await client.say("MAIL FROM:<a@sender.example> BODY=8BITMIME")
    assert (await client.say("RCPT TO:<alice@a.univ.example>")).startswith("550 5.6.3")
    await client.say("RSET")
    assert (await client.start("alice@a.univ.example"))[0].startswith("250")


async def test_held_sessions_are_let_go_when_the_client_leaves(campus):
    client = await campus.connect()
    await client.start("alice@a.univ.example", "bob@b.univ.example")
    assert campus.a.open == campus.b.open == campus.queue.open == 1
    client.writer.transport.abort()
    for _ in range(100):
        if campus.a.open == campus.b.open == campus.queue.open == 0:
            break
        await asyncio.sleep(0.02)
    assert campus.a.open == campus.b.open == campus.queue.open == 0
    assert campus.gateway.worker_counters.connections == 0
    assert campus.a.received == []
