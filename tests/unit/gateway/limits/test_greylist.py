# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Greylisting by rule and by score: who waits, who does not, and what survives."""

from __future__ import annotations

import sqlite3
import time

import pytest
from rule_clients import ALICE, BOB, CLIENT, OK, OTHER, reply_to, rule

from mailgate.limit_settings import Greylist
from mailgate.limits.greylist import Greylisting, sender_key
from mailgate.limits.local_store import LocalStore, stored_senders
from mailgate.limits.store import GuardedStore
from mailgate.rate_buckets import RateBuckets
from mailgate.smtp.address import Mailbox

ANYBODY = 'client = ["0.0.0.0/0", "::/0"]'
ALL = rule("new", "greylist", ANYBODY)
FAR = "203.0.113.9"
A, B, C = (Mailbox(name, "x.example") for name in "abc")


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def greylist_of(campus) -> Clock:
    clock = campus.gateway.client_limits.greylisting._clock = Clock()
    return clock


class TestRules:
    async def test_a_new_sender_waits_and_is_known_then(self, with_limits):
        campus = await with_limits(ALL)
        clock = greylist_of(campus)
        assert await reply_to(campus) == "450 4.7.1 New sender, please try again in 300 seconds (greylisting)"
        clock.now += 100
        assert "in 200 seconds" in await reply_to(campus, address=OTHER), "any address of its network"
        assert campus.a.connections == 0, "no server is asked"
        clock.now += 200
        assert await reply_to(campus) == OK
        assert await reply_to(campus) == OK
        assert (await reply_to(campus, to=BOB)).startswith("450"), "another recipient"
        assert (await reply_to(campus, sender="b@sender.example")).startswith("450"), "another sender"
        assert (await reply_to(campus, address=FAR)).startswith("450"), "another network"
        assert campus.count("greylisted") == 5
        assert {event["rule"] for event in campus.events("recipient_refused")} == {"new"}

    @pytest.mark.parametrize(("points", "replies"), [(4, "250"), (5, "450"), (12, "550")])
    async def test_by_score(self, with_limits, points, replies):
        campus = await with_limits(
            f"[refusal]\ntag_score = 0\ngreylist_score = 5\nrefuse_score = 10\n"
            f"{rule('s', 'score', ANYBODY, f'score = {points}')}"
        )
        assert (await reply_to(campus))[:3] == replies

    async def test_a_later_rule_may_allow_or_refuse(self, with_limits):
        campus = await with_limits(
            ALL + rule("good", "allow", f'client = ["{CLIENT}"]') + rule("bad", "refuse", f'client = ["{OTHER}"]')
        )
        assert await reply_to(campus) == OK
        assert (await reply_to(campus, address=OTHER)).startswith("550")

    @pytest.mark.parametrize("address", ["198.18.0.25", "198.18.200.7", "198.18.7.7"])
    async def test_exempt_clients(self, with_limits, address):
        campus = await with_limits(f'{ALL}[bans]\nnever = ["198.18.7.7"]\n')
        assert await reply_to(campus, address=address) == OK

    async def test_a_broken_database_lets_mail_pass(self, with_limits, tmp_path):
        (tmp_path / "greylist.sqlite").write_bytes(b"x" * 5000)
        campus = await with_limits(ALL)
        assert await reply_to(campus, to=ALICE) == OK
        assert await reply_to(campus, to=BOB) == OK
        assert campus.count("limits_store_failed") == 1


class TestSenders:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def make(self, tmp_path, clock):
        def make() -> tuple[Greylisting, LocalStore]:
            rates = RateBuckets()
            local = LocalStore(tmp_path, rates, clock)
            return Greylisting(GuardedStore(local, rates, pytest.fail), clock), local

        return make

    async def test_what_is_known_survives_a_restart(self, make, clock):
        one, local = make()
        assert await one.wait_seconds(CLIENT, A, B) == 300
        local.close()
        clock.now += 300
        two, _local = make()
        assert await two.wait_seconds(CLIENT, A, B) == 0

    async def test_one_that_comes_too_late_begins_again(self, make, clock):
        greylist, _local = make()
        assert await greylist.wait_seconds(CLIENT, A, B) == 300
        clock.now += 48 * 3600 + 1
        assert await greylist.wait_seconds(CLIENT, A, B) == 300

    async def test_one_that_has_waited_is_forgotten_after_its_lifetime(self, make, clock):
        greylist, _local = make()
        greylist.settings = Greylist(network_successes=0)
        await greylist.wait_seconds(CLIENT, A, B)
        for days in (1, 35, 35):
            clock.now += days * 86_400
            assert await greylist.wait_seconds(CLIENT, A, B) == 0
        clock.now += 37 * 86_400
        assert await greylist.wait_seconds(CLIENT, A, B) == 300

    async def test_a_network_with_successes_waits_no_more(self, make, clock):
        greylist, _local = make()
        senders = [Mailbox(name, "x.example") for name in "abcdefg"]
        for sender in senders[:5]:
            await greylist.wait_seconds(CLIENT, sender, B)
        clock.now += 300
        for sender in senders[:5]:
            assert await greylist.wait_seconds(CLIENT, sender, B) == 0
        assert await greylist.wait_seconds(OTHER, senders[6], C) == 0
        assert await greylist.wait_seconds(FAR, senders[6], C) == 300

    async def test_the_number_is_bounded(self, make, tmp_path, clock):
        greylist, local = make()
        local.max_senders = 100
        await greylist.wait_seconds(CLIENT, A, B)
        clock.now += 300
        await greylist.wait_seconds(CLIENT, A, B)
        for number in range(500):
            clock.now += 1
            await greylist.wait_seconds(f"198.18.{number % 250}.1", Mailbox(f"x{'y' * number}", "x.example"), B)
        local.prune()
        waiting, passed = stored_senders(tmp_path)
        assert waiting + passed == 100
        assert passed == 1, "those that have waited stay"

    async def test_what_has_expired_is_deleted(self, make, tmp_path, clock):
        greylist, local = make()
        for sender in (A, C):
            await greylist.wait_seconds(CLIENT, sender, B)
        clock.now += 300
        await greylist.wait_seconds(CLIENT, A, B)
        clock.now += 48 * 3600
        local.prune()
        assert stored_senders(tmp_path) == (0, 1)
        clock.now += 36 * 86_400
        local.prune()
        assert stored_senders(tmp_path) == (0, 0)

    def test_senders_that_number_their_messages_are_one(self):
        assert sender_key(Mailbox("list-17=b", "x.example"), B) == sender_key(Mailbox("List-18=b", "x.example"), B)
        assert sender_key(A, B) != sender_key(B, A)

    async def test_a_database_that_another_process_has_locked(self, tmp_path):
        rates, failures = RateBuckets(), []
        store = GuardedStore(LocalStore(tmp_path, rates), rates, failures.append, clock=lambda: 0.0)
        greylist = Greylisting(store)
        assert await greylist.wait_seconds(CLIENT, A, B) == 300
        other = sqlite3.connect(tmp_path / "greylist.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert [await greylist.wait_seconds(CLIENT, C, B) for _ in range(20)] == [0] * 20
        assert len(failures) == 1, "one call waits for the lock"
