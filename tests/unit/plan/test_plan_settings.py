# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of single servers and faculties: delivery, mail names, IPv6 only, external domains, names of hosts."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_campus import TODAY, best, campus_of, facts_of, only_problem, paper, plan_of, problems_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.findings import meant
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.problems import PlanRefused
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan, plan_campus
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.proof import whole_proof

MECH = "mech.eng.univ.example"
BIO = "bio.sci.univ.example"
MAIL_ENG = "mail.eng.univ.example"
LAB = "*.lab.mech.eng.univ.example"
SHOP = "shop.lab.mech.eng.univ.example"


def hops(plan):
    return {route["domain"]: route["next_hops"] for route in plan["routes"]}


def lines(plan, host):
    return {line["domain"]: line["next_hop"] for line in plan["sendmail"][host]["static"]}


class TestDelivery:
    def test_a_faculty_s_value_is_its_own(self):
        groups = small()
        groups["engineering"][None]["mailgate_delivery"] = "tiered"
        plan = plan_of(groups)
        assert hops(plan)[MECH] == ["198.18.1.25"]
        assert hops(plan)[BIO] == ["198.18.2.30"]
        queue = lines(plan, "gw1.univ.example")
        assert (queue[MECH], queue[BIO]) == ("198.18.1.25", "198.18.2.30")
        assert plan["campus"]["delivery"] == "mixed"
        assert "delivery: mixed" in plan["text"]
        assert [plan["hosts"][host]["delivery"] for host in (MECH, BIO, "gw1.univ.example")] == ["tiered", "direct", ""]

    def test_without_a_value_for_the_campus_the_others_are_direct(self):
        groups = small()
        del groups["all"][None]["mailgate_delivery"]
        groups["engineering"][None]["mailgate_delivery"] = "tiered"
        plan = plan_of(groups)
        assert (hops(plan)[MECH], hops(plan)[BIO]) == (["198.18.1.25"], ["198.18.2.30"])

    def test_a_value_for_all_is_that_of_the_campus(self):
        plan = plan_of(paper("tiered"))
        assert plan["campus"]["delivery"] == "tiered"

    def test_a_value_of_the_gateways_alone_is_refused(self):
        groups = small()
        del groups["all"][None]["mailgate_delivery"]
        groups["gateways"]["gw1.univ.example"]["mailgate_delivery"] = "tiered"
        problem = only_problem(groups)
        assert (problem.host, problem.variable) == ("gw1.univ.example", "mailgate_delivery")
        assert "has no effect here" in problem.message


@pytest.mark.parametrize("variable", ["mailgate_campus", "mailgate_networks", "mailgate_method", "mailgate_language"])
class TestCampusVariables:
    def test_one_that_only_some_hosts_have_is_refused(self, variable):
        groups = small()
        value = groups["all"][None].pop(variable)
        groups["engineering"][None][variable] = value
        problem = only_problem(groups)
        assert (problem.host, problem.variable) == (MAIL_ENG, variable)
        assert problem.message == "is not set for gw1.univ.example and 6 more, but applies to the whole campus"
        assert problem.hint == "Set it once, under all: vars:"

    def test_hosts_without_a_function_need_none(self, variable):
        groups = small()
        for host in facts_of(small()):
            group = next(name for name, members in groups.items() if host.name in members)
            groups[group][host.name][variable] = groups["all"][None][variable]
        del groups["all"][None][variable]
        groups["printers"] = {"printer": {"ansible_host": "198.18.9.9"}}
        assert plan_of(groups)["warnings"] == []


def short_names():
    """Return the small campus with short inventory names and a pattern of mail names for each faculty."""
    groups = small()
    names = {"engineering": "eng.univ.example", "science": "sci.univ.example"}
    for group, suffix in names.items():
        for host in [name for name in groups[group] if name]:
            label = f"{host.split('.')[0]}-{group[:3]}"
            groups[group][label] = groups[group].pop(host) | {"mailgate_name": host}
        groups[group][None]["mailgate_hub"] = f"mail-{group[:3]}"
        assert suffix
    groups["gateways"]["gw1"] = groups["gateways"].pop("gw1.univ.example") | {"mailgate_name": "MX1.univ.example."}
    groups["borders"]["edge"] = groups["borders"].pop("border.univ.example")
    return groups


