# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of the border's rules, for how long they are quiet, and who connects."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Guard, Server, problems, render
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.nft import render as render_nft
from ansible_collections.campus.mailgate.plugins.module_utils._rollout.direct import (
    Counter,
    Seen,
    as_text,
    counters,
    observe,
    read,
    sources,
)

GUARD = Guard(
    interfaces=("wan0",),
    networks=("198.18.0.0/16", "2001:db8:18::/48"),
    gateways=("198.18.0.25",),
    mode="observe",
    servers=(Server("198.18.1.25", "enforce"), Server("198.18.1.30"), Server("2001:db8:18::30"), Server("198.18.0.25")),
)
EXPECTED = {
    "198.18.1.25": True,
    "198.18.1.30": False,
    "198.18.0.0/16": False,
    "2001:db8:18::30": False,
    "2001:db8:18::/48": False,
}


def test_servers_have_rules_of_their_own_before_those_of_the_networks():
    assert problems(GUARD) == []
    saved = [f"[7:420] {rule}" for family in ("ipv4", "ipv6") for rule in render(GUARD, family).rules]
    found = counters("\n".join(saved))
    assert {each.address: each.refuses for each in found} == EXPECTED
    assert [each.packets for each in found] == [7] * 5
    assert "servers: 'x'" in problems(Guard(("wan0",), ("198.18.0.0/16",), ("198.18.0.25",), servers=(Server("x"),)))[0]


@pytest.mark.parametrize("action", ["drop", "reject"])
def test_the_same_with_nft(action):
    listing = render_nft(Guard(**{**GUARD.__dict__, "action": action})).replace(
        " counter ", " counter packets 7 bytes 420 "
    )
    found = [each for each in counters(listing) if each.address != "198.18.0.25"]
    assert {each.address: each.refuses for each in found} == EXPECTED
    assert {each.packets for each in found} == {7}


def test_a_family_without_a_server_is_guarded_as_before():
    only4 = Guard(
        ("wan0",), ("198.18.0.0/16",), ("198.18.0.25",), mode="observe", servers=(Server("198.18.1.25", "enforce"),)
    )
    assert not any("REJECT" in rule for rule in render(only4, "ipv6").rules)


def test_a_counter_that_does_not_change_is_quiet():
    known = observe({}, [Counter("a", False, 5)], 100)
    assert known == {"a": Seen(5, 100, 100)}
    known = observe(known, [Counter("a", False, 5)], 160)
    assert known == {"a": Seen(5, 100, 160)}
    known = observe(known, [Counter("a", False, 6)], 170)
    assert known == {"a": Seen(6, 170, 170)}
    assert observe(known, [Counter("a", False, 0), Counter("b", True, 0)], 200) == {
        "a": Seen(0, 200, 200),
        "b": Seen(0, 200, 200),
    }
    assert observe(known, [], 300) == {}


def test_the_file_is_read_back_and_any_other_is_nothing():
    known = {"198.18.1.25": Seen(5, 100, 160)}
    assert read(as_text(known)) == known
    assert [read(text) for text in ("", "[]", "{}", '{"format": "campus.mailgate direct connections"}')] == [{}] * 4


def test_who_connects_directly():
    line = "mailgate-25: IN=wan0 OUT=lan0 MAC=00 SRC={} DST={} LEN=60 PROTO=TCP SPT=4 DPT=25 SYN"
    lines = [
        f"1700000001.123456 border kernel: {line.format('198.19.0.9', '198.18.1.25')}",
        f"1700000009.000000 border kernel: {line.format('198.19.0.9', '198.18.1.25')}",
        f"1700000003.000000 border kernel: {line.format('2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8:18::30')}",
        "1700000004.000000 border kernel: other-prefix: SRC=1.2.3.4 DST=5.6.7.8",
        "-- No entries --",
    ]
    assert sources(lines, "mailgate-25: ") == [
        {"source": "198.19.0.9", "server": "198.18.1.25", "logged": 2, "last": 1700000009},
        {"source": "2001:db8::1", "server": "2001:db8:18::30", "logged": 1, "last": 1700000003},
    ]
