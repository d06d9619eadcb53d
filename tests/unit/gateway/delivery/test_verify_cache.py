# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification cache: lifetime, restarts, and what is stored."""

from __future__ import annotations

import pytest

from mailgate.delivery.verify_cache import VerificationCache, is_unknown_recipient
from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


ALICE = Mailbox("alice", "a.example")


OK = Reply.of(250, "2.1.5 ok")


UNKNOWN = Reply(550, ("5.1.1 who?", "5.1.1 really"))


class TestCache:
    def test_entries_are_kept_for_their_lifetime_and_across_restarts(self, tmp_path):
        clock = Clock()
        keep = {"known_seconds": 30 * 86400, "unknown_seconds": 7200, "clock": clock}
        cache = VerificationCache(tmp_path, **keep)
        assert cache.find(ALICE) is None
        cache.store(ALICE, OK)
        cache.store(Mailbox("ghost", "a.example"), UNKNOWN)
        cache.close()
        cache = VerificationCache(tmp_path, **keep)
        assert cache.find(ALICE).known
        assert cache.find(Mailbox("ghost", "a.example")).reply == UNKNOWN
        clock.now += 7200
        assert cache.find(Mailbox("ghost", "a.example")) is None
        cache.store(ALICE, OK)
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
        cache.store(ALICE, OK)
        cache.store(Mailbox("ghost", "a.example"), UNKNOWN)
        cache.store_catch_all("a.example", UNKNOWN)
        cache.store_catch_all("b.example", OK)
        assert cache.sizes() == (1, 1, 1)

    def test_a_removed_recipient_is_noticed_at_once(self, tmp_path):
        cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
        cache.store(ALICE, OK)
        cache.store(ALICE, UNKNOWN)
        assert not cache.find(ALICE).known
        cache.store(ALICE, OK)
        assert cache.find(ALICE).known

    @pytest.mark.parametrize(
        ("reply", "unknown"),
        [
            ((550, "5.1.1 no such user"), True),
            ((550, "No such user here"), True),
            ((553, "5.1.3 bad"), True),
            ((550, "5.7.1 your address is blocked"), False),
            ((552, "5.2.2 full"), False),
            ((450, "4.2.0 greylisted"), False),
            ((554, "5.7.1 no"), False),
        ],
    )
    def test_only_replies_about_the_recipient_are_stored(self, reply, unknown):
        assert is_unknown_recipient(Reply.of(*reply)) == unknown

    def test_a_failing_disk_makes_recipients_unknown_but_loses_no_mail(self, tmp_path, caplog, databases):
        cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
        cache.store(ALICE, OK)
        cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
        databases[-1].full = True
        assert cache.find(ALICE) is None
        cache.store(ALICE, OK)
        assert "verification cache" in caplog.text