class TestMailName:
    def test_records_have_the_mail_name_and_messages_the_inventory_s(self):
        plan = plan_of(short_names())
        before = plan_of(small())
        renamed = json.dumps(before["mx"]).replace("gw1.univ", "mx1.univ")
        assert plan["mx"] == json.loads(renamed)
        assert hops(plan) == hops(before)
        assert plan["hosts"]["mech-eng"]["mail_name"] == MECH
        assert plan["hosts"]["edge"]["mail_name"] == ""
        assert {route["home"] for route in plan["routes"]} >= {"mech-eng", "bio-sci"}
        counts = [scenario["senders"] for scenario in plan["proof"]["scenarios"]]
        assert counts[0] == before["proof"]["scenarios"][0]["senders"]

    def test_a_short_name_alone_is_a_problem_with_the_way_out(self):
        groups = short_names()
        del groups["science"]["bio-sci"]["mailgate_name"]
        problem = only_problem(groups)
        assert (problem.host, problem.variable) == ("bio-sci", "inventory_hostname")
        assert "Set mailgate_name" in problem.hint

    @pytest.mark.parametrize("name", ["bio", "bio..sci.univ.example", 3, "", ["bio.sci.univ.example"]])
    def test_an_invalid_name(self, name):
        groups = short_names()
        groups["science"]["bio-sci"]["mailgate_name"] = name
        problem = only_problem(groups)
        assert (problem.host, problem.variable) == ("bio-sci", "mailgate_name")

    def test_one_name_for_two_hosts(self):
        groups = short_names()
        groups["science"]["bio-sci"]["mailgate_name"] = "mail.sci.univ.example"
        problem = only_problem(groups)
        assert {problem.host} <= {"bio-sci", "mail-sci"}
        assert "is also the mail name of" in problem.message


def ipv6_only():
    """Return the small campus with one server, mech, that has only an IPv6 address."""
    groups = small()
    groups["gateways"]["gw2.univ.example"]["mailgate_address6"] = "2001:db8:18::26"
    groups["engineering"][MAIL_ENG]["mailgate_address6"] = "2001:db8:18:1::25"
    groups["engineering"][MECH]["ansible_host"] = "2001:db8:18:1::30"
    return groups


class TestIpv6Only:
    def test_routes_and_lines_have_its_address(self):
        plan = plan_of(ipv6_only())
        assert hops(plan)[MECH] == ["2001:db8:18:1::30"]
        assert lines(plan, "gw2.univ.example")[MECH] == "2001:db8:18:1::30"
        assert lines(plan, MAIL_ENG)[MECH] == "2001:db8:18:1::30"

    def test_one_without_ipv6_sends_through_the_hub(self):
        plan = plan_of(ipv6_only())
        assert lines(plan, "civil.eng.univ.example")[MECH] == "198.18.1.25"
        assert plan["proof"]["ok"]

    def test_it_sends_to_addresses_that_it_reaches(self):
        plan = plan_of(ipv6_only())
        sent = lines(plan, MECH)
        assert set(sent.values()) == {"2001:db8:18:1::25"}
        assert sent["civil.eng.univ.example"] == "2001:db8:18:1::25"

    def test_its_permit_opens_its_address(self):
        groups = ipv6_only()
        groups["engineering"][MECH]["mailgate_permit"] = {"reason": "r", "owner": "o", "until": "2099-03-31"}
        permits = plan_of(groups)["border"]["border.univ.example"]["permits"]
        assert [permit["address"] for permit in permits if permit["host"] == MECH] == ["2001:db8:18:1::30"]

    @pytest.mark.parametrize("address", [{}, {"mailgate_address": ""}, {"ansible_host": "m", "mailgate_address": ""}])
    def test_forms(self, address):
        groups = ipv6_only()
        groups["engineering"][MECH] = {
            "mailgate_domains": [MECH],
            "mailgate_address6": "2001:db8:18:1::30",
            **address,
        }
        assert hops(plan_of(groups))[MECH] == ["2001:db8:18:1::30"]

    def test_a_name_as_ansible_host_is_not_taken_for_ipv6_only(self):
        groups = ipv6_only()
        groups["engineering"][MECH] |= {"ansible_host": "mech", "mailgate_address6": "2001:db8:18:1::30"}
        problem = only_problem(groups)
        assert (problem.host, problem.variable) == (MECH, "ansible_host")
        assert "or to ''" in problem.hint

    def test_a_gateway_without_ipv6_cannot_reach_it(self):
        groups = ipv6_only()
        del groups["gateways"]["gw2.univ.example"]["mailgate_address6"]
        problem = only_problem(groups)
        assert (problem.host, problem.variable) == ("gw2.univ.example", "mailgate_address6")
        assert problem.message == f"has no IPv6 address, but sends mail to {MECH}, which has no IPv4 address"

    def test_a_hub_without_ipv6_cannot_reach_it(self):
        groups = ipv6_only()
        del groups["engineering"][MAIL_ENG]["mailgate_address6"]
        found = {(problem.host, problem.variable) for problem in problems_of(groups)}
        assert found == {(MAIL_ENG, "mailgate_address6"), (MECH, "mailgate_address")}

    def test_a_gateway_needs_ipv4(self):
        groups = ipv6_only()
        groups["gateways"]["gw2.univ.example"]["mailgate_address"] = ""
        problem = only_problem(groups)
        assert (problem.host, problem.variable) == ("gw2.univ.example", "mailgate_address")

    def test_a_hub_with_ipv6_only_is_out_of_reach_of_others(self):
        groups = ipv6_only()
        groups["engineering"][MAIL_ENG]["mailgate_address"] = ""
        hosts = {problem.host for problem in problems_of(groups)}
        assert hosts == {MAIL_ENG, "civil.eng.univ.example", "mail.sci.univ.example"}


