# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventory has the size it claims, shows what it should, and is planned without a complaint."""

from __future__ import annotations

from collections import Counter

import yaml
from discover_campus import EXAMPLE, load, plan


def servers():
    return {name: host for name, host in load(EXAMPLE).items() if "mailgate_domains" in host.variables}


def test_it_has_the_size_of_a_university():
    domains = [domain for host in servers().values() for domain in host.variables["mailgate_domains"]]
    faculties = [domain for domain in domains if domain.count(".") == 2]
    assert len(servers()) == 142
    assert len(set(domains)) == len(domains) == 168
    assert len(faculties) == 18
    assert sum("mailgate_permit" in host.variables for host in load(EXAMPLE).values()) == 5
    kinds = Counter(name for host in load(EXAMPLE).values() for name in host.variables)
    assert (kinds["mailgate_gateway"], kinds["mailgate_border"], kinds["mailgate_dns"]) == (2, 2, 6)


def test_each_faculty_has_one_file_and_one_group():
    files = sorted((EXAMPLE / "faculties").iterdir())
    assert len(files) == 18
    for path in files:
        (group,) = yaml.safe_load(path.read_text()).keys()
        assert path.name == f"{group}.yml"
        members = [host for host in servers().values() if group in host.groups]
        below = {domain.split(".")[-3] for host in members for domain in host.variables["mailgate_domains"]}
        assert len(below) == 1, f"{path.name} has domains of {below}"


def test_it_shows_what_an_inventory_can_say():
    domains = [domain for host in servers().values() for domain in host.variables["mailgate_domains"]]
    assert any(domain.startswith("*.lab.") for domain in domains)
    assert any(not domain.isascii() for domain in domains)
    assert any(len(host.variables["mailgate_domains"]) > 2 for host in servers().values())
    assert any(name in host.variables["mailgate_domains"] and name.count(".") > 3 for name, host in servers().items())
    assert any("mailgate_address6" in host.variables for host in servers().values())
    plain = [host for host in servers().values() if set(host.variables) <= two_facts()]
    assert len(plain) > 100


def two_facts():
    campus = yaml.safe_load((EXAMPLE / "campus.yml").read_text())["all"]["vars"]
    return {*campus, "mailgate_hub", "ansible_host", "mailgate_domains"}


def test_it_is_planned_without_a_complaint():
    planned = plan(EXAMPLE)
    assert planned["warnings"] == []
    assert planned["proof"]["ok"] is True
    assert planned["proof"]["exposed"] == []
    assert len(planned["routes"]) == 168
    assert len({route["faculty"] for route in planned["routes"]}) == 18
    owners = {
        owner["owner"]: owner["mx"] for zones in planned["mx"].values() for zone in zones for owner in zone["owners"]
    }
    kept = [
        domain
        for host in servers().values()
        if "mailgate_keep_mx" in host.variables
        for domain in host.variables["mailgate_domains"]
    ]
    assert len(owners) == 168 - len(kept) == 167
    assert not owners.keys() & set(kept)


def test_a_domain_has_a_second_server_everywhere():
    planned = plan(EXAMPLE)
    domain = "emergency.hosp.univ.example"
    owners = {
        owner["owner"]: owner["mx"] for zones in planned["mx"].values() for zone in zones for owner in zone["owners"]
    }
    assert [line["exchange"] for line in owners[domain]][2:] == [domain, "ward.hosp.univ.example"]
    assert {route["domain"]: route["next_hops"] for route in planned["routes"]}[domain] == [
        "198.18.4.34",
        "198.18.4.30",
    ]
    of_hub = {line["domain"]: line for line in planned["sendmail"]["mail.hosp.univ.example"]["static"]}
    assert of_hub[domain]["next_hops"] == ["198.18.4.34", "198.18.4.30"]
    assert domain in planned["sendmail"]["ward.hosp.univ.example"]["local"]
    (down,) = (each for each in planned["proof"]["scenarios"] if each["host"] == domain)
    assert down["senders"]["mx"]["delivered"] == 168
