# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long caches may have MX records that have left a zone."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.former import (
    Former,
    Present,
    as_text,
    read,
    remember,
)

KEY = ("univ.example", "", "mech.univ.example")
GW1 = ("gw1.univ.example",)


def after(*observations):
    """Return what is known of KEY after observations: pairs of a time, and the lifetime of its records or None."""
    known = {}
    for now, lifetime in observations:
        known = remember(known, {} if lifetime is None else {KEY: Present(GW1, lifetime)}, (), now)
    return known.get(KEY)


@pytest.mark.parametrize(
    ("observations", "expected"),
    [
        ([(10, 100)], Former(GW1, 100)),
        ([(10, 100), (500, 100)], Former(GW1, 100)),  # the same content, so the file stays
        ([(10, 100), (500, None)], Former(GW1, None, 600)),
        ([(10, 100), (500, None), (599, None)], Former(GW1, None, 600)),
        ([(10, 100), (500, None), (600, None)], None),
        ([(10, 100), (500, 5)], Former(GW1, 5, 600)),  # a lowered TTL
        ([(10, 100), (500, 5), (510, None)], Former(GW1, None, 600)),
        ([(10, 100), (500, 5), (598, None)], Former(GW1, None, 603)),
        ([(10, 5), (500, 100), (510, None)], Former(GW1, None, 610)),
        ([(10, 100), (500, None), (550, 100), (560, None)], Former(GW1, None, 660)),
    ],
)
def test_the_time_until_no_cache_has_a_record(observations, expected):
    assert after(*observations) == expected


def test_the_file_has_all_of_it():
    known = {KEY: Former(GW1, None, 600), ("x.example", "inside", "x.example"): Former(GW1, 3600)}
    assert read(as_text(known)) == known


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}'])
def test_any_other_file_is_an_error(text):
    with pytest.raises(ValueError):
        read(text)
