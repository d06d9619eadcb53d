# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MX records by each method, second servers, domains that keep their MX, and the methods side by side."""

from __future__ import annotations

import json

import pytest
from plan_campus import TODAY, campus_of, facts_of, paper, plan_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.model import METHODS
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import plan_campus
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof import methods
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.proof import whole_proof

GW1, GW2 = "gw1.univ.example", "gw2.univ.example"
MAIL_ENG, MECH, CIVIL = "mail.eng.univ.example", "mech.eng.univ.example", "civil.eng.univ.example"
QUAKE = "quake.univ.example"


def with_method(method, groups=None):
    groups = groups or small()
    groups["all"][None]["mailgate_method"] = method
    return groups


def with_backup():
    """Civil's server takes mech's mail while mech is down."""
    groups = small()
    groups["engineering"][CIVIL]["mailgate_backup_domains"] = [MECH]
    return groups


def lines(plan, domain, table="mx"):
    (found,) = [
        [(line["preference"], line["exchange"]) for line in owner["mx"]]
        for zones in plan[table].values()
        for zone in zones
        for owner in zone["owners"]
        if owner["owner"] == domain
    ]
    return found


def owners(plan, table="mx"):
    return {owner["owner"] for zones in plan[table].values() for zone in zones for owner in zone["owners"]}


def test_gateway_puts_the_gateways_before_the_own_servers():
    plan = plan_of(with_method("gateway", with_backup()))
    assert lines(plan, MECH) == [(0, GW1), (10, GW2), (20, MECH), (30, CIVIL)]
    assert lines(plan, CIVIL) == [(0, GW1), (10, GW2), (20, CIVIL)]
    assert plan["mx_outside"] == {}


def test_split_shows_gateways_alone_outside_and_own_servers_inside():
    plan = plan_of(with_method("split", with_backup()))
    assert lines(plan, MECH, "mx_outside") == [(0, GW1), (10, GW2)]
    assert lines(plan, MECH) == [(0, MECH), (10, CIVIL)]
    assert owners(plan, "mx_outside") == owners(plan) == {route["domain"] for route in plan["routes"]}


def test_fallback_puts_the_own_servers_first():
    plan = plan_of(with_method("fallback", with_backup()))
    assert lines(plan, CIVIL) == [(0, CIVIL), (10, GW1), (20, GW2)]
    assert lines(plan, MECH) == [(0, MECH), (10, CIVIL), (20, GW1), (30, GW2)]
    assert plan["mx_outside"] == {}


def test_fallback_keeps_the_gateways_order_whatever_their_preferences():
    groups = with_method("fallback")
    groups["gateways"][GW1]["mailgate_gateway"] = {"preference": 35}
    groups["gateways"][GW2]["mailgate_gateway"] = {"preference": 5}
    groups["gateways"]["gw3.univ.example"] = {"ansible_host": "198.18.0.27", "mailgate_gateway": {"preference": 5}}
    assert lines(plan_of(groups), CIVIL) == [(0, CIVIL), (10, GW2), (10, "gw3.univ.example"), (40, GW1)]


@pytest.mark.parametrize("method", METHODS)
def test_only_mx_lines_depend_on_the_method(method):
    plan, usual = plan_of(with_method(method)), plan_of(small())
    for key in ("hosts", "gateways", "routes", "sendmail", "border", "methods"):
        assert plan[key] == usual[key]
    assert plan["campus"]["method"] == method


@pytest.mark.parametrize("delivery", ["direct", "tiered"])
def test_a_second_server_is_the_gateways_second_next_hop(delivery):
    groups = with_backup()
    groups["all"][None]["mailgate_delivery"] = delivery
    plan = plan_of(groups)
    routes = {route["domain"]: route for route in plan["routes"]}
    first = "198.18.1.30" if delivery == "direct" else "198.18.1.25"
    assert routes[MECH]["next_hops"] == [first, "198.18.1.31"]
    assert routes[MECH]["home"] == MECH
    assert routes[CIVIL]["next_hops"] == ["198.18.1.31" if delivery == "direct" else first]
    assert plan["sendmail"][CIVIL]["local"] == [CIVIL, MECH]
    assert MECH not in [line["domain"] for line in plan["sendmail"][CIVIL]["static"]]
    assert MECH not in plan["sendmail"][MAIL_ENG]["local"]


