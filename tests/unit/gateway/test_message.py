# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The message: limits of its form, trace field, fingerprint."""

from __future__ import annotations

import re

import pytest

from mailgate import message
from mailgate.config import Limits, MessageFormat
from mailgate.message import fingerprint
from mailgate.smtp.address import Mailbox


class TestData:
    @pytest.mark.parametrize(
        "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n"]
    )
    async def test_other_ends_of_data_are_rejected(self, campus, end):
        smuggled = b"MAIL FROM:<evil@a.univ.example>\r\nRCPT TO:<bob@a.univ.example>\r\nDATA\r\nSubject: smuggled\r\n"
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(b"Subject: x\r\n\r\ntext" + end + smuggled)).startswith("554 5.6.0")
        assert campus.a.received == campus.queue.received == []
        assert not any("evil" in command for command in campus.a.commands)

    async def test_bare_newlines_are_normalized_by_policy(self, make_campus):
        campus = await make_campus(content=MessageFormat(bare_newlines="normalize"))
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(b"Subject: x\n\na\rb\r\r\n.\n\r\n")).startswith("250")
        [got] = campus.a.received
        assert got.content.endswith(b"Subject: x\r\n\r\na b \r\n\n\r\n".replace(b"\n\n\r\n", b"\n\r\n\r\n"))
        assert got.content.count(b"\r") == got.content.count(b"\n") == got.content.count(b"\r\n")

    async def test_limits_of_lines_hops_and_size(self, make_campus):
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

    async def test_a_message_of_header_fields_only_is_rejected(self, campus):
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(b"X-Line: x\r\n" * 100_000)).startswith("554 5.6.0 Header")
        assert campus.clamd.scans == []


class TestForm:
    def test_the_trace_field_follows_the_grammar(self):
        client = message.Client("2001:db8::7", "pc7", "ESMTP")
        received = message.Message("abc", client, Mailbox("", ""), (), b"")
        field = message.received_header(received, hostname="gw1.univ.example", now=0)
        assert re.fullmatch(
            rb"Received: from pc7 \(\[IPv6:2001:db8::7\]\)\r\n\tby gw1.univ.example with ESMTP id abc;"
            rb"\r\n\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n",
            field,
        )


class TestFingerprint:
    def test_a_fingerprint_is_of_the_whole_message(self):
        middle = [b"x" * 300_000 + byte + b"x" * 300_000 + b"\r\n" for byte in (b"a", b"b")]
        head = b"Subject: x\r\nMessage-Id: <1@x.example>\r\n\r\n"
        assert fingerprint(head + middle[0]) != fingerprint(head + middle[1])
        assert fingerprint(head + middle[0]) == fingerprint(b"".join((head, middle[0])))
