# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that are repeated while another one runs."""

from __future__ import annotations

from gateway_doubles import wait_for

from mailgate.background import Repeated


async def test_each_function_is_called_during_its_context_only():
    repeated, calls = Repeated(0.01), []
    with repeated.during(lambda: calls.append("outer")):
        with repeated.during(lambda: calls.append("inner")):
            await wait_for(lambda: calls.count("inner") >= 2)
        ended = len(calls)
        await wait_for(lambda: calls[ended:].count("outer") >= 2)
        assert "inner" not in calls[ended:]


async def test_a_context_that_is_open_for_a_short_time_is_not_called():
    repeated, calls = Repeated(60), []
    with repeated.during(lambda: calls.append("old")):
        (old,) = repeated._open
        repeated._open[old] -= 60
        with repeated.during(lambda: calls.append("new")):
            repeated._again()
            repeated._timer.cancel()
    assert calls == ["old"]


async def test_the_timer_ends_with_the_last_context_and_begins_again():
    repeated, calls = Repeated(0.01), []
    for _ in range(2):
        with repeated.during(lambda: calls.append(1)):
            seen = len(calls)
            await wait_for(lambda seen=seen: len(calls) > seen)
        await wait_for(lambda: repeated._timer is None)


async def test_the_same_function_in_one_context_after_another():
    repeated, calls = Repeated(0.01), []

    def call() -> None:
        calls.append(1)

    for _ in range(3):
        with repeated.during(call):
            pass
    assert repeated._open == {}
    assert calls == []
