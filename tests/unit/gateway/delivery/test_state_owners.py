# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One owner for each state: background tasks at a stop, sessions with a reply outstanding, SIZE of each attempt."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from gateway_doubles import EICAR, KEEP_CONNECTIONS, wait_for

from mailgate.config import Notices, Scan
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import Envelope

INFECTED = b"Subject: hello\r\n\r\n" + EICAR + b"\r\n"


async def discard_with_notice(make_campus, tmp_path: Path, before_final):
    """Send an infected message whose recipient gets a notice, through a queue that calls `before_final`."""
    campus = await make_campus(
        scan=Scan(socket=str(tmp_path / "clamd.ctl"), file_size=0, infected="discard"), notices=Notices(to="recipients")
    )
    campus.queue.before_final = before_final
    client = await campus.connect()
    await client.start("alice@a.univ.example")
    assert (await client.send(INFECTED)).startswith("250")
    return campus


class TestBackgroundTasks:
    async def test_stop_waits_for_a_notice_that_is_being_sent(self, make_campus, tmp_path):
        go = asyncio.Event()
        campus = await discard_with_notice(make_campus, tmp_path, go.wait)
        stop = asyncio.create_task(campus.gateway.finish(60))
        await wait_for(lambda: "data" in campus.queue.commands)
        assert not stop.done()
        go.set()
        assert await stop == 0
        assert [got.recipients for got in campus.queue.received] == [["alice@a.univ.example"]]
        assert not campus.events("notice_not_sent")

    async def test_reload_does_not_lose_a_notice(self, make_campus, tmp_path):
        go = asyncio.Event()
        campus = await discard_with_notice(make_campus, tmp_path, go.wait)
        await wait_for(lambda: "data" in campus.queue.commands)
        campus.gateway.use(campus.gateway.config, campus.gateway.routes)
        go.set()
        assert await campus.gateway.finish(60) == 0
        assert len(campus.queue.received) == 1

    async def test_a_notice_that_is_not_sent_in_time_is_given_up_and_counted(self, make_campus, tmp_path):
        go = asyncio.Event()
        campus = await discard_with_notice(make_campus, tmp_path, go.wait)
        assert await campus.gateway.finish(0.3) == 1
        assert [event["recipient"] for event in campus.events("notice_not_sent")] == ["alice@a.univ.example"]
        go.set()

    async def test_stop_ends_background_probes(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = lambda recipient: "250-" if recipient.startswith("mailgate-") else "250 2.1.5 ok"
        client = await campus.connect()
        await client.start("alice@a.univ.example")
        # A probe is in progress.
        await wait_for(lambda: any("RCPT TO:<mailgate-" in command for command in campus.a.commands))
        client.writer.transport.abort()
        await wait_for(lambda: not campus.gateway.sessions)
        assert await campus.gateway.finish(60) == 0
        await campus.gateway.close_connections(60)
        assert campus.gateway.delivery.pool.open == 0


class TestConnections:
    async def test_a_session_with_a_reply_outstanding_is_not_used_again(self, make_campus):
        """A client disconnects while the next hop works on its second RCPT: the late reply is not the next one's."""
        asked, go = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mailhost\r\n")
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                while line := await reader.readline():
                    if b"<bob" in line:
                        asked.set()
                        await go.wait()
                    if line.startswith(b"EHLO"):
                        writer.write(b"250-mailhost\r\n250 PIPELINING\r\n")
                    else:
                        writer.write(b"550 5.1.1 unknown\r\n" if b"<ghost" in line else b"250 2.0.0 ok\r\n")
            writer.close()

        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        hops = (NextHop("127.0.0.1", server.sockets[0].getsockname()[1]),)
        pool, envelope = campus.gateway.delivery.pool, Envelope(Mailbox("a", "sender.example"))
        alice, bob, ghost = (Mailbox(name, "a.example") for name in ("alice", "bob", "ghost"))
        session, _replies = await pool.begin(envelope, [alice], hops)
        second = asyncio.create_task(session.rcpt(envelope, bob))
        await asked.wait()
        second.cancel()
        await asyncio.wait([second])
        pool.release(session)
        go.set()
        session, replies = await pool.begin(envelope, [ghost], hops)
        assert [reply.code for reply in replies] == [250, 550]
        pool.release(session)
        server.close()

    async def test_each_attempt_announces_the_size_of_its_own_variant(self, make_campus, tmp_path):
        campus = await make_campus(
            scan=Scan(socket=str(tmp_path / "clamd.ctl"), file_size=0),
            domains={"b.univ.example": {"infected": "quarantine"}},
        )
        attached = (
            b'Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\ntext\r\n'
            b"--b\r\nContent-Type: application/zip; name=x.com\r\n\r\n" + EICAR + b"\r\n--b--\r\n"
        )
        client = await campus.connect()
        await client.start("alice@a.univ.example", "bob@b.univ.example")
        assert (await client.send(attached)).startswith("250")
        for hop in (campus.a, campus.b):
            [got] = hop.received
            sizes = [command.rpartition("SIZE=")[2] for command in hop.commands if "SIZE=" in command]
            assert not sizes or int(sizes[-1]) == len(got.content)
        assert campus.a.received[0].content != campus.b.received[0].content


class TestEnvelope:
    def test_envelope_is_immutable(self):
        envelope = Envelope(Mailbox("a", "x.example"))
        for item in fields(envelope):
            with pytest.raises(FrozenInstanceError):
                setattr(envelope, item.name, None)
