# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replies lost after the final dot (RFC 1047): only a certain retry of the same message is not delivered again."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import subprocess
from typing import Any
from unittest import mock

import pytest
from gateway_doubles import Campus, Client, LateTransport, client_context, wait_for

from mailgate.config import Cache, Tls
from mailgate.delivery.duplicates import SLOTS, WAYS, DuplicateLog
from mailgate.message import is_identifiable
from mailgate.server.session import Session
from mailgate.smtp import tcp
from mailgate.smtp.address import Mailbox
from mailgate.smtp.tcp import Acknowledgment

FIELDS = b"Message-ID: <1@sender.example>\r\nDate: Sun, 29 Nov 2026 10:00:00 +0000\r\n"
MESSAGE = FIELDS + b"Subject: hello\r\n\r\nHello.\r\n"
ALARM = b"Subject: UPS on battery\r\n\r\nOn battery.\r\n"
LARGE = 340 * 1024


Certificate = tuple[str, str]


async def begin_data(
    campus: Campus, *recipients: str, sender: str = "a@sender.example", certificate: Certificate | None = None
) -> Client:
    """Return a client that has sent DATA, with TLS if there is a certificate."""
    client = await campus.connect()
    if certificate:
        assert (await client.say("STARTTLS")).startswith("220")
        await client.writer.start_tls(client_context(certificate))
        await client.hello()
    await client.start(*recipients, sender=sender)
    assert (await client.say("DATA")).startswith("354")
    return client


def reset(client: Client) -> None:
    """Reset the connection, also if everything was read."""
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


async def all_sessions_ended(campus: Campus) -> None:
    await wait_for(lambda: not campus.gateway.sessions and not campus.gateway.tasks)


async def send_until_delivered(
    campus: Campus, *recipients: str, content: bytes = MESSAGE, **start: Any
) -> tuple[Client, asyncio.Event]:
    """Send a message; return the client while the next hop is busy, and what lets it go on."""
    busy, go_on = asyncio.Event(), asyncio.Event()

    async def before_final() -> None:
        busy.set()
        await go_on.wait()

    campus.a.before_final = before_final
    client = await begin_data(campus, *recipients, **start)
    client.writer.write(content + b".\r\n")
    await busy.wait()
    return client, go_on


async def send_and_reset(campus: Campus, *recipients: str, content: bytes = MESSAGE, **start: str) -> None:
    """Send a message and reset the connection while the next hop is busy: the reply cannot be sent."""
    client, go_on = await send_until_delivered(campus, *recipients, content=content, **start)
    reset(client)
    await wait_for(lambda: not campus.gateway.sessions)
    go_on.set()
    campus.a.before_final = None
    await all_sessions_ended(campus)


async def leave_in_the_moment_of_the_reply(
    campus: Campus,
    monkeypatch: pytest.MonkeyPatch,
    certificate: Certificate | None = None,
    *,
    resets: bool,
    late: bool = False,
) -> None:
    """Send a message and close or reset the connection after the delivery, before the reply is written."""
    client, go_on = await send_until_delivered(campus, "alice@a.univ.example", certificate=certificate)
    # Without the transport, which sends and closes when its event loop does.
    copy = socket.socket(fileno=os.dup(client.writer.get_extra_info("socket").fileno()))
    client.writer.transport.abort()
    await client.writer.wait_closed()
    if resets:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accept_message = Session._accept_message

    async def leave_first(session: Session, *arguments: Any) -> None:
        copy.close()
        if late:
            session.transport = LateTransport(session.transport)
        await accept_message(session, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "_accept_message", leave_first)
        go_on.set()
        await all_sessions_ended(campus)
    assert copy.fileno() < 0
    campus.a.before_final = None


async def send(campus: Campus, *recipients: str, content: bytes = MESSAGE, **start: str) -> str:
    client = await campus.connect()
    await client.start(*recipients, **start)
    answer = await client.send(content)
    assert (await client.say("QUIT")).startswith("221")
    return answer


async def read_and_reset(client: Client) -> None:
    """Read the reply, then reset the connection."""
    assert (await client.reply()).startswith("250")
    reset(client)


async def close(client: Client) -> None:
    """Close the connection at once."""
    client.writer.close()


async def quit_and_close(client: Client) -> None:
    """Pipeline QUIT and close the connection at once."""
    client.writer.write(b"QUIT\r\n")
    client.writer.close()


async def quit_and_read(client: Client) -> None:
    """Pipeline QUIT, read all replies, close the connection."""
    client.writer.write(b"QUIT\r\n")
    assert (await client.reply()).startswith("250")
    await client.reader.read()
    client.writer.close()


