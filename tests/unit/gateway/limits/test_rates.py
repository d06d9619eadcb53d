# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates by real SMTP: of clients, networks, senders, recipients, and hosts that may relay; they hold over workers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from email import policy
from email.parser import BytesParser

import pytest
from gateway_doubles import Client, wait_for
from rule_clients import BOB, CLIENT, OK, OTHER, connect, reply_to

from mailgate.limits.store import Attempt, GuardedStore, StoreError
from mailgate.rate_buckets import RateBuckets
from mailgate.worker_counters import SharedCounters, WorkerCounters

FAR = "203.0.113.9"
RELAY = "198.18.200.7"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestBuckets:
    def test_all_at_once_and_then_evenly(self):
        clock = Clock()
        buckets = RateBuckets(clock)
        assert [buckets.take("a", 3, 60) for _ in range(5)] == [True] * 3 + [False] * 2
        assert buckets.take("b", 3, 60), "another name"
        clock.now += 19
        assert not buckets.take("a", 3, 60)
        clock.now += 1.01
        assert [buckets.take("a", 3, 60) for _ in range(2)] == [True, False]
        clock.now += 10_000
        assert [buckets.take("a", 3, 60) for _ in range(4)] == [True] * 3 + [False], "it saves up no more than that"

    def test_the_limit_holds_over_workers(self):
        shared = SharedCounters(4)
        workers = [WorkerCounters(shared, number) for number in range(4)]
        taken = [workers[each % 4].rates.take("a", 10, 600) for each in range(40)]
        assert taken == [True] * 10 + [False] * 30

    def test_random_names_do_not_use_up_the_rate_of_others(self):
        clock = Clock()
        buckets = RateBuckets(clock)
        for number in range(50_000):
            clock.now += 0.004
            buckets.take(f"sender {number}", 20, 600)
        assert all(buckets.take(f"honest {number}", 20, 600) for number in range(1000))


class TestLimits:
    @pytest.mark.parametrize(
        ("rate", "first", "second", "passes", "reply"),
        [
            ("recipients_per_client", {}, {"to": BOB, "sender": ""}, {"address": OTHER}, "from your address"),
            ("recipients_per_network", {}, {"address": OTHER}, {"address": FAR}, "from your network"),
            ("recipients_per_sender", {}, {"address": FAR}, {"sender": "x@y.example"}, "from this sender"),
            ("messages_per_recipient", {}, {"address": FAR, "sender": "x@y.example"}, {"to": BOB}, "too many messages"),
        ],
    )  # fmt: skip
    async def test_above_a_rate_recipients_are_deferred(self, with_limits, rate, first, second, passes, reply):
        campus = await with_limits(f"[rates]\n{rate} = 2\n")
        assert await reply_to(campus, **first) == OK
        assert await reply_to(campus, **second) == OK
        for kind in (first, second):
            refused = await reply_to(campus, **kind)
            assert refused.startswith("450 4.") and reply in refused
        assert await reply_to(campus, **passes) == OK
        assert campus.count("rate_exceeded") == 2
        assert len(campus.events("recipient_refused")) == 2

    async def test_case_does_not_matter(self, with_limits):
        campus = await with_limits("[rates]\nmessages_per_recipient = 1\n")
        assert await reply_to(campus) == OK
        assert (await reply_to(campus, to="ALICE@a.univ.example")).startswith("450 4.2.1")

    async def test_the_null_sender_is_not_one_sender(self, with_limits):
        campus = await with_limits("[rates]\nrecipients_per_sender = 1\n")
        assert [await reply_to(campus, sender="") for _ in range(3)] == [OK] * 3

    async def test_connections(self, with_limits):
        campus = await with_limits("[rates]\nconnections_per_client = 2\n")
        for _ in range(2):
            await connect(campus)
        client = Client(*await asyncio.open_connection("127.0.0.1", campus.port))
        campus.clients.append(client)
        assert (await client.say(f"PROXY TCP4 {CLIENT} {CLIENT} 1 25")).startswith("421 4.7.1 Too many new connections")
        await connect(campus, OTHER)

    @pytest.mark.parametrize("address", ["198.18.0.25", "198.18.7.7"])
    async def test_exempt_clients(self, with_limits, address):
        campus = await with_limits(
            "[rates]\nconnections_per_client = 1\nrecipients_per_client = 1\nmessages_per_recipient = 1\n"
            '[bans]\nnever = ["198.18.7.7"]\n'
        )
        assert [await reply_to(campus, address=address) for _ in range(3)] == [OK] * 3

    async def test_by_default_nothing_is_counted(self, with_limits):
        campus = await with_limits("")
        config = replace(campus.gateway.config, relay_networks=())
        campus.gateway.use(config, campus.gateway.routes)
        assert not campus.gateway.client_limits.counts_recipients


