# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting events in shared memory, and that each event that the gateway writes is counted as it should be."""

from __future__ import annotations

import io
import os

import pytest

from mailgate.config import Endpoint
from mailgate.event_kinds import KINDS
from mailgate.events import Events
from mailgate.limits.clients import BAN_REFUSED, RATE_EXCEEDED
from mailgate.metric_settings import MetricSettings
from mailgate.metrics.memory import MAX_REFUSALS, OTHER, MetricMemory
from mailgate.metrics.recorder import Recorder
from mailgate.metrics.series import BYTES, COUNTED, READ, SECONDS, full_name
from mailgate.smtp.reply import Reply

METRICS = MetricSettings(listen=(Endpoint("127.0.0.1", 9812),))
REFUSED = Reply.of(550, "5.7.1 no")


@pytest.fixture
def memory() -> MetricMemory:
    return MetricMemory(3)


@pytest.fixture
def recorder(memory: MetricMemory) -> Recorder:
    return Recorder(memory, 0)


def nonzero(memory: MetricMemory, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for labels, value in memory.totals(name).items() if value}


def refuse(recorder: Recorder, rule: str | None, reply: Reply = REFUSED) -> None:
    recorder.record("recipient_refused", {"reply": reply, "rule": rule})


class TestRefusals:
    def test_by_rule_and_code(self, memory, recorder):
        refuse(recorder, "spamlist")
        refuse(recorder, "spamlist", Reply.of(450, "later"))
        refuse(Recorder(memory, 1), "spamlist")
        recorder.record("relay_refused", {"reply": REFUSED, "rule": None})
        recorder.record("command_refused", {"reply": Reply.of(500, "what?")})
        recorder.record("unknown_recipients", {"refused": 7})
        assert nonzero(memory, "refusals") == {
            ("recipient", "spamlist", "550"): 2,
            ("recipient", "spamlist", "450"): 1,
            ("relay", "", "550"): 1,
            ("command", "", "500"): 1,
            ("summarized", "", "other"): 7,
        }

    def test_codes_that_servers_invent(self, memory, recorder):
        for code in (0, 99, 250, 354, 600, 999):
            refuse(recorder, None, Reply.of(code, "x"))
        assert nonzero(memory, "refusals") == {("recipient", "", "other"): 6}

    def test_there_is_place_for_so_many(self, memory, recorder):
        for number in range(MAX_REFUSALS + 100):
            refuse(recorder, f"rule{number}")
        found = nonzero(memory, "refusals")
        assert len(found) == MAX_REFUSALS
        assert found[OTHER] == 101
        refuse(recorder, "rule5")
        assert nonzero(memory, "refusals")["recipient", "rule5", "550"] == 2, "the others are still counted"

    def test_longest_name(self, memory, recorder):
        recorder.record("message", {"reply": REFUSED, "rule": "r" * 40, "seconds": 0})
        assert nonzero(memory, "refusals") == {("message", "r" * 40, "550"): 1}

    def test_a_successor_continues(self, memory, recorder):
        refuse(recorder, "spamlist")
        refuse(recorder, "other")
        successor = Recorder(memory, 0)
        refuse(successor, "other")
        refuse(successor, "third")
        assert nonzero(memory, "refusals") == {
            ("recipient", "spamlist", "550"): 1,
            ("recipient", "other", "550"): 2,
            ("recipient", "third", "550"): 1,
        }

    def test_of_another_process(self, memory):
        process = os.fork()
        if not process:
            recorder = Recorder(memory, 2)
            refuse(recorder, "spamlist")
            recorder.observe("dns", 0.25)
            os._exit(0)
        os.waitpid(process, 0)
        assert nonzero(memory, "refusals") == {("recipient", "spamlist", "550"): 1}
        counts = {labels: counts[-1] for labels, counts, _total in memory.histogram("stage_seconds")}
        assert counts["dns",] == 1


class TestHistograms:
    @pytest.mark.parametrize(
        ("seconds", "bucket"), [(0, 0), (0.001, 0), (0.0011, 1), (240, len(SECONDS) - 1), (241, len(SECONDS))]
    )
    def test_buckets_are_up_to_and_with_their_bound(self, memory, recorder, seconds, bucket):
        recorder.observe("scan", seconds)
        found = {labels[0]: (counts, total) for labels, counts, total in memory.histogram("stage_seconds")}
        counts, total = found["scan"]
        assert counts == [0.0] * bucket + [1.0] * (len(SECONDS) + 1 - bucket)
        assert total == seconds
        assert found["dns"][0][-1] == 0

    def test_sizes(self, memory, recorder):
        for size in (1, 1024, 1025, 1 << 30):
            recorder.record("message", {"reply": Reply.of(250, "ok"), "queued": None, "size": size, "seconds": 0.1})
        ((_labels, counts, total),) = memory.histogram("message_size_bytes")
        assert counts[0] == 2
        assert counts[1] == counts[len(BYTES) - 1] == 3
        assert (counts[-1], total) == (4, 1 + 1024 + 1025 + (1 << 30))