def with_external(*domains):
    groups = small()
    groups["engineering"][None]["mailgate_external_domains"] = list(domains)
    return groups


class TestExternalDomains:
    def test_they_have_no_route_and_no_mx_and_are_reported(self):
        plan = plan_of(with_external(SHOP, "alumni.eng.univ.example"))
        before = plan_of(small())
        assert plan["external"] == [
            {"domain": "alumni.eng.univ.example", "within": "", "faculty": "engineering"},
            {"domain": SHOP, "within": LAB, "faculty": "engineering"},
        ]
        for key in ("routes", "mx", "sendmail", "border"):
            assert plan[key] == before[key]
        assert "Hosted outside (2)" in plan["text"]

    def test_the_whole_campus_may_list_them(self):
        groups = small()
        groups["all"][None]["mailgate_external_domains"] = ["alumni.univ.example"]
        assert plan_of(groups)["external"] == [{"domain": "alumni.univ.example", "within": "", "faculty": ""}]

    def test_the_whole_proof_names_them(self):
        plan = plan_campus(facts_of(with_external(SHOP)), TODAY)
        assert json.loads("".join(whole_proof(plan.simulation)))["external"] == [SHOP]

    def test_a_domain_that_a_server_claims_too(self):
        problem = only_problem(with_external(MECH))
        assert (problem.host, problem.variable) == (MECH, "mailgate_domains")
        assert "a provider hosts" in problem.message

    def test_an_invalid_one_is_reported_once(self):
        assert "invalid label" in only_problem(with_external("shop_.univ.example")).message

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_the_longest_match_decides(self, data):
        pool = [f"{star}{label}lab.{MECH}" for star in ("", "*.") for label in ("", "a.", "b.a.", "c.")]
        claimed = data.draw(st.lists(st.sampled_from(pool), unique=True, min_size=1))
        others = [name for name in pool if name not in claimed]
        outside = data.draw(st.lists(st.sampled_from(others), unique=True)) if others else []
        groups = with_external(*outside)
        groups["engineering"][MECH]["mailgate_domains"] = claimed
        campus = campus_of(groups)
        excepted = [each.domain for each in campus.external.values() if each.within]
        table = dict.fromkeys(claimed, True) | dict.fromkeys(excepted, False)
        for name in (f"{label}lab.{MECH}" for label in ("", "a.", "b.a.", "c.", "x.", "x.a.", "x.b.a.", "y.c.")):
            every = dict.fromkeys(claimed, True) | dict.fromkeys(outside, False)
            assert bool(best(name, table)) == bool(best(name, every))


