# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Campuses for the tests of the plan, written as an inventory would give them."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping

import pytest

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.findings import HostFacts
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.inventory import read_campus
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.model import Campus
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.problems import PlanRefused, Problem
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan

TODAY = datetime.date(2026, 4, 1)

# group -> host -> variables; the variables of "all" and of each group under the key None.
Groups = dict[str, dict[str | None, dict[str, object]]]

SMALL: Groups = {
    "all": {
        None: {
            "mailgate_campus": "Small University",
            "mailgate_networks": ["198.18.0.0/16", "2001:db8:18::/48"],
            "mailgate_method": "gateway",
            "mailgate_delivery": "direct",
            "mailgate_language": "en",
        }
    },
    "gateways": {
        "gw1.univ.example": {
            "ansible_host": "198.18.0.25",
            "mailgate_address6": "2001:db8:18::25",
            "mailgate_gateway": {"preference": 0},
        },
        "gw2.univ.example": {"ansible_host": "198.18.0.26", "mailgate_gateway": {"preference": 10}},
    },
    "borders": {
        "border.univ.example": {"ansible_host": "198.18.0.1", "mailgate_border": {"outside_interface": "outside0"}}
    },
    "dns": {
        "ns1.univ.example": {
            "ansible_host": "198.18.0.53",
            "mailgate_dns": {"named_conf": "/etc/bind/named.conf", "zones": ["univ.example", "eng.univ.example"]},
        }
    },
    "engineering": {
        None: {"mailgate_hub": "mail.eng.univ.example"},
        "mail.eng.univ.example": {"ansible_host": "198.18.1.25", "mailgate_domains": ["eng.univ.example"]},
        "mech.eng.univ.example": {
            "ansible_host": "198.18.1.30",
            "mailgate_domains": ["mech.eng.univ.example", "*.lab.mech.eng.univ.example"],
        },
        "civil.eng.univ.example": {"ansible_host": "198.18.1.31", "mailgate_domains": ["civil.eng.univ.example"]},
    },
    "science": {
        None: {"mailgate_hub": "mail.sci.univ.example"},
        "mail.sci.univ.example": {"ansible_host": "198.18.2.25", "mailgate_domains": ["sci.univ.example"]},
        "bio.sci.univ.example": {"ansible_host": "198.18.2.30", "mailgate_domains": ["bio.sci.univ.example"]},
    },
    "research": {
        "quake.univ.example": {
            "ansible_host": "198.18.3.40",
            "mailgate_address6": "2001:db8:18:3::40",
            "mailgate_domains": ["quake.univ.example"],
            "mailgate_permit": {"reason": "measurements", "owner": "netlab", "until": datetime.date(2099, 3, 31)},
        }
    },
}


def small() -> Groups:
    """Return a copy of the small campus, free to be broken."""
    return copy.deepcopy(SMALL)


def facts_of(groups: Groups) -> list[HostFacts]:
    """Return what Ansible reports: every host in inventory order, with its groups' variables below its own."""
    whole = groups.get("all", {}).get(None, {})
    hosts: dict[str, HostFacts] = {}
    for group, members in groups.items():
        for host, own in members.items():
            if host is None:
                continue
            before = hosts.get(host)
            variables = {**whole, **(before.variables if before else {}), **members.get(None, {}), **own}
            hosts[host] = HostFacts(host, [*(before.groups if before else []), group], variables)
    return list(hosts.values())


def campus_of(groups: Groups) -> Campus:
    return read_campus(facts_of(groups), TODAY)[0]


def plan_of(groups: Groups) -> dict:
    return make_plan(facts_of(groups), TODAY)


def problems_of(groups: Groups, today: datetime.date = TODAY) -> list[Problem]:
    """Return the problems for which the campus is refused; none is a failed test."""
    with pytest.raises(PlanRefused) as refused:
        make_plan(facts_of(groups), today)
    return refused.value.problems


def only_problem(groups: Groups) -> Problem:
    problems = problems_of(groups)
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


def paper(delivery: str = "direct") -> Groups:
    """Return the paper's size: 142 servers, 18 faculty domains on hubs, 150 subdomains, five permits."""
    groups: Groups = {
        "all": {None: {**SMALL["all"][None], "mailgate_delivery": delivery}},
        "gateways": copy.deepcopy(SMALL["gateways"]),
        "borders": copy.deepcopy(SMALL["borders"]),
        "dns": {"ns1.univ.example": {"ansible_host": "198.18.0.53", "mailgate_dns": {"zones": ["univ.example"]}}},
    }
    leaves = 0
    for faculty in range(18):
        domain = f"f{faculty}.univ.example"
        hub = f"mail.{domain}"
        members: dict[str | None, dict[str, object]] = {
            None: {"mailgate_hub": hub},
            hub: {"ansible_host": f"198.18.{faculty + 1}.1", "mailgate_domains": [domain]},
        }
        for leaf in range(7 if faculty < 16 else 6):  # 124 leaves
            name = f"s{leaf}.{domain}"
            domains = [f"d{leaf}.{domain}"] + ([f"*.lab{leaf}.{domain}"] if leaves < 26 else [])
            members[name] = {"ansible_host": f"198.18.{faculty + 1}.{leaf + 2}", "mailgate_domains": domains}
            if leaves < 5:
                members[name]["mailgate_permit"] = {"reason": "tests", "owner": "netlab", "until": "2099-03-31"}
            leaves += 1
        groups[f"faculty{faculty}"] = members
    return groups


def best(name: str, patterns: Mapping[str, object]) -> object:
    """Return the longest match, the slow way: of all patterns that match, the exact one, then the longest."""
    matching = [p for p in patterns if p == name or (p.startswith("*.") and name.endswith(p[1:]) and name != p)]
    if not matching:
        return None
    return patterns[max(matching, key=lambda p: (p == name, len(p)))]
