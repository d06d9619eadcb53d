# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems between hosts: overlaps, backups, kept MX, cycles of hubs, gateways' addresses; slips of the pen."""

from __future__ import annotations

import dataclasses

import pytest
from plan_campus import TODAY, facts_of, only_problem, plan_of, problems_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.findings import is_unknown
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.problems import PlanRefused
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan

MECH, CIVIL, BIO = "mech.eng.univ.example", "civil.eng.univ.example", "bio.sci.univ.example"
MAIL_ENG, MAIL_SCI, QUAKE = "mail.eng.univ.example", "mail.sci.univ.example", "quake.univ.example"


@pytest.mark.parametrize(
    ("variables", "variable", "message", "hint"),
    [
        (
            {"mailgate_backup_domains": ["x.univ.example"]},
            "mailgate_backup_domains",
            "in no server's mailgate_domains",
            "Correct",
        ),
        ({"mailgate_backup_domains": [CIVIL]}, "mailgate_backup_domains", "back up itself", "one of the two lists"),
        ({"mailgate_backup_domains": MECH}, "mailgate_backup_domains", "is not a list", "Use a list"),
        ({"mailgate_keep_mx": "yes"}, "mailgate_keep_mx", "neither true nor a list", "Set it to true"),
        (
            {"mailgate_keep_mx": ["civl.eng.univ.example"]},
            "mailgate_keep_mx",
            "is not one of its domains",
            f"mean {CIVIL}?",
        ),
        ({"mailgate_keep_mx": True}, "mailgate_keep_mx", "external mail would not arrive", "mailgate_permit"),
        ({"mailgate_keep_mx": [CIVIL]}, "mailgate_keep_mx", "external mail would not arrive", "mailgate_permit"),
    ],
)
def test_one_mistake_of_a_server_is_one_problem(variables, variable, message, hint):
    groups = small()
    groups["engineering"][CIVIL] |= variables
    problem = only_problem(groups)
    assert (problem.host, problem.variable) == (CIVIL, variable)
    assert message in problem.message
    assert hint in problem.hint


def test_a_zone_that_keeps_its_mx_needs_permits_or_no_border():
    groups = small()
    groups["dns"]["ns1.univ.example"]["mailgate_dns"]["keep_mx"] = ["univ.example"]
    problems = problems_of(groups)
    assert {problem.host for problem in problems} == {MAIL_SCI, BIO}  # quake has a permit
    assert all("with its zone" in problem.message for problem in problems)


@pytest.mark.parametrize(
    ("retired", "message"),
    [
        (CIVIL, "external mail would not arrive"),
        ("gone.univ.example", "in no server's mailgate_domains"),
        ("x..univ.example", "x..univ.example"),
    ],
)
def test_a_retired_domain_needs_its_server_and_a_way_to_it(retired, message):
    groups = small()
    groups["all"][None]["mailgate_retired"] = [retired]
    assert message in only_problem(groups).message


def test_a_kept_zone_must_be_on_the_server():
    groups = small()
    groups["dns"]["ns1.univ.example"]["mailgate_dns"]["keep_mx"] = ["engg.univ.example"]
    problem = only_problem(groups)
    assert "'engg.univ.example' is kept, but is not one of its zones" in problem.message
    assert problem.hint == "Did you mean eng.univ.example?"


def test_keep_mx_without_domains():
    groups = small()
    groups["dns"]["ns1.univ.example"]["mailgate_keep_mx"] = True
    assert "the host has no domains" in only_problem(groups).message


@pytest.mark.parametrize(
    ("where", "variable", "setting", "hint"),
    [
        (("gateways", "gw1.univ.example"), "mailgate_gateway", {"preference": 0, "prefrence": 1}, "preference"),
        (
            ("research", QUAKE),
            "mailgate_permit",
            {"reason": "r", "owner": "o", "until": "2099-03-31", "untill": 1},
            "until",
        ),
        (("dns", "ns1.univ.example"), "mailgate_dns", {"zones": ["univ.example"], "zone": []}, "zones"),
        (
            ("borders", "border.univ.example"),
            "mailgate_border",
            {"outside_interface": "a", "interface": "b"},
            "outside_",
        ),
    ],
)
def test_misspelt_settings(where, variable, setting, hint):
    groups = small()
    groups[where[0]][where[1]][variable] = setting
    problem = only_problem(groups)
    assert (problem.host, problem.variable) == (where[1], variable)
    assert "unknown key" in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("where", "variable", "setting"),
    [
        (("gateways", "gw2.univ.example"), "mailgate_gateway", {"prefrence": 10}),
        (("research", QUAKE), "mailgate_permit", {"reason": "r", "owner": "o", "utnil": "2099-03-31"}),
        (("research", QUAKE), "mailgate_permit", {"raeson": "r", "owner": "o", "until": "2099-03-31"}),
        (("dns", "ns1.univ.example"), "mailgate_dns", {"zonse": ["univ.example"]}),
        (("borders", "border.univ.example"), "mailgate_border", {"outside_iface": "eth0"}),
    ],
)
def test_a_misspelt_setting_is_not_reported_as_missing_too(where, variable, setting):
    groups = small()
    groups[where[0]][where[1]][variable] = setting
    found = [problem for problem in problems_of(groups) if problem.variable == variable]
    assert [problem.message.partition("'")[0] for problem in found] == ["unknown key "]


