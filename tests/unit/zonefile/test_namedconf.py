# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.named_conf import parse, served_zones, tsig_keys

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
    assert (dyn.updates, dyn.keys, dyn.session_key, dyn.signed) == ("update-policy", ("key",), "", True)
    assert (univ.updates, univ.signed, univ.differences) == ("", False, False)
    assert sci.kind == "slave"


def only(around: str, own: str):
    (zone,) = served_zones(f'options {{ {around} }}; zone "u.example" {{ type primary; file "/u"; {own} }};')
    return zone


@pytest.mark.parametrize(
    ("around", "own", "updates", "keys"),
    [
        ("", "allow-update { none; };", "", ()),
        ("allow-update { none; };", "allow-update { key K.; { 198.18.0.1; key l; }; };", "allow-update", ("k", "l")),
        ("allow-update { 198.18.0.1; };", "", "allow-update", ()),
        ("allow-update { 198.18.0.1; };", "allow-update { none; };", "", ()),
        ("", "update-policy { grant a self * MX; grant b zonesub ANY; };", "update-policy", ("a", "b")),
    ],
)
def test_updates(around, own, updates, keys):
    zone = only(around, own)
    assert (zone.updates, zone.keys, zone.session_key, zone.obstacles) == (updates, keys, "", ())


def test_bind_s_session_key():
    assert only("", "update-policy local;").session_key == "/run/named/session.key"
    assert only('session-keyfile "/k";', "update-policy local;").session_key == "/k"


@pytest.mark.parametrize(
    ("around", "own", "signed"),
    [
        ("", "dnssec-policy none; inline-signing no;", False),
        ("dnssec-policy default;", "", True),
        ("dnssec-policy default;", "dnssec-policy insecure;", False),
        ("", "auto-dnssec maintain;", True),
    ],
)
def test_signed(around, own, signed):
    assert only(around, own).signed is signed


@pytest.mark.parametrize(
    ("own", "obstacle"),
    [("masterfile-format raw;", "masterfile-format raw"), ('database "ldap x";', "not served from a file")],
)
def test_obstacles(own, obstacle):
    (text,) = only("", own).obstacles
    assert obstacle in text


def test_key_file():
    text = 'key "Up.date." {\n\talgorithm hmac-sha512;\n\tsecret "c2VjcmV0";\n};\nkey none { };\n'
    assert tsig_keys(text) == {"up.date": ("hmac-sha512", "c2VjcmV0")}


def test_key_file_with_comments():
    text = '# caf\xe9 {\n// key\n/* key "x" { */ key "a" { algorithm hmac-sha256; // why\n secret "c2Vj//0="; };\n'
    assert tsig_keys(text) == {"a": ("hmac-sha256", "c2Vj//0=")}


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
