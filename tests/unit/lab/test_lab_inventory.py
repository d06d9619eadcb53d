# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an inventory: the hosts, and a list of all problems."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lab import inventory
from lab.inventory import Host, parse, short_names
from lab.tools import LabError


def listing(hosts: dict[str, dict[str, Any]], group: str = "engineering") -> dict[str, Any]:
    return {"_meta": {"hostvars": hosts}, "all": {"children": [group]}, group: {"hosts": list(hosts)}}


def test_short_names_are_unique():
    names = ["gw1.univ.example", "mail.eng.univ.example", "mail.sci.univ.example", "sci.univ.example"]
    assert list(short_names(names).values()) == ["gw1", "mail.eng", "mail.sci", "sci"]


def test_a_name_that_is_a_prefix_of_another_is_kept_whole():
    assert short_names(["a.b", "a.b.c"]) == {"a.b": "a.b", "a.b.c": "a.b.c"}


def test_facts_determine_the_kind_of_host():
    found = parse(
        listing(
            {
                "gw.x.test": {"ansible_host": "198.18.0.2", "mailgate_gateway": {"preference": 0}},
                "bo.x.test": {"ansible_host": "198.18.0.1", "mailgate_border": {"outside_interface": "wan0"}},
                "ns.x.test": {"ansible_host": "198.18.0.3", "mailgate_dns": {"zones": ["X.test."]}},
                "ml.x.test": {
                    "ansible_host": "ml.inside.test",
                    "mailgate_address": "198.18.1.4",
                    "mailgate_address6": "2001:db8::4",
                    "mailgate_domains": ["x.test"],
                    "mailgate_networks": ["198.18.0.0/16"],
                },
            }
        )
    )
    gateway, border, dns, mail = found.hosts
    assert gateway.gateway
    assert gateway.layers == {"mail"}
    assert border.outside_interface == "wan0"
    assert border.layers == frozenset()
    assert dns.zones == ("x.test",)
    assert dns.layers == {"dns"}
    assert str(mail.address) == "198.18.1.4"
    assert str(mail.address6) == "2001:db8::4"
    assert mail.ansible_host == "ml.inside.test"
    assert mail.faculty == "engineering"
    assert found.networks == ("198.18.0.0/16",)


def test_international_domains_become_a_labels_and_invalid_ones_are_reported():
    facts = {"ansible_host": "198.18.0.3", "mailgate_domains": ["日本語.x.test", "X.test."]}
    assert parse(listing({"a.x.test": facts})).hosts[0].domains == ("xn--wgv71a119e.x.test", "x.test")
    with pytest.raises(LabError, match="A-labels"):
        parse(listing({"a.x.test": {**facts, "mailgate_domains": [f"{'語' * 64}.x.test"]}}))


@pytest.mark.parametrize(
    "facts",
    [
        {"ansible_host": "2001:db8::4"},
        {"ansible_host": "chem.univ.example", "mailgate_address": "", "mailgate_address6": "2001:db8::4"},
        {"mailgate_address6": "2001:db8::4"},
    ],
)
def test_a_host_with_ipv6_only_and_a_short_name(facts):
    (host,) = parse(listing({"chem": {**facts, "mailgate_name": "Chem.univ.example."}})).hosts
    assert (host.address, [str(address) for address in host.addresses]) == (None, ["2001:db8::4"])
    assert (host.name, host.full_name) == ("chem", "chem.univ.example")


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"mailgate_border": {"outside_interface": "wan0"}}, "a border router of the twin requires an IPv4 address"),
        (
            {"mailgate_address6": "2001:db8::5"},
            "'2001:db8::4' is not a valid IPv4 address, and mailgate_address6 is set",
        ),
    ],
)
def test_what_a_host_with_ipv6_only_cannot_be(facts, problem):
    with pytest.raises(LabError, match=problem):
        parse(listing({"chem": {"ansible_host": "2001:db8::4", **facts}}))