def test_backups_are_asked_about_recipients_after_their_home():
    groups = with_backup()
    groups["all"][None]["mailgate_delivery"] = "tiered"
    groups["engineering"][MAIL_ENG]["mailgate_backup_domains"] = [MECH]
    (route,) = (route for route in plan_of(groups)["routes"] if route["domain"] == MECH)
    assert sorted(route["next_hops"]) == ["198.18.1.25", "198.18.1.31"]
    assert route["ask"] == ["198.18.1.30", "198.18.1.25", "198.18.1.31"]


def test_several_backups_are_tried_in_inventory_order():
    groups = with_backup()
    groups["science"]["bio.sci.univ.example"]["mailgate_backup_domains"] = ["MECH.eng.univ.example."]
    routes = {route["domain"]: route["next_hops"] for route in plan_of(groups)["routes"]}
    assert routes[MECH] == ["198.18.1.30", "198.18.1.31", "198.18.2.30"]


@pytest.mark.parametrize("delivery", ["direct", "tiered"])
def test_inner_servers_know_the_second_server_too(delivery):
    groups = with_backup()
    groups["all"][None]["mailgate_delivery"] = delivery
    plan = plan_of(groups)

    def line(server):
        (found,) = (line for line in plan["sendmail"][server]["static"] if line["domain"] == MECH)
        return found

    home = {"domain": MECH, "next_hop": "198.18.1.30", "host": MECH, "next_hops": ["198.18.1.30", "198.18.1.31"]}
    hub = {"domain": MECH, "next_hop": "198.18.1.25", "host": MAIL_ENG, "next_hops": ["198.18.1.25", "198.18.1.31"]}
    hub["distance"] = 2
    assert line(MAIL_ENG) == home  # the faculty's own hub
    assert line("mail.sci.univ.example") == hub  # another hub
    assert line(GW1) == (home if delivery == "direct" else hub)  # as the delivery list
    assert "next_hops" not in line("bio.sci.univ.example")  # its hub knows the rest
    assert sum("next_hops" in each for each in plan["sendmail"][GW1]["static"]) == 1


def test_mail_from_inside_reaches_the_second_server_while_the_home_is_down():
    plan = plan_campus(facts_of(with_backup()), TODAY)
    cases = json.loads("".join(whole_proof(plan.simulation)))["cases"]
    (case,) = (c for c in cases if (c["host"], c["sender"], c["domain"]) == (MECH, "inside", MECH))
    # All but the home itself, whose own mail waits with it.
    assert case["starts"] == {"delivered": 7, "held": 1}
    counts = {scenario.host: senders for scenario, senders in plan.proof.counts.items()}
    of_mech = sum(c["starts"].get("delivered", 0) for c in cases if (c["host"], c["sender"]) == (MECH, "inside"))
    assert counts[MECH]["inside"]["delivered"] == of_mech


def test_a_server_that_only_backs_up_is_a_server():
    groups = small()
    groups["engineering"]["spare.eng.univ.example"] = {
        "ansible_host": "198.18.1.99",
        "mailgate_backup_domains": [MECH, CIVIL],
    }
    plan = plan_of(groups)
    assert plan["hosts"]["spare.eng.univ.example"]["kinds"] == ["servers"]
    assert plan["sendmail"]["spare.eng.univ.example"]["local"] == [CIVIL, MECH]


def test_a_home_with_a_backup_may_go_down():
    scenarios = {
        (each["scenario"], each["host"]): each["senders"] for each in plan_of(with_backup())["proof"]["scenarios"]
    }
    # The wildcard of the same server has no second one.
    assert {verdict: n for verdict, n in scenarios["server_down", MECH]["mx"].items() if n} == {
        "delivered": 6,
        "held": 1,
    }
    assert ("server_down", CIVIL) not in scenarios


@pytest.mark.parametrize("method", METHODS)
def test_domains_that_keep_their_mx_have_no_entry(method):
    groups = with_method(method)
    groups["research"][QUAKE]["mailgate_keep_mx"] = True
    plan = plan_of(groups)
    assert QUAKE not in owners(plan) | owners(plan, "mx_outside")
    assert len(owners(plan)) == 6
    assert QUAKE in [route["domain"] for route in plan["routes"]]
    assert plan["proof"]["ok"]


