# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replies of a next hop that cannot be the reply to what was sent: the session ends, and nothing is lost or refused."""

from __future__ import annotations

import asyncio

import pytest
from gateway_doubles import KEEP_CONNECTIONS, Campus, catch_all_probed, only_alice_and_bob, server_context, wait_for

from mailgate.config import Tls

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"
LARGE = MESSAGE + (b"a" * 70 + b"\r\n") * 30_000
PIPELINING = "250-mailhost\r\n250-8BITMIME\r\n250 PIPELINING"
STARTTLS = "250-mailhost\r\n250-8BITMIME\r\n250 STARTTLS"

# Stage, and what the server says there.
ODD_BEFORE_DATA = [
    ("banner", "354 go on"),
    ("banner", "250 hello"),
    ("banner", "554 5.7.1 go away"),
    ("banner", "421 4.3.2 busy"),
    ("banner", "HTTP/1.1 400 Bad Request"),
    ("banner", "220 mailhost\r\n220 mailhost"),
    ("ehlo", "354 go on"),
    ("ehlo", "220 mailhost"),
    ("ehlo", "250-mailhost\r\n550 no"),
    ("ehlo", "250 mailhost\r\n250 mailhost"),
    ("mail", "354 go on"),
    ("mail", "334 VXNlcm5hbWU6"),
    ("mail", "220 mailhost"),
    ("mail", "250 ok\r\n250 ok"),
    ("mail", "199 wait"),
    ("mail", "2500 ok"),
    ("mail", "421 4.3.2 shutting down"),
    ("mail", "530 5.7.0 Must issue a STARTTLS command first"),
    ("mail", "530 5.7.0 Authentication required"),
    ("rcpt", "354 go on"),
    ("rcpt", "221 bye"),
    ("rcpt", "250 ok\r\n250 ok"),
    ("rcpt", "250-ok\r\n450 no"),
    ("rcpt", "421 4.3.2 shutting down"),
    ("rcpt", "530 5.7.0 Must issue a STARTTLS command first"),
]
ODD_AT_MESSAGE = [
    ("data", "250 ok"),
    ("data", "334 VXNlcm5hbWU6"),
    ("data", "300 hm"),
    ("data", "354 go on\r\n250 2.0.0 taken"),
    ("data", "354 go on\r\n554 5.6.0 not taken"),
    ("data", "421 4.3.2 shutting down"),
    ("data", "530 5.7.0 Must issue a STARTTLS command first"),
    ("final", "354 go on"),
    ("final", "300 hm"),
    ("final", "220 mailhost"),
    ("final", "250-taken\r\n451 not taken"),
    ("final", "2000 taken"),
    ("final", "421 4.3.2 shutting down"),
]


def make_odd(campus: Campus, stage: str, text: str) -> None:
    """Have server `a` say `text` at `stage`."""
    setattr(campus.a, stage, (lambda _: text) if stage == "rcpt" else text)


async def know(campus: Campus) -> None:
    """Have the gateway store alice@a.univ.example as a known recipient."""
    client = await campus.connect()
    assert (await client.start("alice@a.univ.example"))[0].startswith("250")
    await client.say("QUIT")
    await catch_all_probed(campus)