def test_local_connections_are_not_hosts_of_the_twin():
    hosts = {"localhost": {"ansible_connection": "local"}, "a.test": {"ansible_host": "198.18.0.2"}}
    assert [host.name for host in parse(listing(hosts)).hosts] == ["a.test"]


def test_every_problem_is_reported_with_host_variable_and_fix():
    hosts = {
        "a.test": {"ansible_host": "198.18.0.5", "mailgate_border": {"outside_interface": "mgmt0"}},
        "b.test": {"ansible_host": "b.test"},
        "c.test": {"ansible_host": "198.18.0.5", "mailgate_domains": "c.test"},
        "d.test": {},
        "e.test": {"ansible_host": "198.18.0.6", "mailgate_dns": True, "mailgate_address6": "::g"},
        "outside.test": {"ansible_host": "198.18.0.7", "mailgate_networks": ["198.18.0.1/16"]},
    }
    with pytest.raises(LabError) as caught:
        parse(listing(hosts), reserved=("outside",))
    text = str(caught.value)
    for expected in (
        "a.test: mailgate_border.outside_interface: 'mgmt0' is not a valid interface name",
        "b.test: ansible_host: 'b.test' is not a valid IPv4 address; if it is a name, set mailgate_address",
        "c.test: address: 198.18.0.5 is also the address of a.test",
        "c.test: mailgate_domains: 'c.test' is not a list of names",
        "d.test: ansible_host: missing",
        "e.test: mailgate_dns: True is not a mapping",
        "e.test: mailgate_address6: '::g' is not a valid IPv6 address",
        "outside.test: name: 'outside' is a host of the twin itself; rename",
        "all: mailgate_networks: 198.18.0.1/16 has host bits set",
    ):
        assert expected in text


def test_an_inventory_without_hosts_is_rejected():
    with pytest.raises(LabError, match="no hosts found"):
        parse({"_meta": {"hostvars": {}}, "all": {"children": ["ungrouped"]}})


def test_a_host_may_have_its_own_suite_layers_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inventory, "SEEDS", tmp_path)
    (tmp_path / "campus" / "mech").mkdir(parents=True)
    own = {"lab_suite": "trixie", "lab_layers": ["postfix", "milter"], "lab_seed": "campus/mech"}
    facts = {"ansible_host": "198.18.0.3", "mailgate_domains": ["x.test"]}
    host, plain = parse(listing({"a.x.test": facts | own, "b.x.test": facts | {"ansible_host": "198.18.0.4"}})).hosts
    assert (host.suite, host.layers, host.seed) == ("trixie", {"postfix", "milter"}, "campus/mech")
    assert (plain.suite, plain.layers, plain.seed) == ("", {"mail"}, "")


def test_unknown_suites_layers_and_seeds_are_refused_together():
    own = {"lab_suite": "sid", "lab_layers": ["qmail"], "lab_seed": "no/such"}
    with pytest.raises(LabError) as refused:
        parse(listing({"a.x.test": {"ansible_host": "198.18.0.3"} | own}))
    assert [line.split(": ")[1] for line in str(refused.value).splitlines()[1:]] == list(own)


def test_the_campuses_of_the_repository_have_hosts_of_both_suites():
    for name, suites in (("demo", {"", "trixie"}), ("lived_in", {"", "trixie"}), ("example", {""})):
        assert {host.suite for host in inventory.read(inventory.REPOSITORY / "inventories" / name).hosts} == suites


@pytest.mark.parametrize(("mta", "layers"), [("sendmail", {"mail"}), ("postfix", {"postfix"}), ("none", {"mail"})])
def test_a_server_has_the_mail_server_of_the_inventory(mta: str, layers: set[str]):
    address = IPv4Address("198.18.1.30")
    assert Host("mech.example", "mech", address, domains=("mech.example",), mta=mta).layers == layers
    assert Host("gw.example", "gw", address, gateway=True, mta=mta).layers == {"mail"}
