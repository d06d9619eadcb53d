# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SMTP extensions and the PROXY protocol: STARTTLS, SMTPUTF8 and DSN."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from gateway_doubles import client_context, wait_for

from mailgate.config import Limits, Tls
from mailgate.smtp.address import AddressError, parse_recipient, parse_sender

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


FULL = "250-mailhost\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE 99999999"


class TestStarttls:
    async def test_a_client_can_use_tls(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(*certificate))
        client = await campus.connect(hello=False)
        assert "250 STARTTLS" in await client.hello()
        assert (await client.say("STARTTLS")).startswith("220")
        await client.writer.start_tls(client_context(certificate))
        assert (await client.say("MAIL FROM:<a@sender.example>")).startswith("503"), "the session starts again"
        assert "STARTTLS" not in await client.hello()
        assert (await client.say("STARTTLS")).startswith("503")
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE * 20_000)).startswith("250")
        assert b" with ESMTPS id " in campus.a.received[0].content
        assert (await client.say("QUIT")).startswith("221")

    async def test_plain_text_commands_after_starttls_are_discarded(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(*certificate))
        client = await campus.connect()
        injected = b"EHLO x.example\r\nMAIL FROM:<evil@x.example>\r\nRCPT TO:<alice@a.univ.example>\r\n"
        client.writer.write(b"STARTTLS\r\n" + injected)
        assert (await client.reply()).startswith("220")
        await client.writer.start_tls(client_context(certificate))
        assert (await client.say("NOOP")).startswith("250"), "the first answer is to the first encrypted command"
        assert (await client.say("DATA")).startswith("503")
        assert campus.a.connections == 0

    async def test_a_client_that_fails_the_handshake_is_disconnected(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(*certificate))
        client = await campus.connect()
        assert (await client.say("STARTTLS")).startswith("220")
        client.writer.write(b"NOOP\r\n" * 10)
        assert b"250" not in await client.reader.read()
        await wait_for(lambda: campus.gateway.worker_counters.connections == 0)


class TestSmtputf8:
    async def test_international_addresses_are_relayed(self, campus):
        campus.a.ehlo = FULL
        client = await campus.connect()
        assert (await client.say("MAIL FROM:<用户@例え.example> SMTPUTF8 BODY=8BITMIME")).startswith("250")
        assert (await client.say("RCPT TO:<rené@A.univ.example>")).startswith("250")
        assert (await client.send("Subject: é\r\n\r\nx\r\n".encode())).startswith("250")
        mail = next(line for line in campus.a.commands if line.startswith("MAIL FROM:<用户"))
        assert mail == "MAIL FROM:<用户@xn--r8jz45g.example> BODY=8BITMIME SMTPUTF8"
        assert "RCPT TO:<rené@a.univ.example>" in campus.a.commands
        assert "with UTF8SMTP id" in campus.a.received[0].content.decode()

    async def test_international_addresses_are_rejected_if_the_server_lacks_smtputf8(self, campus):
        client = await campus.connect()
        for sender, recipient in (("é@x.example", "alice"), ("a@x.example", "é")):
            assert (await client.say(f"MAIL FROM:<{sender}> SMTPUTF8")).startswith("250")
            assert (await client.say(f"RCPT TO:<{recipient}@a.univ.example>")).startswith("550 5.6.7")
            await client.say("RSET")
        assert not any("é" in command for command in campus.a.commands)

    async def test_unneeded_smtputf8_is_accepted(self, campus):
        client = await campus.connect()
        for content, answer in ((MESSAGE, "250"), ("Subject: é\r\n\r\n".encode(), "550 5.6.7")):
            assert (await client.say("MAIL FROM:<a@x.example> SMTPUTF8")).startswith("250")
            assert (await client.say("RCPT TO:<alice@a.univ.example>")).startswith("250")
            assert (await client.send(content)).startswith(answer)
        assert len(campus.a.received) == 1
        assert campus.queue.received == []

    def test_international_grammar(self):
        assert str(parse_sender("FROM:<é.ß@bücher.example> SMTPUTF8").mailbox) == "é.ß@xn--bcher-kva.example"
        for argument in ("FROM:<a@é.example>", "FROM:<é@é.example>", "FROM:<a\x85@x.example> SMTPUTF8",
                         "FROM:<a\u200b@x.example> SMTPUTF8", f"FROM:<{'é' * 128}@x.example> SMTPUTF8"):  # fmt: skip
            with pytest.raises(AddressError):
                parse_sender(argument)
        with pytest.raises(AddressError) as refused:
            parse_recipient("TO:<é%x.example@a.example>", utf8=True)
        assert refused.value.relay


