# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The derived tables of the small campus, line by line."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from plan_campus import paper, plan_of, small

MAIL_ENG, MECH, CIVIL = "mail.eng.univ.example", "mech.eng.univ.example", "civil.eng.univ.example"
MAIL_SCI, BIO = "mail.sci.univ.example", "bio.sci.univ.example"
QUAKE = "quake.univ.example"


@pytest.fixture(scope="module")
def plan():
    return plan_of(small())


def tiered():
    groups = small()
    groups["all"][None]["mailgate_delivery"] = "tiered"
    return groups


def static(plan, host):
    return {line["domain"]: line["host"] for line in plan["sendmail"][host]["static"]}


def test_hosts(plan):
    assert list(plan["hosts"]) == [
        "gw1.univ.example",
        "gw2.univ.example",
        "border.univ.example",
        "ns1.univ.example",
        MAIL_ENG,
        MECH,
        CIVIL,
        MAIL_SCI,
        BIO,
        QUAKE,
    ]
    assert plan["hosts"]["gw1.univ.example"] == {
        "kinds": ["gateways"],
        "address": "198.18.0.25",
        "address6": "2001:db8:18::25",
        "faculty": "",
        "hub": "",
        "mail_name": "gw1.univ.example",
        "delivery": "",
        "mta": "",
        "keep_route": [],
    }
    assert plan["hosts"]["border.univ.example"]["kinds"] == ["borders"]
    assert plan["hosts"]["ns1.univ.example"]["kinds"] == ["dns"]
    assert plan["hosts"][MECH] == {
        "kinds": ["servers"],
        "address": "198.18.1.30",
        "address6": "",
        "faculty": "engineering",
        "hub": MAIL_ENG,
        "mail_name": MECH,
        "delivery": "direct",
        "mta": "",
        "keep_route": [],
    }
    assert plan["hosts"][MAIL_ENG]["hub"] == MAIL_ENG
    assert plan["hosts"][QUAKE]["hub"] == ""


def test_gateways_go_by_preference():
    groups = small()
    groups["gateways"]["gw1.univ.example"]["mailgate_gateway"] = {"preference": 30}
    assert [(g["host"], g["preference"]) for g in plan_of(groups)["gateways"]] == [
        ("gw2.univ.example", 10),
        ("gw1.univ.example", 30),
    ]


def test_direct_routes(plan):
    assert plan["routes"] == [
        {"domain": domain, "next_hops": [hop], "home": home, "faculty": faculty}
        for domain, hop, home, faculty in [
            ("*.lab.mech.eng.univ.example", "198.18.1.30", MECH, "engineering"),
            ("bio.sci.univ.example", "198.18.2.30", BIO, "science"),
            ("civil.eng.univ.example", "198.18.1.31", CIVIL, "engineering"),
            ("eng.univ.example", "198.18.1.25", MAIL_ENG, "engineering"),
            ("mech.eng.univ.example", "198.18.1.30", MECH, "engineering"),
            ("quake.univ.example", "198.18.3.40", QUAKE, "research"),
            ("sci.univ.example", "198.18.2.25", MAIL_SCI, "science"),
        ]
    ]


def test_tiered_routes_go_to_the_hub_and_straight_where_there_is_none():
    hops = {route["domain"]: route["next_hops"] for route in plan_of(tiered())["routes"]}
    assert hops["mech.eng.univ.example"] == ["198.18.1.25"]
    assert hops["*.lab.mech.eng.univ.example"] == ["198.18.1.25"]
    assert hops["eng.univ.example"] == ["198.18.1.25"]
    assert hops["quake.univ.example"] == ["198.18.3.40"]


def test_tiered_routes_name_who_knows_the_recipients_where_that_is_not_the_next_hop():
    asked = {route["domain"]: route.get("ask") for route in plan_of(tiered())["routes"]}
    assert asked == {
        "*.lab.mech.eng.univ.example": ["198.18.1.30"],
        "mech.eng.univ.example": ["198.18.1.30"],
        "civil.eng.univ.example": ["198.18.1.31"],
        "eng.univ.example": None,
        "bio.sci.univ.example": ["198.18.2.30"],
        "sci.univ.example": None,
        "quake.univ.example": None,
    }


def test_a_server_that_speaks_with_its_hub_alone_is_not_asked():
    groups = tiered()
    groups["all"][None]["mailgate_ask"] = "hub"
    groups["engineering"][CIVIL]["mailgate_ask"] = "home"
    asked = {route["domain"]: route["ask"] for route in plan_of(groups)["routes"] if "ask" in route}
    assert asked == {"civil.eng.univ.example": ["198.18.1.31"]}


