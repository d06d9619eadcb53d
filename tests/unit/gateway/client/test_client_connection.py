# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""STARTTLS to next hops."""

from __future__ import annotations

from gateway_doubles import server_context

from mailgate.config import Tls

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


FULL = "250-mailhost\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE 99999999"


class TestStarttls:
    async def test_tls_is_used_if_the_next_hop_offers_it(self, campus, certificate):
        campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")
        assert campus.a.commands[:3] == ["EHLO gw1.univ.example", "STARTTLS", "EHLO gw1.univ.example"]
        assert len(campus.a.received) == 1

    async def test_a_failed_handshake_falls_back_to_plain_text(self, campus, certificate):
        campus.a.ehlo = FULL.replace("250-DSN", "250-STARTTLS")
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.a.received) == 1

    async def test_replies_injected_after_starttls_are_discarded(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
        campus.a.ehlo, campus.a.encrypt = FULL.replace("250-DSN", "250-STARTTLS"), server_context(certificate)
        campus.a.injected = b"250 evil\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n"
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("450")
