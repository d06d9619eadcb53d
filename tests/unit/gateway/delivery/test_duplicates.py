# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replies lost after the final dot (RFC 1047): counted, and a retry is not delivered twice."""

from __future__ import annotations

import asyncio
import errno

from gateway_doubles import wait_for

from mailgate.config import Cache
from mailgate.delivery.duplicates import SLOTS, WAYS, DuplicateLog
from mailgate.smtp.address import Mailbox

MESSAGE = b"Message-ID: <1@sender.example>\r\nSubject: hello\r\n\r\nHello.\r\n"


async def send_and_vanish(campus, *recipients: str, wait: bool = True) -> None:
    client = await campus.connect()
    await client.start(*recipients)
    await client.say("DATA")
    client.writer.write(MESSAGE + b".\r\n")
    if wait:
        assert (await client.reply()).startswith("250")
    else:
        await client.writer.drain()
        await wait_for(lambda: "DATA" in campus.a.commands)
    client.writer.transport.abort()
    await wait_for(lambda: not campus.gateway.sessions)


async def send(campus, *recipients: str) -> str:
    client = await campus.connect()
    await client.start(*recipients)
    answer = await client.send(MESSAGE)
    assert (await client.say("QUIT")).startswith("221")
    return answer


class TestResend:
    async def test_a_retry_after_a_lost_reply_is_not_delivered_twice(self, campus):
        await send_and_vanish(campus, "alice@a.univ.example")
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 1
        assert campus.count("client_answers_lost") == campus.count("resent") == 1
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 2, "that answer arrived, so this is a message of its own"

    async def test_a_disconnect_while_the_server_is_busy(self, campus):
        campus.a.before_final = lambda: asyncio.sleep(0.3)
        await send_and_vanish(campus, "alice@a.univ.example", wait=False)
        await campus.gateway.finish(2)
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 1

    async def test_a_reply_that_arrived_leaves_no_entry(self, campus):
        for _ in range(3):
            assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 3
        assert campus.count("resent") == campus.count("client_answers_lost") == 0

    async def test_other_recipients_of_a_retry_get_it(self, campus):
        await send_and_vanish(campus, "alice@a.univ.example")
        recipients = ("alice@a.univ.example", "bob@a.univ.example", "carol@b.univ.example")
        assert (await send(campus, *recipients)).startswith("250")
        assert [got.recipients for got in campus.a.received] == [["alice@a.univ.example"], ["bob@a.univ.example"]]
        assert [got.recipients for got in campus.b.received] == [["carol@b.univ.example"]]

    async def test_a_retry_after_partial_delivery_delivers_the_rest_only(self, campus):
        """One server accepted the message, the other and the queue did not: the client retries."""
        campus.b.final, campus.queue.final = "451 busy", "452 no space"
        recipients = ("alice@a.univ.example", "bob@b.univ.example")
        assert (await send(campus, *recipients)).startswith("45")
        campus.b.final = "250 ok"
        assert (await send(campus, *recipients)).startswith("250")
        assert len(campus.a.received) == len(campus.b.received) == 1

    async def test_another_sender_or_content_is_another_message(self, campus):
        await send_and_vanish(campus, "alice@a.univ.example")
        client = await campus.connect()
        await client.start("alice@a.univ.example", sender="b@sender.example")
        assert (await client.send(MESSAGE)).startswith("250")
        await client.start("alice@a.univ.example")
        assert (await client.send(MESSAGE + b"x\r\n")).startswith("250")
        assert len(campus.a.received) == 3

    async def test_detection_can_be_disabled(self, make_campus):
        campus = await make_campus(cache=Cache(resend_hours=0))
        await send_and_vanish(campus, "alice@a.univ.example")
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 2

    async def test_a_lost_reply_of_a_next_hop_is_counted(self, campus):
        campus.a.final = None
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert campus.count("answers_lost") == 1
        assert len(campus.queue.received) == 1


class TestDuplicateLog:
    def test_the_log_is_limited_shared_and_expires(self, tmp_path):
        now = 1000.0
        one, other = (DuplicateLog(tmp_path, 60, clock=lambda: now) for _ in range(2))
        sender, recipient = Mailbox("a", "x.example"), Mailbox("b", "y.example")
        key = one.keys(b"digest", sender, [recipient])[recipient]
        one.mark(key)
        assert other.contains(key), "another process sees it"
        now += 61
        assert not other.contains(key)
        now = 1000.0
        crowd = [key[:4] + bytes([number]) * 12 for number in range(WAYS + 1)]
        for number, entry in enumerate(crowd):
            now = 2000.0 + number
            one.mark(entry)
        assert not one.contains(crowd[0]) and all(one.contains(entry) for entry in crowd[1:]), "the oldest makes room"
        other.clear(crowd[1])
        assert not one.contains(crowd[1])
        assert (tmp_path / DuplicateLog.FILE).stat().st_size == SLOTS * 32
        one.close()
        assert not one.contains(key)
        one.mark(key)

    def test_a_full_disk_disables_the_log_only(self, tmp_path, monkeypatch, caplog):
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr("os.posix_fallocate", full)
        duplicates = DuplicateLog(tmp_path, 60)
        key = bytes(16)
        duplicates.mark(key)
        assert not duplicates.contains(key)
        assert "duplicate detection disabled" in caplog.text
