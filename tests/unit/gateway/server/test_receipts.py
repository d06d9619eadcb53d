# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the reply to a message has been received, and when it is certain that it has not."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest
from gateway_doubles import wait_for

from mailgate.server import receipts
from mailgate.server.receipts import Receipts
from mailgate.smtp.tcp import Acknowledgment

END = 100


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[bytes, ...]]]:
    monkeypatch.setattr(receipts.tcp, "sent_position", lambda _transport: END)
    monkeypatch.setattr(receipts.tcp, "copy_of_socket", lambda _transport: None)
    monkeypatch.setattr(receipts.tcp, "acknowledgment", lambda _transport: Acknowledgment(END - 1, sent=END - 1))
    return []


def of(outcomes: list[tuple[str, tuple[bytes, ...]]]) -> Receipts:
    return Receipts(lambda keys: outcomes.append(("received", keys)), lambda keys: outcomes.append(("lost", keys)))


def transport(*, closing: bool = False, buffered: int = 0) -> mock.Mock:
    return mock.Mock(is_closing=lambda: closing, get_write_buffer_size=lambda: buffered)


class TestReceipts:
    @pytest.mark.parametrize(
        ("closed", "seconds", "position", "outcome"),
        [
            (False, 0.0, END, "received"),
            (False, 0.0, END - 1, "received"),  # TCP may delay the acknowledgment
            (False, 2.0, END - 1, "lost"),
            (False, 2.0, END, "received"),
            (False, 2.0, None, "received"),  # unknown
            (True, 0.0, END - 1, "lost"),
            (True, 0.0, END, "received"),
        ],
    )
    async def test_the_end_of_a_connection(self, outcomes, monkeypatch, closed, seconds, position, outcome):
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.sent(transport(), closed=closed)
        loop = asyncio.get_running_loop()
        now = loop.time() + seconds
        with monkeypatch.context() as patched:
            patched.setattr(loop, "time", lambda: now)
            replies.settle(None if position is None else Acknowledgment(position, sent=END, closed=True))
        assert outcomes == [(outcome, (b"key",))]
        replies.settle(None)
        assert len(outcomes) == 1, "once only"

    @pytest.mark.parametrize("sent", [False, True])
    async def test_a_reply_that_was_not_sent_is_lost(self, outcomes, sent):
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        if sent:
            replies.sent(transport(closing=True), closed=False)
        replies.settle(Acknowledgment(END, sent=END))
        assert outcomes == [("lost", (b"key",))]

    @pytest.mark.parametrize(("sent", "outcome"), [(END, "received"), (END - 1, "lost")])
    async def test_a_reply_that_the_transport_has_not_sent_is_lost(self, outcomes, sent, outcome):
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.sent(transport(), closed=False)
        replies.settle(Acknowledgment(END - 1, sent=sent, closed=True))
        assert outcomes == [(outcome, (b"key",))]

    @pytest.mark.parametrize(("position", "outcome"), [(END - 1, "lost"), (END, "received")])
    @pytest.mark.parametrize("reported", [False, True])
    async def test_a_client_that_closed_its_side_before_it_had_the_reply(
        self, outcomes, monkeypatch, reported, position, outcome
    ):
        """With the end of input a client acknowledges all that it has received."""
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.sent(transport(), closed=False)
        known = Acknowledgment(position, sent=END, half_closed=not reported, closed=reported)
        monkeypatch.setattr(receipts.tcp, "acknowledgment", lambda _transport: known)
        if reported:
            replies.client_closed(transport())
        replies.ended(transport())
        assert outcomes == [(outcome, (b"key",))]

    async def test_a_client_that_closes_its_side_while_the_reply_waits_in_the_transport(self, outcomes):
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.client_closed(transport())
        replies.sent(transport(), closed=False)
        replies.settle(Acknowledgment(END - 1, sent=END))
        assert outcomes == [("lost", (b"key",))]

    async def test_a_client_that_closes_its_side_may_still_read_the_reply(self, outcomes, monkeypatch):
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.sent(transport(), closed=False)
        replies.client_closed(transport())
        monkeypatch.setattr(receipts.tcp, "acknowledgment", lambda _: Acknowledgment(END, sent=END, half_closed=True))
        replies.ended(transport())
        assert outcomes == [("received", (b"key",))]

    @pytest.mark.parametrize(("buffered", "outcome"), [(0, "received"), (1, "lost")])
    async def test_a_reply_that_is_not_encrypted_yet_is_not_sent(self, outcomes, buffered, outcome):
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.sent(transport(), closed=False, encrypted=transport(buffered=buffered))
        replies.settle(Acknowledgment(END, sent=END, closed=True))
        assert outcomes == [(outcome, (b"key",))]

    async def test_a_reply_to_a_transport_of_tls_that_is_closing_is_lost(self, outcomes):
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.sent(transport(), closed=False, encrypted=transport(closing=True))
        replies.settle(Acknowledgment(END, sent=END))
        assert outcomes == [("lost", (b"key",))]

    @pytest.mark.parametrize("confirmed", [False, True])
    async def test_the_copy_of_the_socket_is_closed(self, outcomes, monkeypatch, confirmed):
        copy = mock.Mock()
        monkeypatch.setattr(receipts.tcp, "copy_of_socket", lambda _transport: copy)
        monkeypatch.setattr(receipts.tcp, "socket_acknowledgment", lambda _copy: Acknowledgment(END, sent=END))
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.sent(transport(), closed=False, encrypted=transport())
        assert not copy.close.called
        if confirmed:
            replies.command(pipelined=False)
        else:
            replies.ended(None)
        assert copy.close.call_count == 1
        assert outcomes == [("received", (b"key",))]

    async def test_the_copy_of_an_idle_client_is_closed_once_it_has_the_reply(self, outcomes, monkeypatch):
        monkeypatch.setattr(receipts, "DELAY_SECONDS", 0.01)
        copy, positions = mock.Mock(), iter([END - 1, END - 1, END])
        monkeypatch.setattr(receipts.tcp, "copy_of_socket", lambda _transport: copy)
        monkeypatch.setattr(
            receipts.tcp, "socket_acknowledgment", lambda _copy: Acknowledgment(next(positions), sent=END)
        )
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        replies.sent(transport(), closed=False, encrypted=transport())
        await wait_for(lambda: copy.close.called)
        assert outcomes == [("received", (b"key",))]
        assert next(positions, None) is None

    async def test_a_command_confirms_unless_it_was_sent_before_the_reply(self, outcomes):
        replies = of(outcomes)
        replies.expect((b"1",), pipelined=True)
        replies.sent(transport(), closed=False)
        replies.command(pipelined=True)
        replies.command(pipelined=False)
        assert outcomes == []
        replies.expect((b"2",), pipelined=False)
        replies.sent(transport(), closed=False)
        replies.command(pipelined=False)
        assert outcomes == [("received", (b"1",)), ("received", (b"2",))]