class TestDsn:
    async def test_notify_parameters_are_relayed(self, campus):
        campus.a.ehlo = FULL
        client = await campus.connect()
        assert (await client.say("MAIL FROM:<a@x.example> RET=HDRS ENVID=QQ+2B3")).startswith("250")
        wish = "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Alice@a.univ.example"
        assert (await client.say(f"RCPT TO:<alice@a.univ.example> {wish}")).startswith("250")
        assert (await client.say("RCPT TO:<bob@b.univ.example> NOTIFY=NEVER")).startswith("250")
        assert "MAIL FROM:<a@x.example> RET=HDRS ENVID=QQ+2B3" in campus.a.commands
        assert f"RCPT TO:<alice@a.univ.example> {wish}" in campus.a.commands
        assert "RCPT TO:<bob@b.univ.example>" in campus.b.commands, "b does not know DSN"
        assert (await client.send(MESSAGE)).startswith("250")

    async def test_notify_success_goes_through_the_queue_if_the_hop_lacks_dsn(self, campus):
        campus.a.ehlo = campus.queue.ehlo = FULL
        client = await campus.connect()
        assert (await client.say("MAIL FROM:<a@x.example> ENVID=QQ1")).startswith("250")
        for mailbox, wish in (
            ("alice@a.univ.example", "NOTIFY=SUCCESS"),
            ("bob@b.univ.example", "NOTIFY=Success,DELAY ORCPT=rfc822;bob@b.univ.example"),
            ("carol@b.univ.example", "NOTIFY=FAILURE ORCPT=rfc822;SUCCESS@b.univ.example"),
            ("dave@b.univ.example", "NOTIFY=NEVER"),
        ):
            assert (await client.say(f"RCPT TO:<{mailbox}> {wish}")).startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")
        assert [got.recipients for got in campus.a.received] == [["alice@a.univ.example"]]
        assert [got.recipients for got in campus.b.received] == [["carol@b.univ.example", "dave@b.univ.example"]]
        assert [got.recipients for got in campus.queue.received] == [["bob@b.univ.example"]]
        wish = "NOTIFY=Success,DELAY ORCPT=rfc822;bob@b.univ.example"
        assert f"RCPT TO:<bob@b.univ.example> {wish}" in campus.queue.commands
        assert campus.gateway.verification_cache.find(parse_recipient("TO:<bob@b.univ.example>").mailbox).known

    async def test_notify_success_does_not_bypass_the_final_server(self, campus):
        campus.a.rcpt = lambda _: "550 5.1.1 unknown"
        client = await campus.connect()
        await client.say("MAIL FROM:<a@x.example>")
        assert await client.say("RCPT TO:<ghost@a.univ.example> NOTIFY=SUCCESS") == "550 5.1.1 unknown"
        campus.a.stop()
        assert (await client.say("RCPT TO:<new@a.univ.example> NOTIFY=SUCCESS")).startswith("450")
        assert campus.queue.connections == 0


class TestProxy:
    @pytest.mark.parametrize(
        "header",
        [
            b"PROXY TCP4 198.18.9.9 198.18.0.1 4000 25\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 18, 9, 9, 198, 18, 0, 1]) + b"\x0f\xa0\0\x19",
        ],
    )
    async def test_the_proxy_header_gives_the_client_address(self, make_campus, header):
        campus = await make_campus(
            proxy_protocol_from=(ipaddress.ip_network("127.0.0.0/8"),), limits=Limits(max_connections_per_client=1)
        )

        async def connect(first: bytes):
            reader, writer = await asyncio.open_connection("127.0.0.1", campus.port)
            writer.write(first + b"EHLO sender.example\r\n")
            return reader, writer

        reader, writer = await connect(header)
        assert (await reader.readline()).startswith(b"220")
        assert campus.gateway.worker_counters.connections_of("198.18.9.9") == 1
        other, second = await connect(header)
        assert (await other.readline()).startswith(b"421 4.7.0 Too many")
        none, third = await connect(b"")
        assert (await none.readline()).startswith(b"421 4.7.0 PROXY header")
        for end in (writer, second, third):
            end.close()
        await wait_for(lambda: campus.gateway.worker_counters.connections == 0)

    async def test_other_clients_send_no_proxy_header(self, make_campus):
        campus = await make_campus(proxy_protocol_from=(ipaddress.ip_network("198.18.7.0/24"),))
        client = await campus.connect()
        assert (await client.say("PROXY TCP4 198.18.9.9 198.18.0.1 4000 25")).startswith("500")