@pytest.mark.parametrize(
    ("where", "variable", "value", "wanted"),
    [
        (("all", None), "mailgate_campus", "TODO", ""),
        (("all", None), "mailgate_method", "TODO: gateway or split?", ": gateway or split?"),
        (("all", None), "mailgate_networks", ["198.18.0.0/15", "TODO: 6?", "2001:db8::/32"], ": 6?"),
        (("gateways", "gw2.univ.example"), "ansible_host", "TODO: one of 1, 2", ": one of 1, 2"),
        (
            ("gateways", "gw2.univ.example"),
            "mailgate_gateway",
            {"preference": "TODO: one of 10, 20"},
            ": one of 10, 20",
        ),
        (("borders", "border.univ.example"), "mailgate_border", {"outside_interface": "TODO: which"}, ": which"),
        (("research", QUAKE), "mailgate_permit", "TODO: ask netlab", ": ask netlab"),
        (("research", QUAKE), "mailgate_permit", {"reason": "r", "owner": "TODO: who", "until": "2099-03-31"}, ": who"),
        (("research", QUAKE), "mailgate_permit", {"reason": "r", "owner": "o", "until": "TODO"}, ""),
        (("science", None), "mailgate_hub", "TODO: which", ": which"),
        (("engineering", MECH), "mailgate_domains", [MECH, "TODO: is tsunami theirs?"], ": is tsunami theirs?"),
        (("engineering", MECH), "mailgate_address6", "TODO:its IPv6 address", ": its IPv6 address"),
    ],
)
def test_a_value_to_be_decided_is_reported_once(where, variable, value, wanted):
    groups = small()
    groups[where[0]][where[1]][variable] = value
    problems = problems_of(groups)
    assert {problem.message for problem in problems} == {f"still to be decided{wanted}"}
    assert {problem.variable for problem in problems} == {variable}


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("mailgate_domain", "mailgate_domains"),
        ("mailgate_netwroks", "mailgate_networks"),
        ("mailgate_hubs", "mailgate_hub"),
    ],
)
def test_misspelt_variables(written, near):
    assert is_unknown(written)
    facts = [dataclasses.replace(host, unknown={written: [written]}) for host in facts_of(small())[:1]]
    with pytest.raises(PlanRefused) as refused:
        make_plan([*facts, *facts_of(small())[1:]], TODAY)
    (problem,) = refused.value.problems
    assert (problem.host, problem.variable) == ("gw1.univ.example", written)
    assert problem.hint == f"Did you mean {near}?"


def test_the_hint_for_an_unlike_variable_lists_all_names():
    facts = facts_of(small())
    facts[0] = dataclasses.replace(facts[0], unknown={"mailgate_qqq": ["mailgate_qqq"]})
    with pytest.raises(PlanRefused, match=r"or use one of mailgate_campus, .*mailgate_backup_domains"):
        make_plan(facts, TODAY)


@pytest.mark.parametrize(
    "name",
    [
        "mailgate_domains",
        "mailgate_max_message_bytes",
        "mailgate_plan",
        "mailgate_plan_file",
        "mailgate_verify_from",
        "gateway_routes",
        "ansible_host",
    ],
)
def test_known_variables(name):
    assert not is_unknown(name)


def test_a_loop_of_hubs():
    groups = small()
    groups["engineering"][MAIL_ENG]["mailgate_hub"] = MAIL_SCI
    groups["science"][MAIL_SCI]["mailgate_hub"] = MAIL_ENG
    problems = problems_of(groups)
    assert {problem.host for problem in problems} == {MAIL_ENG, MAIL_SCI}
    assert f"hubs form a loop: {MAIL_ENG} -> {MAIL_SCI} -> {MAIL_ENG}" in [p.message for p in problems]


def test_a_server_with_a_gateway_s_address():
    groups = small()
    groups["science"][BIO]["ansible_host"] = "198.18.0.25"
    assert only_problem(groups).message == (
        "'198.18.0.25' is also the address of gw1.univ.example: the gateway would be its own next hop"
    )


def test_a_gateway_that_backs_up():
    groups = small()
    groups["gateways"]["gw1.univ.example"]["mailgate_backup_domains"] = [MECH]
    assert "would deliver to itself" in only_problem(groups).message


def test_a_claim_inside_another_faculty_s_wildcard_is_looked_at():
    groups = small()
    groups["engineering"][CIVIL]["mailgate_domains"].append("*.univ.example")
    groups["science"][BIO]["mailgate_domains"].append("x.lab.mech.eng.univ.example")
    warnings = [warning for warning in plan_of(groups)["warnings"] if "overlaps" in warning]
    assert (
        warnings
        == [
            f"{CIVIL}: mailgate_domains: '*.univ.example' overlaps '{BIO}' of {BIO} and 2 more, which another faculty "
            "claims; the longer claim wins",
            f"{MECH}: mailgate_domains: '*.lab.mech.eng.univ.example' overlaps 'x.lab.mech.eng.univ.example' of {BIO}, "
            "which another faculty claims; the longer claim wins",
        ]
        or sorted(warnings) == warnings
    )
