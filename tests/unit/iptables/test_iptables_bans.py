# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bans: as text, and in a real kernel's sets."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netfilter_kernel import GUARD, Kernel

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import bans as ban_sets
from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.bans import Ban
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.router import ApplyError

FLOOD = ["198.19.9.9", "198.19.8.0/24", "2001:db8:bad::/48"]


def change(kernel: Kernel, *addresses: str, **options: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"duration": 600, "reason": "flood", "absent": False, "dry": False}
    return kernel.bans().change(addresses, **{**values, **options})


def banned(result: dict[str, Any]) -> list[str]:
    return [ban["address"] for ban in result["bans"]]


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("90s", 90), ("2h", 7200), ("24d", 2073600), ("25d", None), ("0s", None), ("2", None), ("2 h", None), ("", None)],
)
def test_durations(duration: str, expected: int | None) -> None:
    assert ban_sets.seconds(duration) == expected


def test_all_problems_are_told_at_once() -> None:
    found = ban_sets.problems(["198.19.9.300", "0.0.0.0/0", "2000::/3", "198.19.9.9"], "soon")
    assert [problem.split(":")[0] for problem in found] == ["addresses"] * 3 + ["duration"]


def test_only_what_differs_is_added() -> None:
    bans = {"198.19.9.9": Ban("198.19.9.9", 3590, "flood", 7)}
    assert ban_sets.added(bans, ["198.19.9.9"], 3600, "flood") == {}
    assert ban_sets.added(bans, ["198.19.9.9"], 7200, "flood")["198.19.9.9"].refused == 7
    assert list(ban_sets.added(bans, ["198.19.9.9/32", "::1"], 3600, "again")) == ["198.19.9.9", "::1"]
    for_ever = {"::1": Ban("::1", 0)}
    assert list(ban_sets.added(for_ever, ["::1"], 5, "")) == ["::1"]


def test_networks_that_cover_an_address_are_found() -> None:
    bans = {address: Ban(address, 9) for address in (*FLOOD, "198.19.0.0/16")}
    assert ban_sets.covering(bans, "198.19.8.8") == ["198.19.8.0/24", "198.19.0.0/16"]
    assert ban_sets.covering(bans, "2001:db8:bad::1") == ["2001:db8:bad::/48"]
    assert ban_sets.covering(bans, "198.18.0.1") == []


@given(st.text(max_size=80), st.integers(1, ban_sets.MAX_SECONDS), st.integers(0, 2**40))
def test_what_is_recorded_is_read_again(reason: str, left: int, now: int) -> None:
    ban = Ban("198.19.9.9", left, model.clean_comment(reason))
    text = ban_sets.record([ban, Ban("::1", 0, "by hand, without an end")], now)
    assert text.count("\n") == 1
    assert ban_sets.recorded(text, now) == {"198.19.9.9": now + left}
    assert ban_sets.recorded(text, now + left) == {}


def without_times(diff: dict[str, str]) -> dict[str, str]:
    """Return a diff without the ends of the bans: the clock may tick between two calls."""
    return {key: re.sub(r"until \S+", "until", text) for key, text in diff.items()}


def test_bans_are_added_listed_and_removed(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    would = change(kernel, *FLOOD, dry=True)
    assert would["changed"]
    assert banned(change(kernel)) == []
    done = change(kernel, *FLOOD)
    assert without_times(done["diff"]) == without_times(would["diff"])
    assert banned(done) == ["198.19.8.0/24", "198.19.9.9", "2001:db8:bad::/48"]
    assert not change(kernel, *FLOOD)["changed"]
    listed = change(kernel)
    assert not listed["changed"]
    assert {ban["reason"] for ban in listed["bans"]} == {"flood"}
    assert all(500 <= ban["seconds_left"] <= 600 for ban in listed["bans"])
    gone = change(kernel, "198.19.9.9", "198.19.8.7", absent=True)
    assert banned(gone) == ["198.19.8.0/24", "2001:db8:bad::/48"]
    assert gone["warnings"] == ["198.19.8.7 is still banned by 198.19.8.0/24"]
    assert not change(kernel, "198.19.9.9", absent=True)["changed"]
    assert kernel.bans_file.read_text().count("\n") == 2


def test_a_ban_ends_by_itself(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    change(kernel, "198.19.9.9", duration=1)
    change(kernel, "198.19.9.10")
    deadline = time.monotonic() + 60
    while "198.19.9.9" in banned(change(kernel)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert banned(change(kernel)) == ["198.19.9.10"]


def test_bans_outlive_new_rules_and_a_reboot_with_the_time_that_remains(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    change(kernel, "198.19.9.9", reason="it's a flood")
    change(kernel, "2001:db8:bad::1", duration=1000, reason="")
    kernel.apply(dataclasses.replace(GUARD, set_threshold=0, mode="observe"))
    assert banned(change(kernel)) == ["198.19.9.9", "2001:db8:bad::1"]
    kernel.flush()
    now = int(time.time())
    old = kernel.bans_file.read_text()
    assert "mailgate-bans 198.19.9.9 it's a flood\n" in old
    # After 100 seconds one more ban has ended. A clock that is behind extends no ban. The last line is damaged.
    kernel.bans_file.write_text(
        f"{now + 500} 600 mailgate-bans 198.19.9.9 it's a flood\n"
        f"{now - 1} 600 mailgate-bans 198.19.9.10 over\n"
        f"{now + 90000} 1000 mailgate-bans6 2001:db8:bad::1\n"
        f"{now + 90000} 1000 mailgate-permits6 2001:db8:bad::2\nrubbish\n"
    )
    assert kernel.loader("sets") == 0
    assert kernel.loader("boot") == 0
    bans = change(kernel)["bans"]
    assert [(ban["address"], ban["reason"]) for ban in bans] == [
        ("198.19.9.9", "it's a flood"),
        ("2001:db8:bad::1", ""),
    ]
    assert 400 <= bans[0]["seconds_left"] <= 500
    assert 900 <= bans[1]["seconds_left"] <= 1000


def test_rules_gone_for_good_take_their_bans_with_them(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    change(kernel, "198.19.9.9")
    kernel.apply(None)
    assert not kernel.bans_file.exists()
    with pytest.raises(ApplyError, match=r"Cannot read the set mailgate-bans .*\. Apply the role"):
        change(kernel)


def test_a_ban_without_effect_is_an_error(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    kernel.must("iptables", "-F", "MAILGATE")
    with pytest.raises(ApplyError, match=r"rules \(ipv4\) on this router predate ban support"):
        change(kernel, "198.19.9.9")
    assert banned(change(kernel, "2001:db8:bad::1")) == ["2001:db8:bad::1"]
