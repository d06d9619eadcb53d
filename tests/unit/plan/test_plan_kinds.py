# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and routers that others maintain: part of the plan and its proof, but never logged in to."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from plan_campus import campus_of, only_problem, plan_of, problems_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._plan.routes import derive
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.proof import Simulation, whole_proof

MECH, CIVIL, MAIL_ENG = "mech.eng.univ.example", "civil.eng.univ.example", "mail.eng.univ.example"
BIO = "bio.sci.univ.example"
BORDER = "border.univ.example"


def with_mta(**kinds):
    """Return the small campus with mailgate_mta of hosts, named by the first label."""
    groups = small()
    groups["all"][None]["mailgate_mta"] = "sendmail"
    for group in groups.values():
        for host, variables in group.items():
            if host and host.split(".")[0] in kinds:
                variables["mailgate_mta"] = kinds[host.split(".")[0]]
    return groups


def hosted(**more):
    """Return the small campus with a server outside its networks."""
    groups = with_mta()
    groups["hosted"] = {
        "mx.hoster.example": {
            "mailgate_address": "203.0.113.25",
            "mailgate_domains": ["law.univ.example"],
            "mailgate_mta": "none",
            **more,
        }
    }
    return groups


def internal(plan, scenario="all_up", host=""):
    found = next(each for each in plan["proof"]["scenarios"] if (each["scenario"], each["host"]) == (scenario, host))
    return {verdict: number for verdict, number in found["senders"]["inside"].items() if number}


def test_kinds_of_servers_are_in_the_plan():
    plan = plan_of(with_mta(mech="none", civil="postfix"))
    kinds = {host: (each["kinds"], each["mta"]) for host, each in plan["hosts"].items() if "eng" in host}
    assert kinds == {
        MAIL_ENG: (["servers"], "sendmail"),
        MECH: (["destinations"], "none"),
        CIVIL: (["servers"], "postfix"),
    }
    assert plan["hosts"]["gw1.univ.example"]["mta"] == ""


def test_a_server_of_others_is_a_destination_without_a_table():
    plan = plan_of(with_mta(mech="none"))
    assert MECH not in plan["sendmail"]
    assert CIVIL in plan["sendmail"]
    route = next(each for each in plan["routes"] if each["domain"] == MECH)
    assert (route["next_hops"], route["home"]) == (["198.18.1.30"], MECH)
    lines = {line["domain"]: line["next_hop"] for line in plan["sendmail"][CIVIL]["static"]}
    assert lines[MECH] == "198.18.1.30"
    owners = {each["owner"]: each["mx"] for zone in plan["mx"]["ns1.univ.example"] for each in zone["owners"]}
    assert owners[MECH][-1] == {"preference": 20, "exchange": MECH}
    assert plan["proof"]["ok"]


def test_all_hosts_may_be_of_others():
    groups = with_mta()
    groups["all"][None]["mailgate_mta"] = "none"
    for name in ("engineering", "science"):
        del groups[name][None]["mailgate_hub"]
    plan = plan_of(groups)
    assert set(plan["sendmail"]) == {"gw1.univ.example", "gw2.univ.example"}
    assert plan["proof"]["ok"]


def test_mail_of_a_server_of_others_follows_mx_through_the_gateways():
    before, after = plan_of(with_mta()), plan_of(with_mta(mech="none"))
    assert internal(after) == internal(before)
    campus = campus_of(with_mta(mech="none"))
    simulation = Simulation(campus, derive(campus))
    scenarios = {(each.kind, each.host): each for each in simulation.scenarios()}
    sender = campus.hosts[MECH]
    found = simulation.inside_by_mx(scenarios["all_up", ""], BIO, sender)
    assert (found.verdict, found.path) == ("delivered", (MECH, "gw1.univ.example", BIO))
    found = simulation.inside_by_mx(scenarios["gateway_down", "gw1.univ.example"], BIO, sender)
    assert found.path == (MECH, "gw2.univ.example", BIO)
    # With its hub down a managed server holds this mail; by MX it arrives.
    down = ("hub_down", MAIL_ENG)
    assert internal(before, *down)["held"] > internal(after, *down)["held"]


def test_mx_of_the_internal_zone_lead_straight_to_the_servers():
    groups = with_mta(mech="none")
    groups["all"][None]["mailgate_method"] = "split"
    campus = campus_of(groups)
    simulation = Simulation(campus, derive(campus))
    found = simulation.inside_by_mx(next(simulation.scenarios()), BIO, campus.hosts[MECH])
    assert (found.verdict, found.path) == ("delivered", (MECH, BIO))


@pytest.mark.parametrize("method", ["gateway", "split", "fallback"])
@pytest.mark.parametrize("delivery", ["direct", "tiered"])
@pytest.mark.parametrize("backup", [False, True])
def test_counts_are_those_of_every_pair(method, delivery, backup):
    groups = with_mta(mech="none", bio="none", quake="none")
    groups["all"][None] |= {"mailgate_method": method, "mailgate_delivery": delivery}
    if backup:
        groups["science"][BIO]["mailgate_backup_domains"] = [MECH, CIVIL]
    campus = campus_of(groups)
    simulation = Simulation(campus, derive(campus))
    cases = json.loads("".join(whole_proof(simulation)))["cases"]
    sums: dict[tuple[str, str], Counter] = {}
    for case in cases:
        if case["sender"] == "inside":
            sums.setdefault((case["scenario"], case["host"]), Counter()).update(case["starts"])
    plan = plan_of(groups)
    assert {key: dict(each) for key, each in sums.items()} == {key: internal(plan, *key) for key in sums}
    servers = 6
    assert all(each.total() == len(plan["routes"]) * (servers + 2) for each in sums.values())


