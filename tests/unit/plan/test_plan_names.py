# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and addresses: one spelling, and the longest match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_campus import best

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory import names as domain_names


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Mech.ENG.univ.Example", "mech.eng.univ.example"),
        ("eng.univ.example.", "eng.univ.example"),
        ("日本語.univ.example", "xn--wgv71a119e.univ.example"),
        ("日本語。univ。example", "xn--wgv71a119e.univ.example"),
        ("XN--WGV71A119E.univ.example", "xn--wgv71a119e.univ.example"),
        ("*.Lab.eng.univ.example", "*.lab.eng.univ.example"),
        ("1a-b.univ.example", "1a-b.univ.example"),
    ],
)
def test_domains_get_one_spelling(written, meant):
    assert domain_names.domain_pattern(written) == meant


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "empty label"),
        ("univ", "no dot"),
        ("*", "not the first label"),
        ("*.example", "no dot"),
        ("a.*.univ.example", "not the first label"),
        ("*lab.univ.example", "not the first label"),
        ("*.*.univ.example", "invalid label '*'"),
        ("mech..univ.example", "empty label"),
        (".univ.example", "empty label"),
        ("eng.univ.example..", "empty label"),
        ("-eng.univ.example", "invalid label '-eng'"),
        ("eng-.univ.example", "invalid label 'eng-'"),
        ("mail_1.univ.example", "invalid label 'mail_1'"),
        ("me ch.univ.example", "invalid label 'me ch'"),
        ("user@univ.example", "invalid label 'user@univ'"),
        ("a" * 64 + ".example", "invalid label"),
        ("a." * 124 + "example.", "longer than 253"),
        ("198.18.0.1", "is an address"),
        ("日" * 60 + ".example", "A-labels"),
        (25, "is not text"),
        (None, "is not text"),
        (["eng.univ.example"], "is not text"),
    ],
)
def test_malformed_domains_say_why(written, why):
    with pytest.raises(ValueError, match=r".") as error:
        domain_names.domain_pattern(written)
    assert why in str(error.value)


def test_a_host_name_is_no_pattern():
    with pytest.raises(ValueError, match="invalid label"):
        domain_names.host_name("*.univ.example")


def test_addresses_get_one_spelling():
    assert domain_names.ipv4("198.18.1.30") == "198.18.1.30"
    assert domain_names.ipv6("2001:0DB8:18:0::25") == "2001:db8:18::25"


@pytest.mark.parametrize(
    "address", ["198.18.1", "198.18.1.300", "0198.18.1.1", "2001:db8::1", "127.0.0.1", "0.0.0.0", "224.0.0.1", 1, None]
)
def test_bad_ipv4(address):
    with pytest.raises(ValueError, match=r"not a valid IPv4 address|not reachable|not text"):
        domain_names.ipv4(address)


@pytest.mark.parametrize("address", ["198.18.1.1", "::1", "fe80::1", "2001:db8::1%eth0", "2001:db8:::1", 6])
def test_bad_ipv6(address):
    with pytest.raises(ValueError, match=r"not a valid IPv6 address|not reachable|not text"):
        domain_names.ipv6(address)


@pytest.mark.parametrize("cidr", ["198.18.0.1/16", "198.18.0.0/33", "campus", 24])
def test_bad_networks(cidr):
    with pytest.raises(ValueError, match=r"not a valid network|not text"):
        domain_names.network(cidr)


def test_the_longest_match_wins():
    table = domain_names.Patterns(
        [("*.univ.example", 1), ("*.lab.univ.example", 2), ("a.lab.univ.example", 3), ("univ.example", 4)]
    )
    assert table.find("a.lab.univ.example") == 3
    assert table.find("b.lab.univ.example") == 2
    assert table.find("c.b.lab.univ.example") == 2
    assert table.find("lab.univ.example") == 1
    assert table.find("univ.example") == 4
    assert table.find("other.example") is None
    assert table.find("xuniv.example") is None


labels = st.sampled_from(["a", "b", "c"])
names = st.lists(labels, min_size=1, max_size=5).map(".".join)


@given(name=names, patterns=st.dictionaries(st.one_of(names, names.map("*.".__add__)), st.integers(), max_size=8))
def test_the_match_equals_the_plain_way(name, patterns):
    assert domain_names.Patterns(patterns.items()).find(name) == best(name, patterns)


def test_the_longest_zone_wins():
    zones = ["univ.example", "eng.univ.example"]
    assert domain_names.zone_of("mech.eng.univ.example", zones) == "eng.univ.example"
    assert domain_names.zone_of("eng.univ.example", zones) == "eng.univ.example"
    assert domain_names.zone_of("*.eng.univ.example", zones) == "eng.univ.example"
    assert domain_names.zone_of("xeng.univ.example", zones) == "univ.example"
    assert domain_names.zone_of("univ.test", zones) is None