async def shut_down_and_read(client: Client) -> None:
    """Close the sending side, read all replies, close the connection."""
    client.writer.write_eof()
    assert (await client.reply()).startswith("250")
    client.writer.close()


class TestOrdinaryMessages:
    """No message of these is a retry, so each is delivered."""

    @pytest.mark.parametrize("end", [close, quit_and_close, quit_and_read, read_and_reset, shut_down_and_read])
    async def test_identical_alarms_in_connections_of_their_own_are_all_delivered(self, campus, end):
        for _ in range(3):
            client = await begin_data(campus, "alice@a.univ.example")
            client.writer.write(ALARM + b".\r\n")
            await end(client)
            await all_sessions_ended(campus)
        assert len(campus.a.received) == 3
        assert campus.count("resent") == 0

    @pytest.mark.parametrize("end", [quit_and_read, read_and_reset, shut_down_and_read])
    async def test_a_reply_that_may_have_been_read_leaves_no_entry(self, campus, end):
        for _ in range(3):
            client = await begin_data(campus, "alice@a.univ.example")
            client.writer.write(MESSAGE + b".\r\n")
            await end(client)
            await all_sessions_ended(campus)
        assert len(campus.a.received) == 3
        assert campus.count("resent") == campus.count("client_answers_lost") == 0

    @pytest.mark.parametrize("content", [ALARM, MESSAGE])
    async def test_the_end_of_a_message_and_the_next_one_in_one_packet(self, campus, content):
        client = await begin_data(campus, "alice@a.univ.example")
        dialogue = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@a.univ.example>\r\nDATA\r\n"
        client.writer.write(content + b".\r\n" + dialogue)
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
        client.writer.write(content + b".\r\n")
        assert (await client.reply()).startswith("250")
        reset(client)
        await all_sessions_ended(campus)
        assert (await send(campus, "alice@a.univ.example", content=content)).startswith("250")
        assert len(campus.a.received) == 3
        assert campus.count("resent") == 0

    async def test_the_same_message_while_the_first_client_has_not_gone_on(self, campus):
        client = await begin_data(campus, "alice@a.univ.example")
        client.writer.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 2, "the first client may have read its reply"

    async def test_a_reply_that_was_confirmed_leaves_no_entry(self, campus):
        for _ in range(3):
            assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 3
        assert campus.count("resent") == campus.count("client_answers_lost") == 0

    async def test_large_messages_that_differ_in_the_middle_only(self, campus):
        for byte in (b"x", b"y"):
            lines = [b"a" * 70] * (LARGE // 72)
            lines[len(lines) // 2] = byte * 70
            content = MESSAGE + b"\r\n".join(lines) + b"\r\n"
            await send_and_reset(campus, "alice@a.univ.example", content=content)
        assert len(campus.a.received) == 2
        assert campus.count("client_answers_lost") == 2 and campus.count("resent") == 0

    async def test_another_sender_recipient_or_content_is_another_message(self, campus):
        await send_and_reset(campus, "alice@a.univ.example")
        assert (await send(campus, "alice@a.univ.example", sender="b@sender.example")).startswith("250")
        assert (await send(campus, "alice@a.univ.example", content=MESSAGE + b"x\r\n")).startswith("250")
        assert (await send(campus, "bob@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 4

    @pytest.mark.parametrize("content", [ALARM, FIELDS.partition(b"\r\n")[2] + ALARM, b"\r\n" + MESSAGE])
    async def test_a_message_without_its_own_identity_is_delivered_again(self, campus, content):
        await send_and_reset(campus, "alice@a.univ.example", content=content)
        assert (await send(campus, "alice@a.univ.example", content=content)).startswith("250")
        assert len(campus.a.received) == 2


class TestRetries:
    async def test_a_retry_after_a_reset_before_the_reply_is_not_delivered_twice(self, campus):
        await send_and_reset(campus, "alice@a.univ.example")
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 1
        assert campus.count("client_answers_lost") == campus.count("resent") == 1
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 2, "that answer arrived, so this is a message of its own"

    async def test_a_retry_after_a_reset_that_arrives_with_the_message_is_not_delivered_twice(self, campus):
        """The kernel reports both at once; libuv makes the end of input of it."""
        client = await begin_data(campus, "alice@a.univ.example")
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with socket.socket(fileno=os.dup(sock.fileno())) as copy:
            client.writer.transport.abort()
            await client.writer.wait_closed()
            copy.sendall(MESSAGE + b".\r\n")
        await wait_for(lambda: campus.a.received)
        await all_sessions_ended(campus)
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 1
        assert campus.count("client_answers_lost") == campus.count("resent") == 1

    async def test_a_large_retry_is_not_delivered_twice(self, campus):
        content = MESSAGE + (b"a" * 70 + b"\r\n") * (LARGE // 72)
        await send_and_reset(campus, "alice@a.univ.example", content=content)
        assert (await send(campus, "alice@a.univ.example", content=content)).startswith("250")
        assert len(campus.a.received) == 1

    @pytest.mark.parametrize("end", [close, quit_and_close])
    async def test_a_retry_of_a_client_that_gave_up_before_the_reply_is_not_delivered_twice(self, campus, end):
        """The client closes its socket while the next hop is busy, so its kernel rejects our reply."""
        busy, go_on = asyncio.Event(), asyncio.Event()

        async def before_final() -> None:
            busy.set()
            await go_on.wait()

        campus.a.before_final = before_final
        client = await begin_data(campus, "alice@a.univ.example")
        client.writer.write(MESSAGE + b".\r\n")
        await busy.wait()
        await end(client)
        await client.writer.wait_closed()
        go_on.set()
        await all_sessions_ended(campus)
        campus.a.before_final = None
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 1
        assert campus.count("client_answers_lost") == campus.count("resent") == 1

    async def test_a_retry_after_a_reset_under_tls_is_not_delivered_twice(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(certificate=certificate[0], key=certificate[1]))
        client, go_on = await send_until_delivered(campus, "alice@a.univ.example", certificate=certificate)
        reset(client)
        await wait_for(lambda: not campus.gateway.sessions)
        go_on.set()
        await all_sessions_ended(campus)
        campus.a.before_final = None
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 1

    @pytest.mark.parametrize("encrypted", [False, True])
    @pytest.mark.parametrize("resets", [False, True])
    async def test_a_retry_of_a_client_that_left_in_the_moment_of_the_reply_is_not_delivered_twice(
        self, make_campus, certificate, monkeypatch, resets, encrypted
    ):
        """The kernel knows of it, the event loop does not."""
        campus = await make_campus(tls=Tls(certificate=certificate[0], key=certificate[1]))
        await leave_in_the_moment_of_the_reply(campus, monkeypatch, certificate if encrypted else None, resets=resets)
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 1
        assert campus.count("client_answers_lost") == campus.count("resent") == 1

    @pytest.mark.parametrize("resets", [False, True])
    async def test_the_same_with_a_transport_that_sends_later(self, campus, monkeypatch, resets):
        await leave_in_the_moment_of_the_reply(campus, monkeypatch, resets=resets, late=True)
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 1
        assert campus.count("client_answers_lost") == campus.count("resent") == 1

    async def test_other_recipients_of_a_retry_get_it(self, campus):
        await send_and_reset(campus, "alice@a.univ.example")
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

    async def test_detection_can_be_disabled(self, make_campus):
        campus = await make_campus(cache=Cache(resend_hours=0))
        await send_and_reset(campus, "alice@a.univ.example")
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert len(campus.a.received) == 2

    async def test_a_lost_reply_of_a_next_hop_is_counted(self, campus):
        campus.a.final = None
        assert (await send(campus, "alice@a.univ.example")).startswith("250")
        assert campus.count("answers_lost") == 1
        assert len(campus.queue.received) == 1


class TestIdentity:
    @pytest.mark.parametrize(
        "header",
        [
            FIELDS,
            b"message-id: <1@x>\r\nreceived: from a by b; 1 Jan 2026 10:00:00 +0000\r\n",
            b"Subject: x\r\nDate: 1 Jan 2026 10:00\r\nMessage-ID:\r\n\t<1@x>\r\n",
        ],
    )
    def test_a_message_id_with_a_date_or_a_trace_field_identifies_a_message(self, header):
        assert is_identifiable(header + b"\r\ntext\r\n")

    @pytest.mark.parametrize(
        "header",
        [
            b"",
            b"Date: 1 Jan 2026 10:00\r\n",
            b"Message-ID: <1@x>\r\n",
            b"Message-ID: <>\r\nDate: 1 Jan 2026 10:00\r\n",
            b"Message-ID: <1@x>\r\nDate:\r\n",
            b"X-Message-ID: <1@x>\r\nDate: 1 Jan 2026 10:00\r\n",
            b"Message-ID: <1@x>\r\nResent-Date: 1 Jan 2026 10:00\r\n",
        ],
    )
    def test_other_messages_may_be_repeated(self, header):
        assert not is_identifiable(header + b"\r\n" + FIELDS + b"\r\n")


class TestAcknowledgment:
    async def test_what_the_kernel_of_the_other_side_has_acknowledged(self):
        """A reply to a closed socket is rejected, and not acknowledged."""
        accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda _reader, writer: accepted.set_result(writer), "127.0.0.1", 0)
        _reader, client = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport = (await accepted).transport
        # What it has not read resets the connection when it closes.
        client.transport.pause_reading()
        transport.write(b"220\r\n")
        before = tcp.sent_position(transport)
        assert before is not None
        await wait_for(lambda: tcp.acknowledgment(transport).position >= before)
        client.transport.abort()
        await wait_for(lambda: tcp.acknowledgment(transport) is None)
        assert tcp.sent_position(transport) is None
        assert tcp.outstanding(tcp.handle_of(transport)) == 0
        server.close()

    async def test_a_copy_of_the_socket_outlives_the_transport(self):
        accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda _reader, writer: accepted.set_result(writer), "127.0.0.1", 0)
        reader, client = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer = await accepted
        writer.write(b"220\r\n")
        await reader.readline()
        client.write(b"QUIT\r\n")
        await wait_for(lambda: tcp.acknowledgment(writer.transport).position == 5)
        assert tcp.acknowledgment(writer.transport) == Acknowledgment(position=5, sent=5)
        copy = tcp.copy_of_socket(writer.transport)
        client.close()
        await wait_for(lambda: tcp.acknowledgment(writer.transport).half_closed)
        writer.transport.abort()
        await wait_for(lambda: tcp.acknowledgment(writer.transport) is None)
        assert tcp.copy_of_socket(writer.transport) is None
        assert tcp.socket_acknowledgment(copy).position == 5
        copy.close()
        assert tcp.socket_acknowledgment(copy) is None
        server.close()

    async def test_the_position_under_tls_counts_what_the_transport_of_tcp_has_not_sent(self, make_campus, certificate):
        campus = await make_campus(tls=Tls(certificate=certificate[0], key=certificate[1]))
        client = await campus.connect()
        assert (await client.say("STARTTLS")).startswith("220")
        await client.writer.start_tls(client_context(certificate))
        await client.hello()
        [session] = campus.gateway.sessions
        assert session.tcp_transport is not session.transport
        before = tcp.sent_position(session.tcp_transport)
        session.transport.write(b"250 ok\r\n")
        after = tcp.sent_position(session.tcp_transport)
        assert after > before + 8
        await client.reply()
        await wait_for(lambda: tcp.acknowledgment(session.tcp_transport).position == after)

    def test_a_connection_that_is_not_tcp_is_unknown(self):
        assert tcp.acknowledgment(None) is tcp.sent_position(None) is tcp.socket_acknowledgment(None) is None
        assert tcp.copy_of_socket(mock.Mock(get_extra_info=lambda _name: None)) is None
        assert tcp.outstanding(tcp.handle_of(None)) == 0


class TestDuplicateLog:
    def test_the_log_is_limited_shared_and_expires(self, tmp_path):
        now = 1000.0
        one, other = (DuplicateLog(tmp_path, 60, clock=lambda: now) for _ in range(2))
        sender, recipient = Mailbox("a", "x.example"), Mailbox("b", "y.example")
        key = one.keys(b"digest", "198.18.0.1", sender, [recipient])[recipient]
        assert key != one.keys(b"digest", "198.18.0.2", sender, [recipient])[recipient]
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

    def test_a_pending_entry_holds_once_its_process_has_ended(self, tmp_path, monkeypatch):
        duplicates, key = DuplicateLog(tmp_path, 60), bytes(range(16))
        duplicates.mark(key, pending=True)
        assert not duplicates.contains(key)
        duplicates.mark(key)
        assert duplicates.contains(key), "the client did not receive the reply"
        duplicates.clear(key)
        assert not duplicates.contains(key)
        with subprocess.Popen(["true"]) as ended:
            pass
        monkeypatch.setattr(os, "getpid", lambda: ended.pid)
        duplicates.mark(key, pending=True)
        assert duplicates.contains(key)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        duplicates.mark(key, pending=True)
        assert not duplicates.contains(key)

    def test_a_full_disk_disables_the_log_only(self, tmp_path, monkeypatch, caplog):
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr("os.posix_fallocate", full)
        duplicates = DuplicateLog(tmp_path, 60)
        key = bytes(16)
        duplicates.mark(key)
        assert not duplicates.contains(key)
        assert "duplicate detection disabled" in caplog.text
        monkeypatch.undo()
        duplicates.mark(key)
        assert not duplicates.contains(key), "not tried for each message"
        monkeypatch.setattr(duplicates, "_retry_at", 0.0)
        duplicates.mark(key)
        assert duplicates.contains(key)
        duplicates.close()
        duplicates.mark(key)
        assert not duplicates.contains(key)
