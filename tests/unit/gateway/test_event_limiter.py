# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of events in the log: a flood is summed up, and events about messages are always logged."""

from __future__ import annotations

import io
import json
from collections import Counter

from mailgate.event_limiter import LIMITS, EventLimiter
from mailgate.events import Events


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestEventLimiter:
    def test_a_kind_has_its_limit_per_interval(self):
        clock = Clock()
        limiter = EventLimiter(clock)
        limiter.restart()
        total = LIMITS["connection_refused"].total
        allowed = [limiter.allows("connection_refused", f"198.18.1.{n}") for n in range(100)]
        assert allowed == [True] * total + [False] * (100 - total)
        assert limiter.allows("relay_refused", "198.18.1.1"), "another kind has its own"
        assert not limiter.over
        clock.now += 1
        assert limiter.over
        assert limiter.restart() == {"connection_refused": 100 - total}
        assert limiter.restart() == {}
        assert limiter.allows("connection_refused", "198.18.1.1")

    def test_one_client_does_not_use_up_the_lines_of_others(self):
        limiter = EventLimiter(Clock())
        limit = LIMITS["recipient_refused"]
        flood = [limiter.allows("recipient_refused", "198.18.1.1") for _ in range(1000)]
        assert sum(flood) == limit.per_client
        assert limiter.allows("recipient_refused", "198.18.2.1")

    def test_events_about_messages_have_no_limit(self):
        limiter = EventLimiter(Clock())
        for event in ("message", "finding", "queued", "queue_refused", "delivered_in_part", "resent", "not_scanned"):
            assert all(limiter.allows(event, "198.18.1.1") for _ in range(1000)), event


class TestEvents:
    def test_a_flood_is_summed_up_and_messages_are_logged(self):
        clock, out, later = Clock(), io.StringIO(), []
        events = Events(None, out, clock=clock, later=later.append)
        for _ in range(30):
            for number in range(2000):
                events.emit("connection_refused", client=f"198.18.1.{number % 5}", reply="421 4.7.0 no")
            events.emit("message", id="x", client="198.18.1.1")
            assert len(later) == 1, "asked once per interval"
            clock.now += 1
            later.pop()()
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        number = Counter(line["event"] for line in lines)
        assert number["message"] == 30
        limit = LIMITS["connection_refused"].total
        assert number["connection_refused"] == 30 * (limit + 1)
        summed = [line for line in lines if "suppressed" in line]
        assert summed == [{"event": "connection_refused", "suppressed": 2000 - limit}] * 30

    def test_the_next_event_reports_what_was_suppressed(self):
        clock, out = Clock(), io.StringIO()
        events = Events(None, out, clock=clock)
        for _ in range(4):
            events.emit("no_encryption", client="198.18.1.1")
        clock.now += 60
        events.emit("started")
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        assert lines[2:] == [{"event": "no_encryption", "suppressed": 2}, {"event": "started"}]


class TestGateway:
    async def test_refusals_are_counted_exactly_and_the_next_message_is_logged(self, campus):
        client = await campus.connect()
        await client.say("MAIL FROM:<a@sender.example>")
        for number in range(15):
            assert (await client.say(f"RCPT TO:<x{number}@elsewhere.example>")).startswith("550 5.7.1")
        await client.say("RSET")
        await client.start("alice@a.univ.example")
        assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
        campus.gateway.events.report_suppressed()
        logged = [line for line in campus.events("relay_refused") if "recipient" in line]
        suppressed = sum(line.get("suppressed", 0) for line in campus.events("relay_refused"))
        assert len(logged) + suppressed == campus.count("relay_refused") == 15
        assert suppressed
        assert len(campus.events("message")) == 1
