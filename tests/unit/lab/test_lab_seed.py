# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The campus before the collection is applied: zone files, parsed by a DNS library, match the inventory."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import dns.zone
import pytest

from lab import seed
from lab.inventory import Host


def host(name: str, address: str, **facts) -> Host:
    return Host(name=name, short=name.split(".", maxsplit=1)[0], address=IPv4Address(address), **facts)


HOSTS = (
    host("gw1.univ.example", "198.18.0.25", address6=IPv6Address("2001:db8:18::25"), gateway=True, faculty="gateways"),
    host("ns1.univ.example", "198.18.0.53", zones=("univ.example", "eng.univ.example"), faculty="dns"),
    host("mail.eng.univ.example", "198.18.1.25", domains=("eng.univ.example",), faculty="engineering"),
    host(
        "mech.eng.univ.example",
        "198.18.1.30",
        domains=("mech.eng.univ.example", "*.lab.mech.eng.univ.example"),
        faculty="engineering",
    ),
    host("mail.sci.univ.example", "198.18.2.25", domains=("sci.univ.example",), faculty="science"),
    host("bio.sci.univ.example", "198.18.2.30", domains=("bio.sci.univ.example",), faculty="science"),
    host("far.away.test", "198.18.9.9", domains=("away.test",)),
)


def records(text: str, origin: str) -> set[tuple[str, str, str]]:
    zone = dns.zone.from_text(text, origin=origin, relativize=False)
    return {
        (str(name).rstrip("."), rdata.rdtype.name, rdata.to_text())
        for name, rdataset in zone.iterate_rdatasets()
        for rdata in rdataset
        if rdata.rdtype.name != "SOA"
    }


def test_a_zone_has_its_names_without_those_of_deeper_zones():
    assert records(seed.zone_file("univ.example", HOSTS), "univ.example") == {
        ("univ.example", "NS", "ns1.univ.example."),
        ("gw1.univ.example", "A", "198.18.0.25"),
        ("gw1.univ.example", "AAAA", "2001:db8:18::25"),
        ("ns1.univ.example", "A", "198.18.0.53"),
        ("sci.univ.example", "MX", "0 mail.sci.univ.example."),
        ("mail.sci.univ.example", "A", "198.18.2.25"),
        ("bio.sci.univ.example", "A", "198.18.2.30"),
        ("bio.sci.univ.example", "MX", "0 bio.sci.univ.example."),
        ("eng.univ.example", "NS", "ns1.univ.example."),
    }


def test_apex_and_wildcard_mail_domains_get_a_record():
    assert records(seed.zone_file("eng.univ.example", HOSTS), "eng.univ.example") == {
        ("eng.univ.example", "NS", "ns1.univ.example."),
        ("mail.eng.univ.example", "A", "198.18.1.25"),
        ("eng.univ.example", "MX", "0 mail.eng.univ.example."),
        ("mech.eng.univ.example", "A", "198.18.1.30"),
        ("mech.eng.univ.example", "MX", "0 mech.eng.univ.example."),
        ("*.lab.mech.eng.univ.example", "MX", "0 mech.eng.univ.example."),
    }


def test_a_zone_file_looks_like_an_admins_own():
    text = seed.zone_file("univ.example", HOSTS)
    assert "; serial\n" in text
    assert "\n$ORIGIN sci.univ.example.\n" in text
    assert "bio\t\tIN\tA\t198.18.2.30\n\t\tIN\tMX\t0 bio\n" in text
    assert "sci\t\tIN\tMX\t0 mail.sci\n" in text


def test_a_server_inside_a_delegated_zone_gets_glue():
    inner = host("ns.eng.univ.example", "198.18.1.53", zones=("eng.univ.example",))
    outer = host("ns1.univ.example", "198.18.0.53", zones=("univ.example",))
    found = records(seed.zone_file("univ.example", (outer, inner)), "univ.example")
    assert ("eng.univ.example", "NS", "ns.eng.univ.example.") in found
    assert ("ns.eng.univ.example", "A", "198.18.1.53") in found


