# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SMTP replies of the server by command, over real sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from gateway_doubles import EICAR, PATIENT, cached_as_unknown, wait_for, without_trace_field

from mailgate.config import Limits, Scan
from mailgate.content.screen import AS_MAIL
from mailgate.server.rcpt_policy import decide

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n..one dot\r\n"


MIXED = (
    b'Subject: =?utf-8?B?w6k=?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b 1"\r\n\r\n'
    b"preamble\r\n--b 1\r\n\r\ntext \xc3\xa9\r\n--b 1\r\nContent-Type: application/zip; name=x.com\r\n\r\n"
    + EICAR
    + b"\r\n--b 1--\r\nepilogue\r\n"
)


class TestConnect:
    async def test_too_many_connections_get_421(self, make_campus):
        campus = await make_campus(limits=Limits(max_connections=2))
        # No client becomes idle enough to give way to another.
        campus.gateway.admission.clock = lambda: 0.0
        kept = [await campus.connect() for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", campus.port)
        assert (await reader.readline()).startswith(b"421 4.3.2")
        assert await reader.read() == b""
        writer.close()
        await kept[0].say("QUIT")
        await wait_for(lambda: campus.gateway.worker_counters.connections == 1)
        await campus.connect()

    async def test_too_many_connections_of_one_client_get_421(self, make_campus):
        campus = await make_campus(limits=Limits(max_connections_per_client=1))
        await campus.connect()
        reader, writer = await asyncio.open_connection("127.0.0.1", campus.port)
        assert (await reader.readline()).startswith(b"421 4.7.0")
        writer.close()


class TestMail:
    async def test_null_sender_reaches_a_known_recipient(self, campus):
        client = await campus.connect()
        assert await client.start("alice@a.univ.example", sender="") == ["250 2.1.5 Recipient accepted"]
        assert (await client.send(MESSAGE)).startswith("250")
        assert campus.a.received[0].sender == ""

    @pytest.mark.parametrize(
        ("argument", "relayed"),
        [
            ("<" + "b" * 120 + "@my_host.example>", "<" + "b" * 120 + "@my_host.example>"),
            ("a@sender.example SIZE=100", "<a@sender.example> SIZE=100"),
            ("<@x.example,@y.example:a@Sender.example.>", "<a@sender.example>"),
            ('<"a".b@sender.example>', "<a.b@sender.example>"),
            ("<a:b@sender.example>", '<"a:b"@sender.example>'),
            ("<é@sender.example>", "<é@sender.example>"),
            ("<a@sender.example> AUTH=<> ENVID=Q+2b SIZE=x", "<a@sender.example> ENVID=Q+2b"),
            ("<a@sender.example> ENVID=", "<a@sender.example>"),
        ],
    )
    async def test_the_next_hop_gets_the_sender_in_standard_form(self, campus, argument, relayed):
        campus.a.ehlo = "250-mailhost\r\n250-DSN\r\n250 SIZE 99999999"
        client = await campus.connect()
        assert (await client.say(f"MAIL FROM:{argument}")).startswith("250")
        assert (await client.say("RCPT TO:<alice@a.univ.example>")).startswith("250")
        assert f"MAIL FROM:{relayed}" in campus.a.commands


class TestRcpt:
    async def test_a_foreign_domain_is_rejected_and_counted(self, campus):
        client = await campus.connect()
        assert await client.start("x@elsewhere.example") == ["550 5.7.1 Relaying denied"]
        assert campus.count("relay_refused") == 1
        assert len(campus.events("relay_refused")) == 1
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
    async def test_every_form_of_relaying_is_rejected(self, campus, recipient):
        client = await campus.connect()
        assert await client.start(recipient) == ["550 5.7.1 Relaying denied"]
        assert campus.count("relay_refused") == 1
        assert campus.a.connections == 0

    async def test_a_rejection_by_the_final_server_is_returned_and_cached(self, campus):
        campus.a.rcpt = lambda _: "550 5.1.1 <ghost@a.univ.example>... User unknown"
        ghost = "ghost@a.univ.example"
        for reply in (f"<{ghost}>... User unknown", f"<{ghost}>: Recipient address rejected: User unknown (cached)"):
            client = await campus.connect()
            assert await client.start(ghost) == [f"550 5.1.1 {reply}"]
            assert (await client.say("DATA")).startswith("503")
            await cached_as_unknown(campus, ghost)
        assert sum(command.startswith("RCPT") for command in campus.a.commands) == 2, "the second for the null sender"

    async def test_a_rejection_of_the_sender_is_returned_but_not_cached_for_the_recipient(self, campus):
        campus.a.mail = "553 5.1.8 Domain of sender address does not exist"
        client = await campus.connect()
        assert await client.start("alice@a.univ.example") == ["553 5.1.8 Domain of sender address does not exist"]
        campus.a.mail = "250 ok"
        client = await campus.connect()
        assert await client.start("alice@a.univ.example") == ["250 2.1.5 Recipient accepted"]

    async def test_server_down_and_recipient_unknown_is_deferred(self, campus):
        campus.a.stop()
        client = await campus.connect()
        [reply] = await client.start("alice@a.univ.example")
        assert reply.startswith("450 4.4.1")

    async def test_server_and_queue_down_is_deferred(self, campus):
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        await client.say("RSET")
        campus.a.banner = campus.queue.banner = None
        [reply] = await client.start("alice@a.univ.example")
        assert reply.startswith("450")

    async def test_a_second_server_without_a_queue_needs_a_separate_transaction(self, campus):
        campus.queue.stop()
        client = await campus.connect()
        replies = await client.start("alice@a.univ.example", "bob@b.univ.example", "carol@a.univ.example")
        assert [reply[:9] for reply in replies] == ["250 2.1.5", "452 4.5.3", "250 2.1.5"]

    async def test_too_many_recipients_are_deferred(self, make_campus):
        campus = await make_campus(limits=Limits(max_recipients=2))
        client = await campus.connect()
        replies = await client.start(*(f"u{n}@a.univ.example" for n in range(3)))
        assert [reply[:9] for reply in replies] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]

    async def test_bare_postmaster_is_accepted(self, campus):
        client = await campus.connect()
        assert (await client.start("Postmaster"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")
        assert campus.queue.received[0].recipients == ["postmaster"]

    async def test_a_wildcard_recipient_is_verified_by_its_final_server(self, campus):
        client = await campus.connect()
        assert (await client.start("alice@pc7.lab.A.univ.example"))[0].startswith("250")
        assert "RCPT TO:<alice@pc7.lab.a.univ.example>" in campus.a.commands

    async def test_internal_clients_may_relay_through_the_queue_if_configured(self, make_campus):
        import ipaddress

        campus = await make_campus(relay_networks=(ipaddress.ip_network("127.0.0.0/8"),))
        client = await campus.connect()
        assert (await client.start("x@elsewhere.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")
        assert campus.queue.received[0].recipients == ["x@elsewhere.example"]
        await client.say("RSET")
        assert await client.start("x%elsewhere.example@a.univ.example") == ["550 5.7.1 Relaying denied"]


class TestData:
    async def test_mail_is_delivered_unchanged_and_only_then_accepted(self, campus):
        client = await campus.connect()
        assert await client.start("alice@a.univ.example") == ["250 2.1.5 Recipient accepted"]
        assert "RCPT TO:<alice@a.univ.example>" in campus.a.commands, "verified while the client waits"
        assert (await client.send(MESSAGE)).startswith("250 2.0.0")
        [got] = campus.a.received
        assert (got.sender, got.recipients) == ("a@sender.example", ["alice@a.univ.example"])
        assert without_trace_field(got.content) == MESSAGE.replace(b"\r\n..", b"\r\n.")
        assert b"for <alice@a.univ.example>;" in got.content
        assert campus.clamd.scans == [AS_MAIL + MESSAGE.replace(b"\r\n..", b"\r\n.")]
        assert campus.queue.connections == 0
        assert campus.count("processed") == 1

    async def test_infected_attachment_is_stripped_and_the_rest_delivered(self, campus):
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MIXED)).startswith("250")
        [got] = campus.a.received
        content = without_trace_field(got.content)
        assert EICAR not in content
        before, after = MIXED.split(b"Content-Type: application/zip; name=x.com\r\n\r\n" + EICAR)
        assert content.startswith(before)
        assert content.endswith(after)
        assert content[len(before) :].startswith(b"Content-Type: text/plain; charset=UTF-8\r\n")
        assert campus.count("virus_found") == campus.count("processed") == 1
        assert campus.queue.received == []

    async def test_an_infected_message_is_rejected_by_policy(self, make_campus, tmp_path):
        campus = await make_campus(scan=Scan(socket=str(tmp_path / "clamd.ctl"), infected="refuse", file_size=0))
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert await client.send(MIXED) == "554 5.7.0 Message contains malware: Eicar-Signature"
        assert campus.a.received == campus.queue.received == []
        assert "DATA" not in campus.a.commands

    async def test_an_infected_message_without_infected_part_is_rejected(self, campus):
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(b"Subject: x\r\n\r\n" + EICAR + b"\r\n")).startswith("554 5.7.0")
        assert campus.a.received == []

    async def test_scanner_down_is_a_temporary_failure_and_nothing_is_sent(self, campus):
        campus.clamd.stop()
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("451 4.7.0")
        assert "DATA" not in campus.a.commands
        assert campus.a.received == campus.queue.received == []
        await campus.clamd.start()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")

    async def test_a_slow_scanner_is_a_temporary_failure(self, make_campus):
        campus = await make_campus(timeouts=replace(PATIENT, scan=1))
        campus.clamd.pause = 30
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
            b"COMMAND READ TIMED OUT\0",
            b"stream: Heuristics.Limits.Exceeded.MaxScanTime FOUND\0",
            b"stream: OK\0 FOUND\0",
        ],
    )
    async def test_only_the_literal_ok_is_clean(self, campus, answer):
        campus.clamd.answer = lambda _: answer
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("451")
        assert campus.a.received == campus.queue.received == []

    @pytest.mark.parametrize(
        "answer",
        [b"INSTREAM size limit exceeded. ERROR\0", b"stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND\0"],
    )
    async def test_a_message_over_clamds_limits_ends_in_a_decision(self, campus, answer):
        campus.clamd.answer = lambda _: answer
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("554 5.7.0 Message exceeds scanner limits")
        assert campus.a.received == campus.queue.received == []

    async def test_too_many_bytes_in_flight_are_deferred(self, make_campus):
        campus = await make_campus(limits=Limits(max_message_bytes=4000, max_bytes_in_flight=5000))
        first, second = await campus.connect(), await campus.connect()
        for client in (first, second):
            await client.start("alice@a.univ.example")
            await client.say("DATA")
        first.writer.write(b"x" * 50 + b"\r\n" + (b"y" * 70 + b"\r\n") * 50)
        await wait_for(lambda: campus.gateway.budget.used > 3000)
        second.writer.write((b"z" * 70 + b"\r\n") * 40 + b".\r\n")
        assert (await second.reply()).startswith("452 4.3.1")
        assert (await second.say("MAIL FROM:<a@sender.example> SIZE=3000")).startswith("452 4.3.1")
        first.writer.write(b".\r\n")
        assert (await first.reply()).startswith("250")
        assert campus.gateway.budget.used == 0
        assert (await second.say("MAIL FROM:<a@sender.example> SIZE=3000")).startswith("250")

    async def test_an_internal_error_is_a_temporary_failure_without_details(self, campus, monkeypatch, caplog):
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