def test_tiered_changes_nothing_but_the_gateways(plan):
    other = plan_of(tiered())
    for key in ("mx", "border"):
        assert other[key] == plan[key]
    assert static(other, "gw1.univ.example")["mech.eng.univ.example"] == MAIL_ENG
    for host in (MAIL_ENG, MECH, CIVIL, MAIL_SCI, BIO, QUAKE):
        assert other["sendmail"][host] == plan["sendmail"][host]


def test_a_queue_knows_every_domain_and_keeps_none(plan):
    table = plan["sendmail"]["gw2.univ.example"]
    assert table["local"] == []
    assert table["relay"] == [route["domain"] for route in plan["routes"]]
    assert [(line["domain"], line["next_hop"], line["host"]) for line in table["static"]] == [
        (route["domain"], route["next_hops"][0], route["home"]) for route in plan["routes"]
    ]


def test_a_hub_sends_its_own_faculty_home_and_the_rest_to_the_other_hubs(plan):
    assert plan["sendmail"][MAIL_ENG]["local"] == ["eng.univ.example"]
    assert static(plan, MAIL_ENG) == {
        "*.lab.mech.eng.univ.example": MECH,
        "mech.eng.univ.example": MECH,
        "civil.eng.univ.example": CIVIL,
        "sci.univ.example": MAIL_SCI,
        "bio.sci.univ.example": MAIL_SCI,
        "quake.univ.example": QUAKE,
    }
    assert set(plan["sendmail"][MAIL_ENG]["relay"]) == set(static(plan, MAIL_ENG))


def test_a_leaf_sends_its_own_faculty_home_and_the_rest_to_its_hub(plan):
    assert plan["sendmail"][MECH]["local"] == ["*.lab.mech.eng.univ.example", "mech.eng.univ.example"]
    assert plan["sendmail"][MECH]["relay"] == []
    assert static(plan, MECH) == {
        "eng.univ.example": MAIL_ENG,
        "civil.eng.univ.example": CIVIL,
        "sci.univ.example": MAIL_ENG,
        "bio.sci.univ.example": MAIL_ENG,
        "quake.univ.example": MAIL_ENG,
    }


def test_a_server_without_hub_sends_to_the_hubs_itself(plan):
    assert plan["sendmail"][QUAKE]["relay"] == []
    assert static(plan, QUAKE) == {
        "*.lab.mech.eng.univ.example": MAIL_ENG,
        "bio.sci.univ.example": MAIL_SCI,
        "civil.eng.univ.example": MAIL_ENG,
        "eng.univ.example": MAIL_ENG,
        "mech.eng.univ.example": MAIL_ENG,
        "sci.univ.example": MAIL_SCI,
    }


def test_next_hops_are_addresses_of_their_hosts(plan):
    for table in plan["sendmail"].values():
        for line in table["static"]:
            assert line["next_hop"] == plan["hosts"][line["host"]]["address"]


def test_a_hub_without_domains_is_still_a_server():
    groups = small()
    groups["science"]["mail.sci.univ.example"].pop("mailgate_domains")
    plan = plan_of(groups)
    assert plan["hosts"][MAIL_SCI]["kinds"] == ["servers"]
    assert plan["sendmail"][MAIL_SCI]["local"] == []
    assert static(plan, MAIL_SCI)["bio.sci.univ.example"] == BIO


def test_two_faculties_may_share_a_hub():
    groups = small()
    groups["science"][None]["mailgate_hub"] = MAIL_ENG
    plan = plan_of(groups)
    assert static(plan, MAIL_ENG)["bio.sci.univ.example"] == BIO
    assert static(plan, MECH)["bio.sci.univ.example"] == MAIL_ENG
    assert static(plan, BIO)["sci.univ.example"] == MAIL_SCI


def test_mx_lines_are_the_gateways_then_the_own_server(plan):
    zones = {zone["zone"]: zone["owners"] for zone in plan["mx"]["ns1.univ.example"]}
    assert list(zones) == ["univ.example", "eng.univ.example"]
    assert [owner["owner"] for owner in zones["univ.example"]] == [
        "bio.sci.univ.example",
        "quake.univ.example",
        "sci.univ.example",
    ]
    assert zones["eng.univ.example"][0] == {
        "owner": "*.lab.mech.eng.univ.example",
        "mx": [
            {"preference": 0, "exchange": "gw1.univ.example"},
            {"preference": 10, "exchange": "gw2.univ.example"},
            {"preference": 20, "exchange": "mech.eng.univ.example"},
        ],
    }


