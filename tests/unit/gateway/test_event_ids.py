# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One id of a message: in the reply, in Received, and in all events on its way; events are there before replies."""

from __future__ import annotations

import io
import json
import re

from gateway_doubles import MESSAGE, send_hello, wait_for

from mailgate.config import Limits
from mailgate.event_settings import EventSettings
from mailgate.event_spool import Spool
from mailgate.events import Events
from mailgate.message import message_id_of, subject_of
from mailgate.server.session import Session
from mailgate.smtp.queue_ids import queue_id_of
from mailgate.smtp.reply import Reply

MAIL = b"Message-ID: <m1@sender.example>\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\nHello.\r\n"


async def test_one_id_through_the_whole_way(make_campus):
    campus = await make_campus(events=EventSettings(subject=True))
    campus.a.final = "250 2.0.0 5AUH6Vab012345 Message accepted for delivery"
    campus.b.rcpt = lambda _: "550 5.1.1 no such user"
    client = await campus.connect()
    await client.start("alice@a.univ.example", "carol@b.univ.example")
    reply = await client.send(MAIL)
    number = re.fullmatch(r"250 2\.0\.0 Message accepted as ([0-9a-f]{17})", reply)[1]
    assert f"with ESMTP id {number}".encode() in campus.a.received[0].content
    own = [event for event in campus.recorded() if event.get("id") == number]
    assert [event["event"] for event in own] == ["recipient", "recipient_refused", "delivered", "message"]
    assert own[2]["queue_id"] == "5AUH6Vab012345"
    assert own[2]["next_hop"] == f"[127.0.0.1]:{campus.a.port}"
    assert own[3]["message_id"] == "<m1@sender.example>"
    assert own[3]["subject"] == "grüße"
    await client.say("QUIT")
    await wait_for(lambda: campus.recorded("connection"))
    connection = campus.recorded("connection")[0]
    assert connection["id"] == own[3]["session"] != number
    assert (connection["messages"], connection["refused"]) == (1, 1)
    # The journal has the kinds that it had before.
    assert [event["event"] for name in ("message", "recipient_refused") for event in campus.events(name)] == [
        "message",
        "recipient_refused",
    ]
    assert not campus.events("delivered")


async def test_a_queued_message_has_the_id_of_the_queue(campus):
    campus.a.final = None
    campus.queue.final = "250 2.0.0 5AUH6Vxy000001 Message accepted for delivery"
    reply = await send_hello(await campus.connect())
    number = reply.split()[-1]
    own = [event for event in campus.recorded() if event.get("id") == number]
    assert [event["event"] for event in own] == ["recipient", "next_hop_lost", "queued", "message"]
    assert own[2]["queue_id"] == "5AUH6Vxy000001"


async def test_events_are_in_the_file_before_each_reply(campus, monkeypatch):
    seen: list[tuple[bytes, list[str]]] = []
    write = Session.write

    def note(session: Session, data: bytes) -> None:
        seen.append((data, [event["event"] for event in campus.recorded()]))
        write(session, data)

    monkeypatch.setattr(Session, "write", note)
    client = await campus.connect()
    await client.say("BOGUS")
    await client.start("alice@a.univ.example", "x@elsewhere.example")
    await client.send(MESSAGE)
    while not (await client.say("BOGUS")).startswith("421"):
        pass
    at: dict[bytes, list[str]] = {}
    for data, events in seen:
        at.setdefault(data[:9], events)
    assert at[b"500 5.5.2"] == ["command_refused"]
    assert at[b"421 4.7.0"][-1] == "connection_closed"
    assert at[b"250 2.1.5"][-1] == "recipient"
    assert at[b"550 5.7.1"][-1] == "relay_refused"
    accepted = next(events for data, events in seen if data.startswith(b"250 2.0.0 Message accepted"))
    assert accepted[-2:] == ["delivered", "message"]


async def test_refusals_before_rcpt_and_of_large_messages_are_events(make_campus):
    campus = await make_campus(limits=Limits(max_message_bytes=1024, max_recipients=1))
    client = await campus.connect(hello=False)
    await client.say("MAIL FROM:<a@sender.example>")
    await client.hello()
    await client.say("MAIL FROM:<a@sender.example> SIZE=999999999")
    await client.say("MAIL FROM:<a b@@sender.example>")
    await client.start("alice@a.univ.example", "bob@a.univ.example")
    assert (await client.send(b"x" * 500 + b"\r\n" + b"y" * 900 + b"\r\n")).startswith("552")
    refused = campus.recorded("command_refused")
    assert [(event["command"], event["reply"][:3]) for event in refused] == [
        ("MAIL", "503"),
        ("MAIL", "552"),
        ("MAIL", "553"),
    ]
    assert campus.recorded("recipient_refused")[0]["reply"].startswith("452")
    assert campus.recorded("message")[0]["reply"].startswith("552")
    assert not campus.recorded("abandoned")


async def test_an_abandoned_transaction_is_an_event(campus):
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    await client.say("RSET")
    await client.start("bob@a.univ.example")
    client.writer.transport.abort()
    await wait_for(lambda: len(campus.recorded("abandoned")) == 2)
    assert [(event["recipients"], event["reason"]) for event in campus.recorded("abandoned")] == [
        (["alice@a.univ.example"], "RSET"),
        (["bob@a.univ.example"], "connection ended"),
    ]


def test_any_bytes_are_one_line(tmp_path):
    events = Events(None, io.StringIO())
    events.keep_in(Spool(tmp_path, 1 << 20))
    subject = subject_of(b"Subject: \xff\xfe\x00=?utf-8?b?!!?=\x1b[31m\r\n\tmore =?x-none?q?a?=\r\n\r\n")
    assert subject
    header = b"X: " + b"a" * 10_000_000 + b"\r\nMessage-ID: <late@x.example>\r\n\r\n"
    assert message_id_of(header) is None
    assert message_id_of(b"Message-ID:\r\n <\xffa@b>\r\n\r\nMessage-ID: <no@x>\r\n") == "<\ufffda@b>"
    events.emit("finding", id="1", finding="\ud800\n\u2028", name=subject, action="", recipients=[])
    (file,) = (tmp_path / "events").iterdir()
    assert len(file.read_bytes().splitlines()) == 1
    assert json.loads(file.read_text())["name"] == subject


def test_the_number_of_a_server_is_found_in_its_reply():
    replies = {
        "2.0.0 5AUH6Vab012345 Message accepted for delivery": "5AUH6Vab012345",
        "2.0.0 Ok: queued as 4XyZ123abcz": "4XyZ123abcz",
        "OK id=1tHabc-0000000Abcd-1XyZ": "1tHabc-0000000Abcd-1XyZ",
        "2.0.0 0a1b2c3d Message accepted for delivery": "0a1b2c3d",
        "2.6.0 <x@y> [InternalId=30030022, Hostname=mail] Queued mail for delivery": "30030022",
        "2.0.0 Message accepted as 19ab3f0c5d2e4f123": "19ab3f0c5d2e4f123",
        "ok": None,
    }
    assert {text: queue_id_of(Reply.of(250, text)) for text in replies} == replies
    assert queue_id_of(Reply.of(451, "queued as 4XyZ123abcz")) is None


async def test_a_header_of_ten_megabytes_is_a_small_event(campus):
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(b"X: y\r\n" * 1_700_000 + b"\r\n")).startswith("554 5.6.0 Header section exceeds")
    (event,) = campus.recorded("message")
    assert event["size"] > 10_000_000
    assert len(str(event)) < 600