class TestNamesOfHosts:
    def test_a_gateway_s_name_is_no_mail_domain(self):
        groups = small()
        groups["research"]["quake.univ.example"]["mailgate_domains"].append("gw1.univ.example")
        problem = only_problem(groups)
        assert (problem.host, problem.variable) == ("quake.univ.example", "mailgate_domains")
        assert "'gw1.univ.example' is the mail name of gw1.univ.example" in problem.message

    def test_a_short_gateway_name_has_no_dot(self):
        groups = small()
        groups["research"]["quake.univ.example"]["mailgate_domains"].append("gw1")
        assert "'gw1' has no dot" in only_problem(groups).message

    def test_another_server_s_name_is_a_warning(self):
        groups = small()
        groups["science"][BIO]["mailgate_domains"].append(MAIL_ENG)
        (warning,) = plan_of(groups)["warnings"]
        assert f"{BIO}: mailgate_domains: '{MAIL_ENG}' is the mail name of {MAIL_ENG}" in warning

    def test_a_wildcard_of_a_whole_zone_is_a_warning(self):
        groups = small()
        groups["engineering"][MECH]["mailgate_domains"].append("*.eng.univ.example")
        (warning,) = plan_of(groups)["warnings"]
        assert "'*.eng.univ.example' covers the whole zone eng.univ.example" in warning

    def test_the_server_of_a_zone_s_own_name_may_have_its_wildcard(self):
        groups = small()
        groups["engineering"][MAIL_ENG]["mailgate_domains"].append("*.eng.univ.example")
        assert plan_of(groups)["warnings"] == []

    def test_the_zone_of_the_gateways_is_nobody_s_own(self):
        groups = small()
        groups["engineering"][MAIL_ENG]["mailgate_domains"] += ["univ.example", "*.univ.example"]
        assert any("covers the whole zone univ.example" in warning for warning in plan_of(groups)["warnings"])


def test_a_zone_on_two_dns_servers_is_changed_on_both():
    groups = small()
    groups["dns"]["ns2.univ.example"] = {
        "ansible_host": "198.18.0.54",
        "mailgate_dns": {"zones": ["univ.example", "eng.univ.example"]},
    }
    groups["dns"]["ns2.univ.example"]["mailgate_address6"] = "2001:db8:18::54"
    plan = plan_of(groups)
    assert plan["warnings"] == []
    assert [server["addresses"] for server in plan["dns"]] == [["198.18.0.53"], ["198.18.0.54", "2001:db8:18::54"]]
    assert plan["mx"]["ns2.univ.example"][0] == plan["mx"]["ns1.univ.example"][0]


def test_names_in_another_encoding():
    groups = small()
    groups["all"][None]["mailgate_campus"] = os.fsdecode(b"Universit\xe9")
    groups["engineering"][None]["mailgate_faculty"] = os.fsdecode(b"G\xe9nie")
    plan = plan_of(groups)
    assert plan["campus"]["name"] == "Universit\N{REPLACEMENT CHARACTER}"
    assert plan["hosts"][MAIL_ENG]["faculty"] == "G\N{REPLACEMENT CHARACTER}nie"
    json.dumps(plan, ensure_ascii=False).encode()


class TestAllAtOnce:
    def test_a_misspelt_hub_does_not_hide_the_problems_of_the_hub(self):
        groups = small()
        hub = groups["engineering"][MAIL_ENG]
        del hub["mailgate_domains"], hub["ansible_host"]
        groups["engineering"][None]["mailgate_hub"] = "mial.eng.univ.example"
        found = {(problem.host, problem.variable) for problem in problems_of(groups)}
        assert (MAIL_ENG, "ansible_host") in found
        assert (MECH, "mailgate_hub") in found

    def test_a_template_that_fails_does_not_hide_a_value_that_differs(self):
        groups = small()
        facts = facts_of(groups)
        for number, value in ((4, "ja"), (5, "fr")):
            facts[number] = dataclasses.replace(
                facts[number], variables={**facts[number].variables, "mailgate_language": value}
            )
        with pytest.raises(PlanRefused) as refused:
            make_plan(facts, TODAY)
        assert {problem.host for problem in refused.value.problems} == {facts[4].name, facts[5].name}

    @pytest.mark.parametrize(
        ("written", "variable"),
        [("mailgate_domans", "mailgate_domains"), ("mailgate_permitt", "mailgate_permit"), ("mailgate_xyz", "")],
    )
    def test_a_misspelt_variable_is_read_as_the_one_that_it_resembles(self, written, variable):
        assert meant(written, (), 0.8) == variable
        assert meant(written, [variable], 0.8) != variable or not variable
