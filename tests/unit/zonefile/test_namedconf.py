# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._namedconf import parse, served_zones

# As `named-checkconf -p` of BIND 9.18 prints it.
PRINTED = """\
key "rndc-key" {
	algorithm "hmac-sha256";
	secret "????????????????????????????????????????????";
};
options {
	directory "/var/cache/bind";
	allow-update {
		"none";
	};
	listen-on-v6 {
		"any";
	};
};
zone "Univ.example" {
	type primary;
	file "univ.zone";
};
zone "eng.univ.example" IN {
	type master;
	file "/etc/bind/a \\"b\\" {;}.zone";
	allow-transfer {
		198.18.0.54/32;
		!"any";
	};
};
zone "dyn.univ.example" {
	type primary;
	file "dyn.zone";
	journal "dyn.journal";
	update-policy {
		grant "key" zonesub "any";
	};
	inline-signing yes;
};
zone "sci.univ.example" {
	type slave;
	file "sci.zone";
	masters {
		198.18.0.54;
	};
};
"""


def test_zones_of_a_server():
    univ, eng, dyn, sci = served_zones(PRINTED)
    assert (univ.name, univ.view, univ.kind, univ.file) == ("univ.example", "", "primary", "/var/cache/bind/univ.zone")
    assert univ.obstacles == ()
    assert (eng.kind, eng.file) == ("master", '/etc/bind/a "b" {;}.zone')
    assert dyn.journal == "dyn.journal"
    assert [text.split("(")[1] for text in dyn.obstacles] == ["update-policy)", "inline-signing)"]
    assert sci.kind == "slave"


@pytest.mark.parametrize(
    ("around", "own", "obstacle"),
    [
        ("", "allow-update { none; };", None),
        ("", "dnssec-policy none; inline-signing no;", None),
        ("allow-update { none; };", "allow-update { key k; };", "allow-update"),
        ("allow-update { 198.18.0.1; };", "", "allow-update"),
        ("allow-update { 198.18.0.1; };", "allow-update { none; };", None),
        ("dnssec-policy default;", "", "dnssec-policy"),
        ("", "auto-dnssec maintain;", "auto-dnssec"),
        ("", "masterfile-format raw;", "masterfile-format raw"),
        ("", 'database "ldap x";', "not served from a file"),
    ],
)
def test_obstacles(around, own, obstacle):
    (zone,) = served_zones(f'options {{ {around} }}; zone "u.example" {{ type primary; file "/u"; {own} }};')
    assert [obstacle in text for text in zone.obstacles] == ([True] if obstacle else [])


def test_views():
    zones = served_zones(
        'options { directory "/o"; }; view "in" IN { directory "/in"; zone "u.example" { type primary; file "u"; }; };'
        'view "out" { zone "u.example" { in-view "in"; }; zone "v.example" { type primary; file "v"; }; };'
    )
    assert [(z.name, z.view, z.kind, z.file) for z in zones] == [
        ("u.example", "in", "primary", "/in/u"),
        ("u.example", "out", "in-view", ""),
        ("v.example", "out", "primary", "/o/v"),
    ]


@pytest.mark.parametrize("text", ["options { a; ", "a; };"])
def test_braces_must_match(text):
    with pytest.raises(ValueError, match="brace"):
        parse(text)