class TestOutgoing:
    async def test_a_host_that_relays_too_much_is_deferred_with_an_alarm(self, with_limits):
        campus = await with_limits("[rates]\nrelayed_per_client = 3\nrelay_alarm = 2\n")
        client = await connect(campus, RELAY)
        replies = await client.start(*(f"user{number}@elsewhere.example" for number in range(5)))
        assert [reply[:3] for reply in replies] == ["250"] * 3 + ["450"] * 2
        assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250"), "what was accepted is delivered"
        (event,) = campus.events("relay_alarm")
        assert (event["client"], event["threshold"], event["limit"]) == (RELAY, 2, 3)
        assert campus.count(f"relay_alarm:{RELAY}") == 1
        assert (await reply_to(campus, address="198.18.200.8", to="x@elsewhere.example")).startswith("250")

    async def test_an_alarm_alone_defers_nothing(self, with_limits):
        campus = await with_limits("[rates]\nrelay_alarm = 2\n")
        client = await connect(campus, RELAY)
        replies = await client.start(*(f"user{number}@elsewhere.example" for number in range(5)))
        assert {reply[:3] for reply in replies} == {"250"}
        assert len(campus.events("relay_alarm")) == 1

    async def test_an_alarm_is_sent_by_mail(self, with_limits):
        campus = await with_limits('language = "ja"\n[rates]\nrelay_alarm = 2\nalarm_to = "abuse@b.univ.example"\n')
        client = await connect(campus, RELAY)
        await client.start(*(f"user{number}@elsewhere.example" for number in range(5)))
        await wait_for(lambda: campus.queue.received)
        (mail,) = campus.queue.received
        assert (mail.sender, mail.recipients) == ("", ["abuse@b.univ.example"])
        message = BytesParser(policy=policy.default).parsebytes(mail.content)
        assert RELAY in message["Subject"]
        text = message.get_content()
        assert "more than 2 recipients in 10 minutes" in text
        assert "10 分間に" in text

    async def test_servers_of_mailing_lists(self, with_limits):
        campus = await with_limits(f'[rates]\nrelayed_per_client = 1\nrelay_alarm = 1\nrelay_unlimited = ["{RELAY}"]\n')
        client = await connect(campus, RELAY)
        replies = await client.start(*(f"user{number}@elsewhere.example" for number in range(3)))
        assert {reply[:3] for reply in replies} == {"250"}
        assert not campus.events("relay_alarm")


class Broken:
    """A store that fails, or does not answer."""

    def __init__(self, *, hangs: bool) -> None:
        self.calls = 0
        self.hangs = hangs

    async def _fail(self, *_arguments: object) -> Attempt:
        self.calls += 1
        if self.hangs:
            await asyncio.sleep(60)
        raise StoreError("down")

    changed_bans = add_bans = take_all = network_successes = attempt = succeed = _fail


class TestStore:
    @pytest.mark.parametrize("hangs", [False, True])
    async def test_a_store_that_fails_delays_one_call_and_is_replaced_by_own_memory(self, hangs):
        store, failures, clock = Broken(hangs=hangs), [], Clock()
        guarded = GuardedStore(store, RateBuckets(), failures.append, seconds=0.01, clock=clock)
        assert [await guarded.take("a", 2, 600) for _ in range(4)] == [True, True, False, False]
        assert await guarded.changed_bans() is None
        assert await guarded.add_bans([]) is False
        assert await guarded.attempt(b"", "", 1, 0) is None
        assert await guarded.network_successes("") is None
        await guarded.succeed(b"", "", 1)
        assert (store.calls, len(failures)) == (1, 1)
        clock.now += 5
        await guarded.take("a", 2, 600)
        assert (store.calls, len(failures)) == (2, 2), "it is tried again"
