# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes table: lookup, file format, problems."""

from __future__ import annotations

import json

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


ROUTES = """# made by the plan
*.lab.mech.eng.univ.example\t198.18.1.31
*.eng.univ.example\t198.18.1.32
eng.univ.example\t198.18.1.25,2001:db8::25
mech.eng.univ.example\t198.18.1.30
[198.18.1.40]\t198.18.1.40
大学.example\t[198.18.1.50]:2525
"""


def test_an_external_domain_has_no_route_although_a_wildcard_matches():
    table = parse_routes("*.eng.univ.example\t198.18.1.32\nshop.eng.univ.example\t-\n*.shop.eng.univ.example\t-\n")
    assert table.find("www.eng.univ.example")
    assert table.find("shop.eng.univ.example") is table.find("a.Shop.eng.univ.example") is None
    assert len(table) == len(list(table)) == 1
    with pytest.raises(RoutesError, match="contains no routes"):
        parse_routes("shop.eng.univ.example\t-\n")
    with pytest.raises(RoutesError, match="not a valid IP address"):
        parse_routes("a.example\t-,198.18.1.1\n")


class TestParse:
    @given(st.lists(st.tuples(st.sampled_from(list(MEANT)), st.sampled_from(list(HOPS))), min_size=1, max_size=12))
    def test_each_line_is_read_independently_and_duplicates_are_named(self, lines):
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
    def test_a_bad_domain_is_found_after_its_next_hop_was_good(self, bad):
        with pytest.raises(RoutesError) as caught:
            parse_routes(f"a.example\t198.18.1.1\n{bad}\t198.18.1.1\n")
        assert [problem.split(":")[1] for problem in caught.value.problems] == ["2"]

    @pytest.mark.parametrize(
        "targets", ["198.18.0.25", "198.18.1.1,198.18.0.25", "mail.example", "127.0.0.1", "198.18.1.1\t198.18.0.25"]
    )
    def test_a_bad_next_hop_is_named_on_every_line(self, targets):
        text = "".join(f"{name}.example\t{targets}\n" for name in "abc")
        with pytest.raises(RoutesError) as caught:
            parse_routes(text, own_addresses=["198.18.0.25"])
        assert [problem.split(":")[1] for problem in caught.value.problems] == ["1", "2", "3"]


class TestFind:
    @pytest.mark.parametrize(
        ("domain", "address"),
        [
            ("eng.univ.example", "198.18.1.25"),
            ("MECH.eng.Univ.Example", "198.18.1.30"),
            ("pc.lab.mech.eng.univ.example", "198.18.1.31"),
            ("a.b.lab.mech.eng.univ.example", "198.18.1.31"),
            ("lab.mech.eng.univ.example", "198.18.1.32"),
            ("civil.eng.univ.example", "198.18.1.32"),
            ("[198.18.1.40]", "198.18.1.40"),
            ("xn--pss25c.example", "198.18.1.50"),
            ("univ.example", None),
            ("xeng.univ.example", None),
            ("example", None),
            ("[198.18.1.41]", None),
        ],
    )
    def test_longest_match(self, domain, address):
        route = parse_routes(ROUTES).find(domain)
        assert (route and route.next_hops[0].address) == address

    def test_next_hops_keep_their_order_and_port(self):
        routes = parse_routes(ROUTES)
        assert routes.find("eng.univ.example").next_hops == (NextHop("198.18.1.25"), NextHop("2001:db8::25"))
        assert routes.find("xn--pss25c.example").next_hops == (NextHop("198.18.1.50", 2525),)

    def test_verification_servers_are_listed_if_they_differ_from_the_next_hops(self):
        routes = parse_routes(
            "a.example\t198.18.1.25\t198.18.1.30,[198.18.1.31]:2525\n"
            "b.example\t198.18.1.25\t198.18.1.25\n"
            "c.example\t198.18.1.25\n"
            "d.example\t198.18.1.25\t\n"
        )
        home = (NextHop("198.18.1.30"), NextHop("198.18.1.31", 2525))
        assert [route.verify_at for route in routes] == [home, (), (), ()]
        assert [len(route.verification_servers) for route in routes] == [2, 1, 1, 1]
        assert routes.render("table").splitlines()[:2] == [
            "a.example  198.18.1.25  verified by 198.18.1.30, [198.18.1.31]:2525",
            "b.example  198.18.1.25",
        ]
        assert "a.example,198.18.1.25,198.18.1.30 [198.18.1.31]:2525\n" in routes.render("csv")
        assert [route["ask"] for route in json.loads(routes.render("json"))][1:] == [["198.18.1.25"]] * 3


class TestProblems:
    def test_all_problems_of_a_table_are_named(self):
        text = (
            "a.example 198.18.1.1\n"
            "b.example\tmail.b.example\n"
            "a_b.example\t198.18.1.1\n"
            "*.\t198.18.1.1\n"
            "c.example\t198.18.0.10\n"
            "d.example\t::ffff:198.18.0.10\n"
            "e.example\t198.18.1.1\nE.example\t198.18.1.2\n"
            "f.example\t198.18.1.1,\n"
            "g.example\t127.0.0.1\n"
            "h.example\t0.0.0.0\n"
            "i.example\t[198.18.1.1]:99999\n"
            "j.example\t198.18.1.1\t198.18.1.30,198.18.0.10,home.example\n"
            "k.example\t198.18.0.10\t127.0.0.1\n"
            "l.example\t\t198.18.1.1\n"
            "m.example\t198.18.1.1\t198.18.1.1\t198.18.1.1\n"
        )
        with pytest.raises(RoutesError) as caught:
            parse_routes(text, own_addresses=["198.18.0.10"], source="routes")
        assert [int(problem.split(":")[1]) for problem in caught.value.problems] == [
            1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 13, 14, 14, 15, 16
        ]  # fmt: skip
        assert sum("loop" in problem for problem in caught.value.problems) == 5
        assert "routes:13: verification server 198.18.0.10 of j.example is a gateway's own address" in str(caught.value)

    def test_an_empty_table_is_rejected(self):
        with pytest.raises(RoutesError, match="contains no routes"):
            parse_routes("# nothing\n")


class TestPrint:
    def test_the_table_is_printed_in_three_formats(self):
        routes = parse_routes(ROUTES)
        assert routes.render("table").splitlines()[0].split() == ["*.eng.univ.example", "198.18.1.32"]
        assert "eng.univ.example,198.18.1.25 2001:db8::25,198.18.1.25 2001:db8::25\n" in routes.render("csv")
        hop = ["198.18.1.30"]
        assert {"domain": "mech.eng.univ.example", "next_hops": hop, "ask": hop} in json.loads(routes.render("json"))