@pytest.mark.parametrize("method", METHODS)
def test_a_retired_domain_has_its_own_mx_and_keeps_its_routes(method):
    groups = with_method(method)
    groups["all"][None]["mailgate_retired"] = [QUAKE]
    plan = plan_of(groups)
    assert plan["retired"] == [QUAKE]
    own = [{"preference": 0, "exchange": QUAKE}]
    for tables in filter(None, (plan["mx"], plan["mx_outside"])):
        (found,) = [
            entry["mx"] for zone in tables["ns1.univ.example"] for entry in zone["owners"] if entry["owner"] == QUAKE
        ]
        assert found == own
    assert QUAKE in [route["domain"] for route in plan["routes"]]
    assert plan["proof"]["ok"]
    assert any(warning.startswith(f"retired domains: {QUAKE};") for warning in plan["warnings"])


def test_a_list_or_a_zone_may_keep_its_mx():
    groups = small()
    del groups["borders"]
    groups["engineering"][MECH]["mailgate_keep_mx"] = ["*.lab.mech.eng.univ.example"]
    assert owners(plan_of(groups)) == owners(plan_of(small())) - {"*.lab.mech.eng.univ.example"}
    groups["dns"]["ns1.univ.example"]["mailgate_dns"]["keep_mx"] = ["univ.example"]
    assert owners(plan_of(groups)) == {MECH, CIVIL, "eng.univ.example"}


@pytest.mark.parametrize("delivery", ["direct", "tiered"])
def test_the_methods_compare_as_the_paper_argues(delivery):
    compared = methods.compare(campus_of(paper(delivery)))
    assert list(compared) == list(METHODS)
    gateway, split, fallback = compared.values()
    # The gateway method costs more lines; fallback is little work; split leaves the zones but needs generated data.
    assert gateway.zone_lines == 168 * 4  # one line becomes three
    assert fallback.zone_lines == 168 * 2  # two are added
    assert (gateway.outside_lines, split.outside_lines, fallback.outside_lines) == (0, 168 * 2, 0)
    assert split.zone_lines == 0
    assert fallback.hosts == split.hosts < gateway.hosts == 142 + 2 + 1 + 1
    # When the firewall fails, fallback exposes every inner server but the five that are meant to be open, at once.
    assert (gateway.exposed_domains, gateway.exposed_servers) == (0, 0)
    assert (split.exposed_domains, split.exposed_servers) == (0, 0)
    assert fallback.exposed_servers == 142 - 5
    assert fallback.exposed_domains == 168 - 2 * 5
    # And while it stands, each of their messages first knocks at a closed port.
    assert (gateway.blocked, split.blocked, fallback.blocked) == (0, 0, 168 - 2 * 5)
    # Two gateways: none of the methods loses mail with one of them. A hub stops its faculty in tiered delivery.
    assert {method.gateway_down.held for method in compared.values()} == {0}
    assert gateway.hub_down.held == (1 if delivery == "direct" else 15)


def test_a_single_gateway_that_is_down_holds_all_but_what_is_permitted():
    groups = small()
    del groups["gateways"][GW2]
    methods = plan_of(groups)["methods"]
    assert methods["gateway"]["gateway_down"] == {"host": GW1, "held": 6}
    assert methods["split"]["gateway_down"] == {"host": GW1, "held": 7}
    assert methods["fallback"]["gateway_down"] == {"host": GW1, "held": 6}


def test_the_comparison_does_not_count_kept_domains_as_work():
    groups = small()
    groups["research"][QUAKE]["mailgate_keep_mx"] = True
    methods = plan_of(groups)["methods"]
    assert methods["gateway"]["work"]["zone_lines"] == 6 * 4
    assert methods["split"]["work"]["outside_lines"] == 6 * 2


@pytest.mark.parametrize("method", METHODS)
def test_the_comparison_agrees_with_the_proof_of_each_method(method):
    plan = plan_of(with_method(method))
    proved = {each["scenario"]: each["senders"]["mx"] for each in plan["proof"]["scenarios"]}
    compared = plan["methods"][method]
    assert compared["border_open"]["domains"] == proved["border_open"]["exposed"]
    assert compared["gateway_down"]["held"] == proved["gateway_down"]["held"]