@pytest.mark.parametrize(
    ("code", "queued", "outcome"),
    [(250, None, "accepted"), (250, 1, "queued"), (451, None, "deferred"), (554, None, "refused")],
)
def test_messages(memory, recorder, code, queued, outcome):
    recorder.record("message", {"reply": Reply.of(code, "x"), "queued": queued, "size": 1, "seconds": 0})
    assert nonzero(memory, "messages") == {(outcome,): 1}


def test_authentication_and_spam(memory, recorder):
    recorder.record(
        "message",
        {"reply": Reply.of(250, "x"), "queued": None, "size": 1, "seconds": 0, "spf": "pass", "dkim": "fail",
         "dmarc": "from the message", "spam": "tag"},
    )  # fmt: skip
    assert nonzero(memory, "authentication") == {("spf", "pass"): 1, ("dkim", "fail"): 1}
    assert nonzero(memory, "spam") == {("tag",): 1}


def test_an_event_that_cannot_be_counted_is_written(memory, recorder, caplog):
    out = io.StringIO()
    events = Events(None, out)
    events.metrics = recorder
    events.emit("message", id="x", reply="not a reply")
    assert '"event": "message"' in out.getvalue()
    assert [record.message for record in caplog.records] == [
        "cannot count metrics: 'str' object has no attribute 'code' (failures: 1); mail continues"
    ]
    assert nonzero(memory, "events") == {("message",): 1}


def test_suppressed_events_count(memory, recorder):
    events = Events(None, io.StringIO())
    events.metrics = recorder
    for _ in range(500):
        events.emit("connection_refused", client="192.0.2.1", reply=Reply.of(421, "x"))
    assert nonzero(memory, "events") == {("connection_refused",): 500}
    assert nonzero(memory, "connections") == {("refused",): 500}


def test_limits(memory, recorder):
    events = Events(None, io.StringIO())
    events.metrics = recorder
    events.count(RATE_EXCEEDED)
    events.count(BAN_REFUSED, 3)
    events.count("something else")
    assert nonzero(memory, "limits_exceeded") == {("rate",): 1, ("ban",): 3}


class TestGateway:
    async def test_counts_only_if_somebody_asks(self, make_campus):
        campus = await make_campus()
        assert campus.gateway.events.metrics is None

    async def test_all_outcomes_over_smtp(self, make_campus):
        campus = await make_campus(metrics=METRICS)
        client = await campus.connect()
        await client.start("x@a.univ.example")
        campus.a.final = "550 5.7.1 no"
        assert (await client.send(b"Subject: x\r\n\r\n")).startswith("550")
        campus.a.final = None
        await client.start("x@a.univ.example")
        assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
        await client.say("QUIT")
        memory = campus.gateway.worker_counters._shared.metrics
        assert nonzero(memory, "messages") == {("refused",): 1, ("queued",): 1}
        assert nonzero(memory, "deliveries") == {
            ("server", "refused"): 1, ("server", "failed"): 1, ("queue", "accepted"): 1,
        }  # fmt: skip
        assert nonzero(memory, "refusals") == {("message", "", "550"): 1}

    async def test_no_event_of_a_message_fails_to_be_counted(self, make_campus, caplog):
        campus = await make_campus(metrics=METRICS)
        client = await campus.connect()
        await client.say("RCPT TO:<x@a.univ.example>")
        await client.start("x@a.univ.example", "x@elsewhere.example")
        await client.say("RSET")
        await client.start("x@a.univ.example", "@")
        await client.send(b"Subject: x\r\n\r\n" + b"x" * 5000 + b"\r\n")
        await client.say("QUIT")
        assert not [record for record in caplog.records if "metrics" in record.message]


def test_names_follow_the_conventions():
    for name in (*COUNTED, *READ):
        full = full_name(name)
        assert full.replace("_", "").isalnum()
        assert full.islower()
        assert not name.endswith("_total"), "the suffix is added"
    assert set(COUNTED).isdisjoint(READ)
    assert COUNTED["events"].labels["event"] == tuple(KINDS)
