# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery table when it is long: a line means the same whether or not its next hops were seen before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.routes import NextHop, RoutesError, parse_routes

MEANT = {
    "a.example": "a.example",
    "A.example": "a.example",
    " a.example": "a.example",
    "*.a.example": "*.a.example",
    "*.b.a.example": "*.b.a.example",
    "1-2.example": "1-2.example",
    "xn--wgv71a119e.example": "xn--wgv71a119e.example",
    "日本語.example": "xn--wgv71a119e.example",
    "[198.18.1.1]": "[198.18.1.1]",
}
HOPS = {
    "198.18.1.1": (NextHop("198.18.1.1"),),
    "198.18.1.2,198.18.1.3": (NextHop("198.18.1.2"), NextHop("198.18.1.3")),
    "[2001:db8::1]:2525": (NextHop("2001:db8::1", 2525),),
    "198.18.1.1\t198.18.1.2,198.18.1.3": (NextHop("198.18.1.1"),),
}
ASKED = {"198.18.1.1\t198.18.1.2,198.18.1.3": (NextHop("198.18.1.2"), NextHop("198.18.1.3"))}


@given(st.lists(st.tuples(st.sampled_from(list(MEANT)), st.sampled_from(list(HOPS))), min_size=1, max_size=12))
def test_each_line_is_read_as_if_alone_and_each_second_one_is_named(lines):
    expected = {}
    doubled = []
    for number, (domain, targets) in enumerate(lines, 1):
        if MEANT[domain] in expected:
            doubled.append(number)
        expected.setdefault(MEANT[domain], (HOPS[targets], ASKED.get(targets, ())))
    text = "".join(f"{domain}\t{targets}\n" for domain, targets in lines)
    if doubled:
        with pytest.raises(RoutesError) as caught:
            parse_routes(text)
        assert [int(problem.split(":")[1]) for problem in caught.value.problems] == doubled
        assert all("is already defined" in problem for problem in caught.value.problems)
    else:
        assert {route.pattern: (route.next_hops, route.verify_at) for route in parse_routes(text)} == expected


@pytest.mark.parametrize(
    "bad", ["-a.example", "a_.example", "a b.example", "*.", "x" * 64 + ".example", "a." * 128 + "b"]
)
def test_a_bad_domain_is_found_after_its_next_hop_was_good(bad):
    with pytest.raises(RoutesError) as caught:
        parse_routes(f"a.example\t198.18.1.1\n{bad}\t198.18.1.1\n")
    assert [problem.split(":")[1] for problem in caught.value.problems] == ["2"]


@pytest.mark.parametrize(
    "targets", ["198.18.0.25", "198.18.1.1,198.18.0.25", "mail.example", "127.0.0.1", "198.18.1.1\t198.18.0.25"]
)
def test_a_bad_next_hop_is_named_on_every_line(targets):
    text = "".join(f"{name}.example\t{targets}\n" for name in "abc")
    with pytest.raises(RoutesError) as caught:
        parse_routes(text, own_addresses=["198.18.0.25"])
    assert [problem.split(":")[1] for problem in caught.value.problems] == ["1", "2", "3"]
