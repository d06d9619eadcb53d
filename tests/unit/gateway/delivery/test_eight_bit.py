# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""BODY=8BITMIME: what is sent to a next hop without 8BITMIME depends on the message, not on the declaration."""

from __future__ import annotations

import pytest
from gateway_doubles import server_context

from mailgate.config import Tls

SEVEN_BIT = b"Subject: hello\r\n\r\nHello.\r\n"
EIGHT_BIT = "Subject: hello\r\n\r\nÜber.\r\n".encode()
PLAIN = "250-mailhost\r\n250 SIZE 99999999"
FULL = "250-mailhost\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE 99999999"


async def begin(campus, *recipients: str, body: str = " BODY=8BITMIME", notify: str = ""):
    client = await campus.connect()
    assert (await client.say(f"MAIL FROM:<a@sender.example>{body}")).startswith("250")
    for recipient in recipients:
        assert (await client.say(f"RCPT TO:<{recipient}>{notify}")).startswith("250")
    return client


def mail_commands(hop) -> list[str]:
    return [command.partition(" SIZE=")[0] for command in hop.commands if command.startswith("MAIL")]


class TestNextHopWithout8bitmime:
    @pytest.mark.parametrize("hello", ["250 mailhost", "500 unknown"])
    async def test_a_7bit_message_is_sent_without_body(self, campus, hello):
        campus.a.ehlo = hello
        client = await begin(campus, "alice@a.univ.example")
        assert (await client.send(SEVEN_BIT)).startswith("250")
        assert campus.a.received[0].content.endswith(SEVEN_BIT)
        assert "MAIL FROM:<a@sender.example>" in mail_commands(campus.a)
        assert not any("BODY" in command for command in campus.a.commands)
        assert campus.queue.received == []

    async def test_an_8bit_message_goes_to_the_queue(self, campus):
        campus.a.ehlo, campus.queue.ehlo = PLAIN, FULL
        client = await begin(campus, "alice@a.univ.example", notify=" NOTIFY=FAILURE")
        assert (await client.send(EIGHT_BIT)).startswith("250")
        assert campus.a.received == []
        [queued] = campus.queue.received
        assert (queued.sender, queued.recipients) == ("a@sender.example", ["alice@a.univ.example"])
        assert queued.content.endswith(EIGHT_BIT)
        assert any(command.endswith(" BODY=8BITMIME") for command in campus.queue.commands)
        assert "RCPT TO:<alice@a.univ.example> NOTIFY=FAILURE" in campus.queue.commands
        [event] = campus.events("conversion_needed")
        assert event["recipients"] == ["alice@a.univ.example"]

    async def test_other_next_hops_get_the_message_directly(self, campus):
        campus.a.ehlo = PLAIN
        client = await begin(campus, "alice@a.univ.example", "bob@b.univ.example")
        assert (await client.send(EIGHT_BIT)).startswith("250")
        assert campus.a.received == []
        assert [got.recipients for got in campus.b.received] == [["bob@b.univ.example"]]
        assert [got.recipients for got in campus.queue.received] == [["alice@a.univ.example"]]

    async def test_unknown_recipients_are_still_refused(self, campus):
        campus.a.ehlo, campus.a.rcpt = PLAIN, lambda _: "550 5.1.1 unknown"
        client = await begin(campus)
        assert await client.say("RCPT TO:<ghost@a.univ.example>") == "550 5.1.1 unknown"

    async def test_a_queue_without_8bitmime_defers_8bit_messages_only(self, campus):
        campus.a.ehlo = campus.queue.ehlo = PLAIN
        client = await begin(campus, "alice@a.univ.example")
        assert (await client.send(EIGHT_BIT)).startswith("451 4.6.3")
        assert campus.a.received == campus.queue.received == []
        client = await begin(campus, "alice@a.univ.example")
        assert (await client.send(SEVEN_BIT)).startswith("250")
        assert len(campus.a.received) == 1

    async def test_no_queue_defers_8bit_messages(self, campus):
        campus.a.ehlo = PLAIN
        campus.queue.stop()
        client = await begin(campus, "alice@a.univ.example")
        assert (await client.send(EIGHT_BIT)).startswith("451")
        assert campus.a.received == []

    async def test_an_undeclared_8bit_message_is_sent_as_it_is(self, campus):
        campus.a.ehlo = PLAIN
        client = await begin(campus, "alice@a.univ.example", body="")
        assert (await client.send(EIGHT_BIT)).startswith("250")
        assert campus.a.received[0].content.endswith(EIGHT_BIT)

    async def test_a_message_that_requires_tls_never_goes_to_the_queue(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
        campus.a.ehlo = "250-mailhost\r\n250-STARTTLS\r\n250 SIZE 99999999"
        campus.a.encrypt = server_context(certificate)
        client = await begin(campus, "alice@a.univ.example")
        assert (await client.send(EIGHT_BIT)).startswith("554 5.6.3")
        assert campus.a.received == campus.queue.received == []
        client = await begin(campus, "alice@a.univ.example")
        assert (await client.send(SEVEN_BIT)).startswith("250")
        assert len(campus.a.received) == 1


class TestNextHopWith8bitmime:
    async def test_an_8bit_message_is_declared(self, campus):
        client = await begin(campus, "alice@a.univ.example")
        assert (await client.send(EIGHT_BIT)).startswith("250")
        assert campus.a.received[0].content.endswith(EIGHT_BIT)
        assert "MAIL FROM:<a@sender.example> BODY=8BITMIME" in campus.a.commands