def test_a_hub_cannot_be_a_server_of_others():
    groups = with_mta(mail="none")
    problems = problems_of(groups)
    assert [problem.variable for problem in problems] == ["mailgate_mta", "mailgate_mta"]
    assert f"it is the hub of {MECH} and 1 more" in problems[0].message
    assert "nobody sets the routes" in problems[0].message


def test_a_kind_that_is_not_known():
    problem = only_problem(with_mta(mech="exim"))
    assert str(problem).startswith(f"{MECH}: mailgate_mta: 'exim' is not a valid choice")
    assert "sendmail or postfix or none" in problem.hint


def test_a_server_outside_the_networks_of_the_campus():
    plan = plan_of(hosted())
    owners = {each["owner"]: each["mx"] for zone in plan["mx"]["ns1.univ.example"] for each in zone["owners"]}
    assert [mx["exchange"] for mx in owners["law.univ.example"]] == ["gw1.univ.example", "gw2.univ.example"]
    assert len(owners[MECH]) == 3
    assert not plan["proof"]["ok"]  # external senders reach it, and nothing of the campus can prevent it
    assert any("mx.hoster.example: mailgate_mta: its address is outside" in each for each in plan["warnings"])
    assert plan["proof"]["exposed"][0]["domain"] == "law.univ.example"
    assert internal(plan) == {"delivered": len(plan["routes"]) * (6 + 2)}  # its own mail is external mail


def test_a_server_outside_with_a_permit_is_not_reported_as_exposed():
    permit = {"reason": "its provider admits the gateways only", "owner": "law", "until": "2099-03-31"}
    plan = plan_of(hosted(mailgate_permit=permit))
    assert plan["proof"]["ok"]
    assert "203.0.113.25" not in {each["address"] for each in plan["border"][BORDER]["permits"]}


@pytest.mark.parametrize("method", ["gateway", "split", "fallback"])
def test_external_senders_are_never_sent_to_a_server_outside(method):
    groups = hosted()
    groups["all"][None]["mailgate_method"] = method
    plan = plan_of(groups)
    zones = (plan["mx_outside"] or plan["mx"])["ns1.univ.example"]
    owners = {each["owner"]: each["mx"] for zone in zones for each in zone["owners"]}
    assert {mx["exchange"] for mx in owners["law.univ.example"]} == {"gw1.univ.example", "gw2.univ.example"}


def test_only_servers_of_others_may_be_outside():
    groups = hosted(mailgate_mta="postfix")
    assert "is outside mailgate_networks" in only_problem(groups).message


def test_a_route_that_its_admin_keeps():
    groups = with_mta()
    groups["engineering"][MECH]["mailgate_keep_route"] = [BIO]
    plan = plan_of(groups)
    assert plan["hosts"][MECH]["keep_route"] == [BIO]
    assert [each for each in plan["warnings"] if "mailgate_keep_route" in each] == [
        f"{MECH}: mailgate_keep_route: its own route for '{BIO}' stays; the plan does not know where it leads, and "
        "proves nothing about this domain on this host"
    ]


@pytest.mark.parametrize(
    ("group", "host", "value", "message"),
    [
        ("engineering", MECH, ["partner.example"], "'partner.example' is in no server's mailgate_domains"),
        ("engineering", MECH, "sci.univ.example", "is not a list"),
        ("gateways", "gw1.univ.example", ["sci.univ.example"], "a gateway has the planned routes only"),
        ("dns", "ns1.univ.example", ["sci.univ.example"], "no routes are written on this host"),
    ],
)
def test_routes_that_cannot_be_kept(group, host, value, message):
    groups = with_mta()
    groups[group][host]["mailgate_keep_route"] = value
    assert message in only_problem(groups).message


def test_a_server_of_others_has_no_routes_to_keep():
    groups = with_mta(mech="none")
    groups["engineering"][MECH]["mailgate_keep_route"] = [BIO]
    assert "no routes are written on this host" in only_problem(groups).message


@pytest.mark.parametrize("interface", [None, "GigabitEthernet0/0/1", ["ge-0/0/0.0", "ge-0/0/1.0"]])
def test_a_router_of_others(interface):
    groups = with_mta()
    border = {"managed": False} | ({"outside_interface": interface} if interface else {})
    groups["borders"] = {BORDER: {"mailgate_border": border}}
    plan = plan_of(groups)
    assert plan["hosts"][BORDER]["kinds"] == ["handed_borders"]
    assert plan["border"][BORDER]["managed"] is False
    assert plan["border"][BORDER]["gateways"] == ["198.18.0.25", "2001:db8:18::25", "198.18.0.26"]
    assert plan["proof"]["ok"]
    assert any(each.startswith(f"{BORDER}: mailgate_border: others maintain") for each in plan["warnings"])


def test_invalid_settings_of_a_router():
    groups = with_mta()
    groups["borders"][BORDER]["mailgate_border"] = {"outside_interface": "eth0", "managed": "no"}
    assert "managed: 'no' is neither true nor false" in only_problem(groups).message
    groups["borders"][BORDER]["mailgate_border"] = {"outside_interface": "GigabitEthernet0/0/1"}
    assert "is not a valid interface name" in only_problem(groups).message