class TestQuit:
    async def test_next_hop_sessions_are_closed_when_the_client_disconnects(self, campus):
        client = await campus.connect()
        await client.start("alice@a.univ.example", "bob@b.univ.example")
        # Probes have connections of their own, for a moment.
        await wait_for(lambda: campus.a.open == campus.b.open == campus.queue.open == 1)
        client.writer.transport.abort()
        await wait_for(lambda: campus.a.open == campus.b.open == campus.queue.open == 0)
        await wait_for(lambda: campus.gateway.worker_counters.connections == 0)
        assert campus.a.received == []


class TestEhlo:
    async def test_capabilities(self, campus):
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

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            (b"my pc", b"my?pc"),
            (b"(null)", b"?null?"),
            (b"#", b"#"),
            (b"my_host", b"my_host"),
            ("müller".encode(), b"m?ller"),
            (b"m\xfcller", b"m?ller"),
            (b'x (y) id 1; by <z>,\t"', b"x??y??id?1??by??z????"),
            (b"[IPv6:2001:db8::1]", b"[IPv6:2001:db8::1]"),
            (b"a" * 900, b"a" * 255),
        ],
    )
    async def test_any_name_is_accepted_and_is_harmless_in_the_trace_field(self, campus, name, written):
        client = await campus.connect(hello=False)
        assert (await client.say(b"EHLO " + name)).startswith("250")
        await client.start("alice@a.univ.example")
        assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
        assert campus.a.received[0].content.startswith(b"Received: from " + written + b" ([127.0.0.1])\r\n\tby ")

    async def test_helo_is_smtp_in_the_trace_field(self, campus):
        client = await campus.connect(hello=False)
        await client.say("HELO pc7")
        await client.start("alice@a.univ.example")
        await client.send(b"Subject: x\r\n\r\n")
        assert b"from pc7 ([127.0.0.1])" in campus.a.received[0].content
        assert b" with SMTP id " in campus.a.received[0].content


