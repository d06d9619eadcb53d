# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of runs: what has changed on which hosts, and which records are old."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.plugin_utils._report.rollout import duration, run_lines
from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.runs import (
    Run,
    as_text,
    changes,
    host_states,
    old,
    read,
)


def answers(ttl, routes):
    return [
        {
            "host": "ns1",
            "facts": {"time": 1, "zones": [{"zone": "a", "owners": [{"owner": "a", "ttl": ttl, "mx": []}]}]},
        },
        {"host": "mail", "facts": {"mail": {"written": True, "local": [], "relay": [], "routes": routes}}},
        {"host": "off", "facts": {}},
    ]


def test_the_hosts_that_have_changed():
    before, after = host_states(answers(300, {})), host_states(answers(60, {"a": ["1"]}))
    assert changes(before, after) == {"ns1": ["ttl"], "mail": ["routes"]}
    assert changes(before, before) == {}
    assert changes({}, after) == {}


def test_a_record_is_read_back():
    run = Run("20261130T050000Z-1.json", 1_796_000_000, "root@controller", "rollout to=mx", 0, {"ns1": ["mx"]})
    assert read(as_text(run, {"ns1": {}})) == (run, {"ns1": {}})
    for text in ("", "{}", "[]", '{"format": "campus.mailgate run"}'):
        with pytest.raises(ValueError):
            read(text)


def test_old_records_go_by_count_and_age():
    runs = [Run(f"{day}", day * 86400, "x", "y", ended=1) for day in range(1, 11)]
    assert old(runs, 10 * 86400, count=8, days=100) == ["2", "1"]
    assert old(runs, 10 * 86400, count=100, days=7) == ["2", "1"]


@pytest.mark.parametrize(
    ("first", "second", "gone"),
    [
        ({}, {}, []),
        ({}, {"ended": 9}, ["2", "1"]),  # has done what the first one left
        ({}, {"ended": 9, "taken_back": "3"}, ["2"]),
        ({"taken_back": "2"}, {}, ["1"]),
    ],
)
def test_a_run_that_is_not_complete_is_not_removed(first, second, gone):
    runs = [Run("1", 1, "x", "y", **first), Run("2", 2, "x", "y", **second)]
    assert old(runs, 10 * 86400, count=100, days=1) == gone


def test_the_list_of_runs():
    runs = [
        Run("a", 0, "root@c", "rollout"),
        Run("b", 60, "root@c", "rollback to=mx", 90, {"gw1": ["routes", "gateways"]}),
    ]
    lines = run_lines(runs)
    assert "not known: the run did not reach its end" in lines[2]
    assert "1970-01-01 00:01:00  root@c  rollback to=mx  gw1 (routes, gateways)" in lines[3]
    assert "gw1 (1 changed)" in run_lines([Run("c", 0, "root@c", "site", 9, files={"gw1": ["/etc/x"]})])[2]


def test_durations():
    assert [duration(each) for each in (0, 59, 61, 3600, 90000)] == ["0 s", "59 s", "1 min 1 s", "1 h", "25 h"]
