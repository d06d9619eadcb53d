# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers lost after the final dot (RFC 1047): counted, and the same message again is not delivered twice."""

from __future__ import annotations

import asyncio
import errno

from mailgate.config import Cache
from mailgate.delivery.duplicates import SLOTS, WAYS, DuplicateLog
from mailgate.message import LARGE, fingerprint
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
        await asyncio.sleep(0.05)
    client.writer.transport.abort()
    await asyncio.sleep(0.1)


async def send(campus, *recipients: str) -> str:
    client = await campus.connect()
    await client.start(*recipients)
    answer = await client.send(MESSAGE)
    assert (await client.say("QUIT")).startswith("221")
    return answer


async def test_resend_after_a_lost_answer_is_not_delivered_twice(campus):
    await send_and_vanish(campus, "alice@a.univ.example")
    assert (await send(campus, "alice@a.univ.example")).startswith("250")
    assert len(campus.a.received) == 1
    assert campus.count("client_answers_lost") == campus.count("resent") == 1
    assert (await send(campus, "alice@a.univ.example")).startswith("250")
    assert len(campus.a.received) == 2, "that answer arrived, so this is a message of its own"


async def test_client_that_leaves_while_the_server_thinks(campus):
    campus.a.before_final = lambda: asyncio.sleep(0.3)
    await send_and_vanish(campus, "alice@a.univ.example", wait=False)
    await asyncio.sleep(0.4)
    assert (await send(campus, "alice@a.univ.example")).startswith("250")
    assert len(campus.a.received) == 1


async def test_answer_that_arrived_leaves_nothing(campus):
    for _ in range(3):
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
    assert len(campus.a.received) == 3
    assert campus.count("resent") == campus.count("client_answers_lost") == 0


async def test_other_recipients_of_a_resend_get_it(campus):
    await send_and_vanish(campus, "alice@a.univ.example")
    recipients = ("alice@a.univ.example", "bob@a.univ.example", "carol@b.univ.example")
    assert (await send(campus, *recipients)).startswith("250")
    assert [got.recipients for got in campus.a.received] == [["alice@a.univ.example"], ["bob@a.univ.example"]]
    assert [got.recipients for got in campus.b.received] == [["carol@b.univ.example"]]


async def test_those_who_got_it_in_part_do_not_get_it_again(campus):
    """One server took it, the other and the queue did not: the sender is told to try again."""
    campus.b.final, campus.queue.final = "451 busy", "452 no space"
    recipients = ("alice@a.univ.example", "bob@b.univ.example")
    assert (await send(campus, *recipients)).startswith("45")
    campus.b.final = "250 ok"
    assert (await send(campus, *recipients)).startswith("250")
    assert len(campus.a.received) == len(campus.b.received) == 1


async def test_other_sender_or_content_is_another_message(campus):
    await send_and_vanish(campus, "alice@a.univ.example")
    client = await campus.connect()
    await client.start("alice@a.univ.example", sender="b@sender.example")
    assert (await client.send(MESSAGE)).startswith("250")
    await client.start("alice@a.univ.example")
    assert (await client.send(MESSAGE + b"x\r\n")).startswith("250")
    assert len(campus.a.received) == 3


async def test_window_may_be_none(make_campus):
    campus = await make_campus(cache=Cache(resend_hours=0))
    await send_and_vanish(campus, "alice@a.univ.example")
    assert (await send(campus, "alice@a.univ.example")).startswith("250")
    assert len(campus.a.received) == 2


async def test_lost_answer_of_a_next_hop_is_counted(campus):
    campus.a.final = None
    assert (await send(campus, "alice@a.univ.example")).startswith("250")
    assert campus.count("answers_lost") == 1
    assert len(campus.queue.received) == 1


def test_fingerprint_leaves_out_only_what_a_message_id_vouches_for():
    middle = [b"x" * LARGE + octet + b"x" * LARGE + b"\r\n" for octet in (b"a", b"b")]
    named = [b"Subject: x\r\nMessage-Id: <1@x.example>\r\n\r\n" + text for text in middle]
    assert fingerprint(named[0]) == fingerprint(named[1])
    assert fingerprint(named[0]) != fingerprint(named[0] + b"\r\n")
    assert fingerprint(named[0]) != fingerprint(named[0].replace(b"<1@", b"<2@"))
    for head in (b"Subject: x\r\n\r\n", b"Subject: x\r\n\r\nMessage-ID: <1@x.example>\r\n", b"Message-ID:\r\n\r\n"):
        assert fingerprint(head + middle[0]) != fingerprint(head + middle[1])


def test_ledger_is_bounded_shared_and_forgets_by_time(tmp_path):
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


def test_ledger_without_room_on_the_disk_holds_nothing_up(tmp_path, monkeypatch, caplog):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("os.posix_fallocate", full)
    duplicates = DuplicateLog(tmp_path, 60)
    key = bytes(16)
    duplicates.mark(key)
    assert not duplicates.contains(key)
    assert "duplicate detection disabled" in caplog.text
