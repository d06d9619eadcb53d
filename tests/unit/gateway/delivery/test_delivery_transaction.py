# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to next hops and the queue: which result gives which reply."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from gateway_doubles import PATIENT, without_trace_field

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n..one dot\r\n"


class TestNextHop:
    @pytest.mark.parametrize("banner", ["421 4.3.2 load too high", "554 no", None])
    async def test_server_down_and_recipient_known_goes_to_the_queue(self, campus, banner):
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        await client.say("RSET")
        campus.a.banner = banner
        assert await client.start("alice@a.univ.example") == ["250 2.1.5 Recipient accepted"]
        assert (await client.send(MESSAGE)).startswith("250")
        [got] = campus.queue.received
        assert got.recipients == ["alice@a.univ.example"]
        assert without_trace_field(got.content) == MESSAGE.replace(b"\r\n..", b"\r\n.")
        assert campus.a.received == []

    async def test_the_second_next_hop_of_a_route_is_tried(self, campus):
        client = await campus.connect()
        await client.start("alice@two.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.b.received) == 1

    async def test_server_lost_between_rcpt_and_data_goes_to_the_queue(self, campus):
        campus.a.data = None
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")
        assert campus.queue.received[0].recipients == ["alice@a.univ.example"]

    async def test_a_reply_timeout_of_the_server_goes_to_the_queue(self, make_campus):
        campus = await make_campus(timeouts=replace(PATIENT, next_hop_data=1))
        campus.a.before_final = asyncio.Event().wait
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")
        assert len(campus.queue.received) == 1
        assert '"doubtful": true' in campus.output.text

    async def test_a_server_with_a_bare_host_name_and_without_ehlo_works(self, campus):
        campus.a.banner, campus.a.ehlo = "220 mailhost", "500 what?"
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE)).startswith("250")


class TestReply:
    @pytest.mark.parametrize("reply", ["451 4.2.0 mailbox busy", "554 5.6.1 do not like it", "552 5.2.2 full"])
    @pytest.mark.parametrize("stage", ["data", "final"])
    async def test_a_rejection_of_all_recipients_is_returned(self, campus, reply, stage):
        setattr(campus.a, stage, reply)
        client = await campus.connect()
        await client.start("alice@a.univ.example", "bob@a.univ.example")
        assert await client.send(MESSAGE) == reply
        assert campus.queue.received == []
        assert campus.count("processed") == 0

    @pytest.mark.parametrize("reply", ["451 4.2.0 busy", "554 5.6.1 no", None])
    async def test_a_mixed_result_is_accepted_and_failed_recipients_are_queued(self, campus, reply):
        campus.b.final = reply
        client = await campus.connect()
        assert [r[:3] for r in await client.start("alice@a.univ.example", "bob@b.univ.example")] == ["250", "250"]
        assert (await client.send(MESSAGE)).startswith("250")
        assert campus.a.received[0].recipients == ["alice@a.univ.example"]
        assert b"for <" not in campus.a.received[0].content, "recipients do not know of each other"
        assert campus.queue.received[0].recipients == ["bob@b.univ.example"]

    async def test_different_failures_of_all_servers_are_temporary(self, campus):
        campus.a.final, campus.b.final = "554 5.6.1 no", "451 4.2.0 busy"
        client = await campus.connect()
        await client.start("alice@a.univ.example", "bob@b.univ.example")
        assert await client.send(MESSAGE) == "451 4.2.0 busy"
        assert campus.queue.received == []


class TestQueue:
    async def test_loss_of_the_queue_after_one_delivery_does_not_lose_other_recipients(self, campus):
        campus.b.final = "451 4.2.0 busy"
        client = await campus.connect()
        await client.start("alice@a.univ.example", "bob@b.univ.example")
        campus.queue.stop()
        campus.queue.mail = None
        assert (await client.send(MESSAGE)).startswith("451 4.3.0")

    @pytest.mark.parametrize("stage", ["data", "final", "mail"])
    async def test_nothing_is_accepted_when_server_and_queue_fail(self, campus, stage):
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        campus.a.data = None
        setattr(campus.queue, stage, "452 4.4.5 no space" if stage != "mail" else None)
        assert (await client.send(MESSAGE))[:3] in ("451", "452")
        assert campus.count("processed") == 0

    async def test_a_restarted_queue_is_connected_again(self, campus):
        client = await campus.connect()
        await client.start("alice@a.univ.example", "bob@b.univ.example")
        campus.b.final = "451 later"
        campus.queue.hang_ups = 1
        assert (await client.send(MESSAGE)).startswith("250")
        assert campus.queue.connections == 2
        assert campus.queue.received[0].recipients == ["bob@b.univ.example"]
