# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the reply to a message has been received, and when it is certain that it has not."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest

from mailgate.server import receipts
from mailgate.server.receipts import Receipts
from mailgate.smtp.tcp import Acknowledgment

END = 100


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[bytes, ...]]]:
    monkeypatch.setattr(receipts.tcp, "sent_position", lambda _transport: END)
    return []


def of(outcomes: list[tuple[str, tuple[bytes, ...]]]) -> Receipts:
    return Receipts(lambda keys: outcomes.append(("received", keys)), lambda keys: outcomes.append(("lost", keys)))


def transport(*, closing: bool = False) -> mock.Mock:
    return mock.Mock(is_closing=lambda: closing)


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
            replies.settle(None if position is None else Acknowledgment(position, closed=True))
        assert outcomes == [(outcome, (b"key",))]
        replies.settle(None)
        assert len(outcomes) == 1, "once only"

    @pytest.mark.parametrize("sent", [False, True])
    async def test_a_reply_that_was_not_sent_is_lost(self, outcomes, sent):
        replies = of(outcomes)
        replies.expect((b"key",), pipelined=False)
        if sent:
            replies.sent(transport(closing=True), closed=False)
        replies.settle(Acknowledgment(END, closed=False))
        assert outcomes == [("lost", (b"key",))]

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
