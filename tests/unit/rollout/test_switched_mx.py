# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When MX records have changed, and until when caches may have the former ones."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._rollout.mx import (
    Records,
    Switch,
    as_text,
    compare,
    observe,
    read,
    with_ttl,
)

KEY = ("eng.univ.example", "", "mech.eng.univ.example")


def test_a_lowered_ttl_takes_as_long_as_the_previous_one():
    known = observe({}, {KEY: 86400}, {}, 100)
    assert known == {KEY: Switch(86400)}
    known = observe(known, {KEY: 300}, {}, 200)
    assert known == {KEY: Switch(300, 86600)}
    assert observe(known, {KEY: 300}, {}, 300) == known


def test_changed_records_take_as_long_as_their_ttl():
    assert observe({KEY: Switch(300)}, {}, {KEY: 0}, 1000) == {KEY: Switch(None, 1300)}
    assert observe({KEY: Switch(300, 86600)}, {}, {KEY: 0}, 1000) == {KEY: Switch(None, 86600)}
    known = {KEY: Switch(None, 1300)}
    assert observe(known, {}, {KEY: 0}, 5000) == known


def test_records_that_are_first_seen_after_the_change():
    assert observe({}, {}, {KEY: 3600}, 1000) == {KEY: Switch(None, 4600)}


def test_records_that_are_restored_begin_again():
    assert observe({KEY: Switch(None, 1300)}, {KEY: 300}, {}, 1100) == {KEY: Switch(300)}


def test_names_that_are_not_observed_stay():
    assert observe({KEY: Switch(300, 500)}, {}, {}, 1000) == {KEY: Switch(300, 500)}


def test_the_file_is_read_back():
    known = {KEY: Switch(None, 1300), ("a.example", "inside", "*.a.example"): Switch(300)}
    assert read(as_text(known)) == known
    for text in ("", "[]", '{"format": "x"}', '{"format": "campus.mailgate switched MX records", "names": [{}]}'):
        with pytest.raises(ValueError):
            read(text)


def test_planned_former_and_other_records():
    planned = [frozenset({"0 gw1.univ.example", "10 gw2.univ.example"})]
    gateways = ["gw1.univ.example", "gw2.univ.example"]

    def state(*mx):
        return compare(Records(frozenset(mx), 300), planned, gateways)

    assert state("0 gw1.univ.example", "10 gw2.univ.example") == "planned"
    assert state("0 .") == "planned"
    assert state("0 mail.univ.example") == "former"
    assert state() == "former"
    assert state("0 gw1.univ.example") == "other"


def test_records_of_a_view():
    lines = [
        "mech.eng.univ.example.\t300\tIN\tMX\t0 GW1.univ.example.",
        "mech.eng.univ.example.\t300\tIN\tMX\t10 gw2.univ.example.",
        "null.eng.univ.example. 60 IN MX 0 .",
        "mech.eng.univ.example. 300 IN A 198.18.1.30",
    ]
    assert with_ttl(lines) == {
        "mech.eng.univ.example": Records(frozenset({"0 gw1.univ.example", "10 gw2.univ.example"}), 300),
        "null.eng.univ.example": Records(frozenset({"0 ."}), 60),
    }
