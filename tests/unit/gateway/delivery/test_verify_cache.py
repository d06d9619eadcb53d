# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification cache: lifetime, restarts, and what is stored."""

from __future__ import annotations

from mailgate.delivery.verify_cache import VerificationCache
from mailgate.smtp.address import Mailbox
from mailgate.state import VERIFICATION_CACHE, open_state


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


ALICE = Mailbox("alice", "a.example")


class TestCache:
    def test_entries_are_kept_for_their_lifetime_and_across_restarts(self, tmp_path):
        clock = Clock()
        keep = {"known_seconds": 30 * 86400, "unknown_seconds": 7200, "clock": clock}
        cache = VerificationCache(tmp_path, **keep)
        assert cache.find(ALICE) is None
        cache.store(ALICE, known=True)
        cache.store(Mailbox("ghost", "a.example"), known=False)
        cache.close()
        cache = VerificationCache(tmp_path, **keep)
        assert cache.find(ALICE).known
        assert not cache.find(Mailbox("ghost", "a.example")).known
        clock.now += 7200
        assert cache.find(Mailbox("ghost", "a.example")) is None
        cache.store(ALICE, known=True)
        clock.now += 30 * 86400 - 1
        assert cache.find(ALICE).known, "refreshed by the second answer"
        cache.prune()
        assert cache.sizes() == (1, 0, 0)
        clock.now += 1
        assert cache.find(ALICE) is None
        cache.prune()
        assert cache.sizes() == (0, 0, 0)

    def test_probed_domains_are_not_counted_as_recipients(self, tmp_path):
        cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
        cache.store(ALICE, known=True)
        cache.store(Mailbox("ghost", "a.example"), known=False)
        cache.store_catch_all("a.example", known=False)
        cache.store_catch_all("b.example", known=True)
        assert cache.sizes() == (1, 1, 1)

    def test_a_removed_recipient_is_noticed_at_once(self, tmp_path):
        cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
        cache.store(ALICE, known=True)
        cache.store(ALICE, known=False)
        assert not cache.find(ALICE).known
        cache.store(ALICE, known=True)
        assert cache.find(ALICE).known

    def test_an_upgrade_keeps_known_recipients_and_forgets_refusals(self, tmp_path):
        schema = (
            "CREATE TABLE recipients (mailbox TEXT PRIMARY KEY, known INTEGER NOT NULL, code INTEGER NOT NULL,"
            " text TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID"
        )
        database = open_state(tmp_path / VERIFICATION_CACHE, schema)
        for name, known, code, text in (
            ("alice", 1, 250, "2.1.5 ok"),
            ("bob", 0, 550, "5.1.8 <x@nosuch.example>: Sender address rejected: Domain not found"),
        ):
            row = (f"{name}@a.example", known, code, text)
            database.execute("INSERT INTO recipients VALUES (?, ?, ?, ?, 9e9)", row)
        database.close()
        for start in range(2):
            cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
            assert cache.find(ALICE).known
            assert cache.sizes()[:2] == (1, start)
            cache.store(Mailbox("ghost", "a.example"), known=False)
            cache.close()

    def test_a_failing_disk_makes_recipients_unknown_but_loses_no_mail(self, tmp_path, caplog, databases):
        cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
        cache.store(ALICE, known=True)
        cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
        databases[-1].full = True
        assert cache.find(ALICE) is None
        cache.store(ALICE, known=True)
        assert "verification cache" in caplog.text