def test_the_root_zone_has_delegations_and_hosts_without_zone():
    found = records(seed.root_zone(HOSTS), ".")
    assert ("univ.example", "NS", "ns1.univ.example.") in found
    assert ("ns1.univ.example", "A", "198.18.0.53") in found
    assert ("away.test", "MX", "0 far.away.test.") in found
    assert ("far.away.test", "A", "198.18.9.9") in found
    assert ("outside.example", "MX", "0 outside.example.") in found
    names = {name for name, _, _ in found}
    assert "eng.univ.example" not in names
    assert "gw1.univ.example" not in names


def test_a_name_server_has_a_file_for_each_configured_zone():
    files = seed.name_server(HOSTS[1], HOSTS, ["198.18.0.0/16"])
    local = files["/etc/bind/named.conf.local"]
    for zone in ("univ.example", "eng.univ.example"):
        assert f'file "/etc/bind/zones/{zone}.zone"' in local
        assert f"/etc/bind/zones/{zone}.zone" in files
    assert "allow-recursion { localhost; 198.18.0.0/16; }" in files["/etc/bind/named.conf.options"]


def test_a_named_conf_in_another_place_includes_debians():
    server = host("ns.x.test", "198.18.0.3", zones=("x.test",), named_conf="/etc/named.conf")
    assert seed.name_server(server, (server,), [])["/etc/named.conf"] == 'include "/etc/bind/named.conf";\n'


def test_a_mail_server_accepts_its_domains_without_wildcards():
    text = seed.mail_server(HOSTS[3])["/etc/mail/local-host-names"]
    assert text == "localhost\nmech.eng.univ.example\n"


@pytest.mark.parametrize(
    ("hosts", "expected"), [(HOSTS, "nameserver 198.18.0.53\n"), (HOSTS[:1], "nameserver 198.19.255.10\n")]
)
def test_hosts_use_the_campus_dns_or_the_outside(hosts, expected):
    assert seed.resolver(hosts).startswith(expected)


SHORT = Host(
    name="chem",
    short="chem",
    address=None,
    address6=IPv6Address("2001:db8:18:2::31"),
    mail_name="chem.sci.univ.example",
    domains=("chem.sci.univ.example",),
)


def test_a_host_with_ipv6_only_and_a_short_name():
    found = records(seed.zone_file("univ.example", (*HOSTS, SHORT)), "univ.example.")
    assert {record[1:] for record in found if record[0] == "chem.sci.univ.example"} == {
        ("AAAA", "2001:db8:18:2::31"),
        ("MX", "0 chem.sci.univ.example."),
    }
    assert seed.mail_server(SHORT)["/etc/mail/local-host-names"] == "localhost\nchem.sci.univ.example\n"
    ns6 = host("ns2.univ.example", "198.18.0.54", address6=IPv6Address("2001:db8:18::54"), zones=())
    assert seed.resolver((*HOSTS, ns6), ipv6=True).startswith("nameserver 2001:db8:18::54\n")
    assert seed.resolver(HOSTS, ipv6=True).startswith("nameserver 2001:db8:ffff::10\n")


def test_the_hosts_file_has_only_the_host_itself():
    files = seed.identity("gw1.univ.example", ["198.18.0.25", "2001:db8:18::25"])
    assert files["/etc/hostname"] == "gw1\n"
    assert files["/etc/hosts"].splitlines()[2:] == [
        "198.18.0.25 gw1.univ.example gw1",
        "2001:db8:18::25 gw1.univ.example gw1",
    ]


def test_a_seed_is_files_by_path_and_commands(tmp_path: Path):
    for path, text in {"etc/mail/access": "a", "etc/aliases": "b", "commands": "newaliases\n"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert seed.lived_in(tmp_path) == ({"/etc/mail/access": "a", "/etc/aliases": "b"}, "newaliases\n")
    (tmp_path / "commands").unlink()
    assert seed.lived_in(tmp_path)[1] == ""