def test_the_own_server_stands_ten_behind_the_last_of_any_number_of_gateways():
    groups = small()
    groups["gateways"]["gw3.univ.example"] = {"ansible_host": "198.18.0.27", "mailgate_gateway": {"preference": 10}}
    groups["gateways"]["gw4.univ.example"] = {"ansible_host": "198.18.0.28", "mailgate_gateway": {"preference": 35}}
    lines = plan_of(groups)["mx"]["ns1.univ.example"][0]["owners"][0]["mx"]
    assert [line["preference"] for line in lines] == [0, 10, 10, 35, 45]
    del groups["gateways"]["gw1.univ.example"]
    lines = plan_of(groups)["mx"]["ns1.univ.example"][0]["owners"][0]["mx"]
    assert [line["preference"] for line in lines] == [10, 10, 35, 45]


def test_every_server_of_a_zone_gets_its_lines():
    groups = small()
    groups["dns"]["ns2.univ.example"] = {
        "ansible_host": "198.18.0.54",
        "mailgate_dns": {"zones": ["eng.univ.example", "sci.univ.example", "empty.example"]},
    }
    mx = {
        server: {zone["zone"]: [owner["owner"] for owner in zone["owners"]] for zone in zones}
        for server, zones in plan_of(groups)["mx"].items()
    }
    assert mx["ns1.univ.example"]["eng.univ.example"] == mx["ns2.univ.example"]["eng.univ.example"]
    assert mx["ns1.univ.example"]["univ.example"] == ["quake.univ.example"]  # the longer zone is elsewhere
    assert mx["ns2.univ.example"]["sci.univ.example"] == ["bio.sci.univ.example", "sci.univ.example"]
    assert mx["ns2.univ.example"]["empty.example"] == []


def test_border(plan):
    permit = {"host": QUAKE, "reason": "measurements", "owner": "netlab", "until": "2099-03-31"}
    assert plan["border"] == {
        "border.univ.example": {
            "outside_interface": "outside0",
            "outside_interfaces": ["outside0"],
            "networks": ["198.18.0.0/16", "2001:db8:18::/48"],
            "gateways": ["198.18.0.25", "2001:db8:18::25", "198.18.0.26"],
            "expire_permits": False,
            "managed": True,
            "permits": [{**permit, "address": "198.18.3.40"}, {**permit, "address": "2001:db8:18:3::40"}],
        }
    }


def test_a_host_that_is_no_mail_server_may_have_a_permit():
    groups = small()
    groups["lab"] = {
        "probe": {
            "ansible_host": "198.18.9.9",
            "mailgate_permit": {"reason": "honeypot", "owner": "seclab", "until": "2099-03-31"},
        }
    }
    plan = plan_of(groups)
    assert plan["hosts"]["probe"]["kinds"] == []
    assert "198.18.9.9" in [permit["address"] for permit in plan["border"]["border.univ.example"]["permits"]]


def test_mailgate_address_goes_before_ansible_host():
    groups = small()
    groups["science"][BIO] |= {"ansible_host": "bio-mgmt", "mailgate_address": "198.18.2.30"}
    assert plan_of(groups) == plan_of(small())


def test_spelling_does_not_matter():
    groups = small()
    groups["engineering"][MECH]["mailgate_domains"] = ["MECH.eng.Univ.example.", "*.LAB.mech.eng.univ.example"]
    assert plan_of(groups) == plan_of(small())


def test_an_internationalised_domain_becomes_a_labels():
    groups = small()
    groups["science"][BIO]["mailgate_domains"] = ["日本語.sci.univ.example"]
    assert "xn--wgv71a119e.sci.univ.example" in [route["domain"] for route in plan_of(groups)["routes"]]


def test_the_faculty_is_the_innermost_group():
    groups = small()
    everyone = [host for name in ("engineering", "science", "research") for host in groups[name] if host]
    groups["faculties"] = {host: {} for host in everyone}
    groups["mailgate_servers"] = {host: {} for host in everyone[:2]}  # as a second plan in one run will find them
    assert plan_of(groups) == plan_of(small())


def test_campus_settings_have_defaults():
    groups = small()
    groups["all"][None] = {"mailgate_networks": ["198.18.0.0/16", "2001:db8:18::/48"]}
    assert plan_of(groups)["campus"] == {
        "name": "",
        "networks": ["198.18.0.0/16", "2001:db8:18::/48"],
        "method": "gateway",
        "delivery": "direct",
        "language": "en",
    }


def test_the_plan_is_plain_data(plan):
    assert json.loads(json.dumps(plan)) == plan


@pytest.mark.parametrize("delivery", ["direct", "tiered"])
def test_the_paper_s_size(delivery):
    plan = plan_of(paper(delivery))
    kinds = Counter(kind for host in plan["hosts"].values() for kind in host["kinds"])
    assert kinds == {"servers": 142, "gateways": 2, "borders": 1, "dns": 1}
    assert len(plan["routes"]) == 168
    assert len({route["next_hops"][0] for route in plan["routes"]}) == (142 if delivery == "direct" else 18)
    assert plan["proof"]["ok"]