class TestBeforeData:
    @pytest.mark.parametrize("ehlo", [None, PIPELINING])
    @pytest.mark.parametrize(("stage", "text"), ODD_BEFORE_DATA)
    async def test_an_unseen_recipient_is_deferred(self, campus, stage, text, ehlo):
        campus.a.ehlo = ehlo or campus.a.ehlo
        make_odd(campus, stage, text)
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("450 4.4.1")
        assert campus.gateway.verification_cache._find("alice@a.univ.example") is None

    @pytest.mark.parametrize(("stage", "text"), ODD_BEFORE_DATA)
    async def test_mail_for_a_known_recipient_goes_to_the_queue(self, campus, stage, text):
        campus.a.rcpt = only_alice_and_bob
        await know(campus)
        make_odd(campus, stage, text)
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.queue.received) == 1 and campus.a.received == []

    async def test_a_fresh_connection_is_tried(self, campus):
        """Only the first connection is odd."""
        odd = iter(["354 go on"])
        campus.a.rcpt = lambda _: next(odd, "250 2.1.5 ok")
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.a.received) == 1 and campus.queue.received == []

    async def test_a_refused_reset_ends_the_session(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice_and_bob
        await know(campus)
        campus.a.reset = "503 5.5.1 what?"
        before = campus.a.connections
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")
        assert [got.recipients for got in campus.a.received] == [["alice@a.univ.example"]]
        assert campus.a.connections == before + 1


class TestMessage:
    @pytest.mark.parametrize("content", [MESSAGE, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize(("stage", "text"), ODD_AT_MESSAGE)
    async def test_the_queue_takes_the_message(self, campus, stage, text, content):
        make_odd(campus, stage, text)
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        assert (await client.send(content)).startswith("250")
        assert [got.recipients for got in campus.queue.received] == [["alice@a.univ.example"]]

    @pytest.mark.parametrize(("stage", "text"), ODD_AT_MESSAGE)
    async def test_it_is_deferred_if_the_queue_is_odd_too(self, campus, stage, text):
        make_odd(campus, stage, text)
        setattr(campus.queue, stage, text)
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("451 4.3.0")

    async def test_an_announced_end_of_the_session_after_the_reply_is_not_odd(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.final = "250 2.0.0 taken\r\n421 4.7.0 Too many messages in this session"
        client = await campus.connect()
        for _ in range(2):
            await client.start("alice@a.univ.example")
            assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.a.received) == 2 and campus.queue.received == []

    async def test_an_extra_reply_does_not_shift_those_of_the_next_message(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice_and_bob
        await know(campus)
        campus.a.final = "250 2.0.0 taken\r\n250 2.0.0 taken"
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")
        campus.a.final = "550 5.7.1 no"
        assert (await client.start("mallory@a.univ.example"))[0].startswith("550 5.1.1")
        await client.say("RSET")
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)) == "550 5.7.1 no"


class TestEarlyReply:
    async def test_a_reply_sent_before_the_message_has_arrived_is_not_its_reply(self, campus):
        """Two segments: the gateway may read the first one and send the message before it reads the second one."""
        crossed = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                writer.write(b"220 server\r\n")
                for answer in (b"250 server", b"250 ok", b"250 ok", b"354 go on\r\n250 2.0.0 taken"):
                    await reader.readuntil(b"\r\n")
                    writer.write(answer + b"\r\n")
                crossed.set()
                await reader.read()
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            writer.close()

        campus.a.stop()
        server = await asyncio.start_server(serve, "127.0.0.1", campus.a.port)
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")
        await wait_for(crossed.is_set)
        assert len(campus.queue.received) == 1
        server.close()


class TestStarttlsRequired:
    async def test_tls_is_tried_again_if_the_server_requires_it(self, campus, certificate):
        """The first handshake fails, and the server refuses plain text."""
        campus.a.rcpt = only_alice_and_bob
        campus.a.ehlo = STARTTLS
        campus.a.mail = "530 5.7.0 Must issue a STARTTLS command first"
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("450 4.4.1")
        campus.a.encrypt = server_context(certificate)
        campus.a.mail_encrypted = "250 2.1.0 ok"
        await client.say("RSET")
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.a.received) == 1

    async def test_without_outbound_tls_the_queue_takes_the_message(self, make_campus):
        campus = await make_campus(tls=Tls(outbound="off"))
        campus.a.rcpt = only_alice_and_bob
        await know(campus)
        campus.a.mail = "530 5.7.0 Must issue a STARTTLS command first"
        client = await campus.connect()
        assert (await client.start("alice@a.univ.example"))[0].startswith("250")
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.queue.received) == 1
