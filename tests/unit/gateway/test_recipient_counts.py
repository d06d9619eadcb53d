# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts of recipients in a sliding window, shared by workers."""

from __future__ import annotations

import pytest

from mailgate.recipient_counts import WINDOW_SECONDS, RecipientCounts


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("boot", [0, 7, 1_000_000])
def test_counts_of_all_workers_are_added_and_forgotten_after_the_window(boot):
    clock = Clock()
    clock.now = boot
    counts = RecipientCounts(2, clock)
    for minute in range(10):
        clock.now = boot + 60 * minute
        counts.add(minute % 2, "x", unknown=True)
        counts.add(0, "x", unknown=False)
    unknown, accepted = counts.totals("x")
    assert unknown == accepted
    assert 8 <= unknown <= 10
    assert counts.totals("y") == (0, 0)
    clock.now += WINDOW_SECONDS
    assert counts.totals("x") == (0, 0)
    counts.add(1, "x", unknown=True)
    assert counts.totals("x") == (1, 0), "a reused slice begins at zero"


def test_an_attack_from_many_names_leaves_others_alone():
    counts = RecipientCounts()
    for number in range(300):
        for _ in range(60):
            counts.add(0, f"attacker {number}", unknown=True)
    hit = sum(counts.totals(f"other {number}")[0] > 50 for number in range(1000))
    assert hit < 30, "about 7 % in each half, so 0.5 % in both"