class TestCommandSequence:
    async def test_replies_to_commands_in_order(self, make_campus):
        campus = await make_campus(limits=Limits(max_errors=24))
        client = await campus.connect(hello=False)
        for command, answer in (
            ("MAIL FROM:<a@x.example>", "503 5.5.1"),
            ("EHLO", "501 5.5.4"),
            ("HELO pc_7", "250"),
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
            ("MAIL FROM:", "501"),
            ("MAIL FROM:<a@x.example> SMTPUTF8=1", "501"),
            ("MAIL FROM:<a@x.example> MT-PRIORITY=3", "555"),
            ("MAIL FROM:<a@x.example> RET=ALL", "501"),
            ("MAIL FROM:<a@x.example> SIZE=-1", "501"),
            ("MAIL FROM:<a@x.example> SIZE=" + "9" * 100, "552"),
            ("MAIL FROM:<a@x.example> AUTH=", "501"),
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
        assert (await client.say(b"MAIL FROM:<x@\xc3\xa9.example>")).startswith("553 5.6.7")
        assert (await client.say("NOOP " + "x" * 2000)).startswith("500")
        assert (await client.say("NOOP " + "x" * 200_000)).startswith("500")
        assert (await client.say(b"NOOP a\0b")).startswith("500")
        client.writer.write(b"NOOP\n")
        assert (await client.reply()).startswith("421 4.7.0"), "too many errors"
        assert await client.reader.read() == b""
