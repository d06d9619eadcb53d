# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery that requires TLS."""

from __future__ import annotations

import pytest
from gateway_doubles import server_context

from mailgate.config import Tls

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


FULL = "250-mailhost\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE 99999999"


class TestRequired:
    async def test_mail_that_requires_tls_is_not_sent_in_plain_text(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("450 4.7.10")
        assert not any(command.startswith("RCPT") for command in campus.a.commands)
        campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
        await client.say("RSET")
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")

    @pytest.mark.parametrize("when", ["at the second recipient", "at DATA", "after the message"])
    async def test_mail_that_requires_tls_does_not_go_through_the_queue(self, make_campus, certificate, when):
        campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
        campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        if when == "at the second recipient":
            campus.a.rcpt = lambda _: None
            assert (await client.say("RCPT TO:<bob@a.univ.example>")).startswith("450")
        elif when == "at DATA":
            campus.a.data = None
        else:
            campus.a.final = None
        assert (await client.send(MESSAGE)) == "451 4.3.0 Message could not be delivered; try again later"
        assert campus.queue.received == []

    async def test_mail_that_requires_tls_needs_a_separate_transaction(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
        campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
        client = await campus.connect()
        answers = await client.start("alice@a.univ.example", "bob@a.univ.example", "alice@b.univ.example")
        assert [answer[:9] for answer in answers] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]
        await client.say("RSET")
        answers = await client.start("alice@b.univ.example", "alice@a.univ.example")
        assert [answer[:9] for answer in answers] == ["250 2.1.5", "452 4.5.3"]
