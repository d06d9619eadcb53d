# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection of catch-all servers, and refresh of cached verification results."""

from __future__ import annotations

import time

from gateway_doubles import (
    KEEP_CONNECTIONS,
    catch_all_probed,
    only_alice_and_bob,
    send_hello,
    wait_for,
)

from mailgate.delivery.verify_cache import VerificationCache
from mailgate.smtp.address import Mailbox


class TestCatchAll:
    async def test_a_catch_all_server_is_detected(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        client = await campus.connect()
        await send_hello(client)
        await catch_all_probed(campus)
        assert campus.gateway.verification_cache.catches_all(Mailbox("x", "a.univ.example"))
        rows = campus.gateway.verification_cache.sizes()[0]
        await client.start(*(f"random{n}@a.univ.example" for n in range(5)))
        assert campus.gateway.verification_cache.sizes()[0] == rows, "its recipients need no rows"
        await client.say("RSET")
        campus.gateway.delivery.pool.close()
        await wait_for(lambda: campus.a.open == 0)
        campus.a.banner = None
        assert (await client.start("never.seen@a.univ.example"))[0].startswith("250"), "all recipients are known there"

    async def test_a_server_that_knows_its_users_is_not_a_catch_all(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt = only_alice_and_bob
        client = await campus.connect()
        await send_hello(client)
        await catch_all_probed(campus)
        assert campus.gateway.verification_cache.catches_all(Mailbox("x", "a.univ.example")) is False
        probes = [line for line in campus.a.commands if line.startswith("RCPT TO:<mailgate-")]
        assert len(probes) == 1


class TestRefresh:
    async def test_known_recipients_are_verified_before_they_expire(self, make_campus, tmp_path):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        now = time.time()
        cache = VerificationCache(
            tmp_path, known_seconds=30 * 86400, unknown_seconds=7200, clock=lambda: now - 29 * 86400
        )
        for name in ("alice", "gone"):
            cache.store(Mailbox(name, "a.univ.example"), known=True)
        cache.close()
        campus.a.rcpt = only_alice_and_bob
        asked = await campus.gateway.delivery.verifier.refresh(campus.gateway.routes.find)
        assert asked == 2
        find = campus.gateway.verification_cache.find
        assert find(Mailbox("alice", "a.univ.example")).known
        assert not find(Mailbox("gone", "a.univ.example")).known
        assert campus.gateway.verification_cache.expiring(10) == []


class TestLimit:
    def test_the_number_of_entries_is_limited(self, tmp_path):
        cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100, max_rows=10)
        for number in range(25):
            cache.store(Mailbox(f"u{number}", "a.example"), known=number < 5)
        cache.prune()
        assert cache.sizes() == (5, 5, 0), "guessed names never displace known recipients"
        cache.close()
