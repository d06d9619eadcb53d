# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of networks, names and addresses, compared with plain searches; problems with file and line."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.rules.entries import (
    MAX_PROBLEMS,
    NameTable,
    NetworkTable,
    new_table,
    pack,
    parse_address,
    parse_name,
    parse_network,
    read_lines,
)


def table_of(kind: str, *entries: str):
    table = new_table(kind)
    assert read_lines(table, entries, "f") == []
    table.close()
    return table


NETWORKS = st.one_of(
    st.tuples(st.integers(0, 7), st.integers(24, 32)).map(
        lambda pair: ipaddress.ip_network((0xC6120000 | pair[0], pair[1]), strict=False)
    ),
    st.tuples(st.integers(0, 7), st.integers(120, 128)).map(
        lambda pair: ipaddress.ip_network(((0x20010DB8 << 96) | pair[0], pair[1]), strict=False)
    ),
)
ADDRESSES = st.integers(0, 8).flatmap(
    lambda number: st.sampled_from(
        [ipaddress.IPv4Address(0xC6120000 | number), ipaddress.IPv6Address((0x20010DB8 << 96) | number)]
    )
)


@given(st.lists(NETWORKS), ADDRESSES)
def test_networks_are_found_as_by_a_plain_search(networks, address):
    table = table_of("network", *map(str, networks))
    expected = any(address in network for network in networks if network.version == address.version)
    assert table.contains(pack(str(address))) is expected
    assert len(table) == len(networks)


def test_an_ipv4_address_in_ipv6_is_the_ipv4_address():
    assert table_of("network", "198.18.0.0/16").contains(pack("::ffff:198.18.1.1"))


@pytest.mark.parametrize(
    "text", ["198.18.0.1/24", "198.18.0.0/33", "198.18.0", "x", "", "::/129", "1.2.3.4/ 8", "1/-1"]
)
def test_networks_that_are_not_valid(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_network(text)


@pytest.mark.parametrize(
    ("entry", "name", "found"),
    [
        ("a.example", "a.example", True),
        ("A.Example.", "a.example", True),
        ("a.example", "x.a.example", False),
        ("*.a.example", "x.y.a.example", True),
        ("*.a.example", "a.example", False),
        ("*.example", "xexample", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("_dmarc.example", "_dmarc.example", True),
    ],
)
def test_names(entry, name, found):
    assert table_of("name", entry).contains(name) is found


@pytest.mark.parametrize("text", ["", "*", "*.", "a b", "a@b", "-a.example", "a..b", "x" * 64 + ".example", "a." * 130])
def test_names_that_are_not_valid(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_name(text)


@pytest.mark.parametrize(
    ("entry", "address", "found"),
    [
        ("User@A.example", "user@a.example", True),
        ("user@a.example", "other@a.example", False),
        ("user@", "user@b.example", True),
        ("a.example", "any@a.example", True),
        ("a.example", "any@b.a.example", False),
        ("*.a.example", "any@b.a.example", True),
    ],
)
def test_addresses(entry, address, found):
    local, _at, domain = address.partition("@")
    assert table_of("address", entry).contains_address(local, domain) is found


@pytest.mark.parametrize("text", ["@a.example", "a b@c.example", "u@*.a.example", "u@-", "<u@a.example>"])
def test_addresses_that_are_not_valid(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_address(text)


def test_a_name_of_many_labels_takes_no_long_search():
    assert not table_of("name", "*.example").contains("a." * 120 + "example")


def test_lines_have_comments_and_problems_have_file_and_line():
    table = NetworkTable()
    lines = ["# partners\n", "\n", "198.18.1.0/24  # one\n", "  198.18.2.1\r\n", "198.18.3.1/24\n", "host.example\n"]
    assert read_lines(table, lines, "/etc/l") == [
        "/etc/l:5: '198.18.3.1/24' is not an address or a network ADDRESS/BITS without host bits",
        "/etc/l:6: 'host.example' is not an address or a network ADDRESS/BITS without host bits",
    ]
    assert len(table) == 2


def test_problems_are_limited():
    problems = read_lines(NameTable(), ["not valid"] * 1000, "f")
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == f"f: {1000 - MAX_PROBLEMS} more lines are not valid"


def test_empty_tables_have_nothing():
    assert not table_of("name").contains("a.example")
    assert not table_of("address").contains_address("a", "b.example")
    assert not table_of("network").contains(pack("198.18.0.1"))
