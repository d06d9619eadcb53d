# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every problem of an inventory: found, placed, explained, and all at once."""

from __future__ import annotations

import datetime

import pytest
from plan_campus import TODAY, facts_of, only_problem, plan_of, problems_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.findings import HostFacts, Unreadable
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.inventory import read_campus
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.problems import (
    Place,
    PlanRefused,
    Problem,
    merge,
)
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan

GW1 = ("gateways", "gw1.univ.example")
MECH = ("engineering", "mech.eng.univ.example")
QUAKE = ("research", "quake.univ.example")
BORDER = ("borders", "border.univ.example")
NS1 = ("dns", "ns1.univ.example")
CAMPUS = ("all", None)


def changed(where, **variables):
    """Return the small campus with some of a host's variables set, or removed where the value is None."""
    groups = small()
    own = groups[where[0]][where[1]]
    for name, value in variables.items():
        own[name] = value
        if value is None:
            del own[name]
    return groups


def test_the_small_campus_has_no_problem_and_no_warning():
    assert plan_of(small())["warnings"] == []


@pytest.mark.parametrize(
    ("where", "variables", "variable", "message", "hint"),
    [
        (MECH, {"ansible_host": None}, "ansible_host", "no address", "Set ansible_host"),
        (
            MECH,
            {"ansible_host": "mech.eng.univ.example"},
            "ansible_host",
            "not a valid IPv4 address",
            "mailgate_address",
        ),
        (MECH, {"mailgate_address": "198.18.1"}, "mailgate_address", "not a valid IPv4 address", "mailgate_address"),
        (MECH, {"ansible_host": "fe80::30"}, "ansible_host", "not a valid IPv4 address", "mailgate_address"),
        (MECH, {"mailgate_address6": "198.18.1.30"}, "mailgate_address6", "not a valid IPv6 address", "IPv6"),
        (MECH, {"ansible_host": "198.18.1.31"}, "ansible_host", "also the address of mech.eng", "Correct one"),
        (MECH, {"ansible_host": "198.19.1.30"}, "ansible_host", "outside mailgate_networks", "add its network"),
        (MECH, {"mailgate_address6": "2001:db8:19::1"}, "mailgate_address6", "outside mailgate_networks", "network"),
        (MECH, {"mailgate_domains": "mech.eng.univ.example"}, "mailgate_domains", "is not a list", "Use a list"),
        (MECH, {"mailgate_domains": ["mech..univ.example"]}, "mailgate_domains", "empty label", "Correct"),
        (MECH, {"mailgate_domains": ["x.univ.test"]}, "mailgate_domains", "is not in a zone", "Add its zone"),
        (MECH, {"mailgate_domains": ["x.univ.example", "X.univ.example."]}, "mailgate_domains", "twice", "Remove one"),
        (MECH, {"mailgate_domains": ["CIVIL.eng.univ.example"]}, "mailgate_domains", "also claimed by", "Remove it"),
        (MECH, {"mailgate_hub": "mial.eng.univ.example"}, "mailgate_hub", "not a host", "mean mail.eng.univ.example?"),
        (MECH, {"mailgate_hub": ["mail.eng.univ.example"]}, "mailgate_hub", "not a host", "Name a server"),
        (MECH, {"mailgate_ask": "gateway"}, "mailgate_ask", "'gateway' is not a valid", "home or hub"),
        (MECH, {"mailgate_ask": ["hub"]}, "mailgate_ask", "['hub'] is not a valid", "home or hub"),
        (MECH, {"mailgate_hub": "gw1.univ.example"}, "mailgate_hub", "is a gateway", "Name a server"),
        (MECH, {"mailgate_faculty": 3}, "mailgate_faculty", "3 is not a valid name", "name of the faculty"),
        (QUAKE, {"mailgate_permit": "yes"}, "mailgate_permit", "not a mapping", "reason"),
        (GW1, {"mailgate_gateway": 0}, "mailgate_gateway", "not a mapping", "preference: 0"),
        (GW1, {"mailgate_gateway": {}}, "mailgate_gateway", "has no preference", "0 for the primary"),
        (GW1, {"mailgate_gateway": {"preference": "0"}}, "mailgate_gateway", "'0' is not a valid", "integer"),
        (GW1, {"mailgate_gateway": {"preference": -1}}, "mailgate_gateway", "-1 is not a valid", "integer"),
        (GW1, {"mailgate_gateway": {"preference": True}}, "mailgate_gateway", "True is not a valid", "integer"),
        (GW1, {"mailgate_gateway": {"preference": 60001}}, "mailgate_gateway", "60001 is not a valid", "60000"),
        (
            GW1,
            {"mailgate_domains": ["gw.univ.example"]},
            "mailgate_domains",
            "gateway cannot be the final server",
            "inner server",
        ),
        (BORDER, {"mailgate_border": {}}, "mailgate_border", "no outside_interface", "external interface"),
        (BORDER, {"mailgate_border": {"outside_interface": []}}, "mailgate_border", "no outside_interface", "or list"),
        (
            BORDER,
            {"mailgate_border": {"outside_interface": ["wan0", "wan1@if31"]}},
            "mailgate_border",
            "'wan1@if31' is not a valid",
            "before the @",
        ),
        (
            BORDER,
            {"mailgate_border": {"outside_interface": "a b"}},
            "mailgate_border",
            "'a b' is not a valid",
            "external",
        ),
        (
            BORDER,
            {"mailgate_border": {"outside_interface": "x" * 16}},
            "mailgate_border",
            "not a valid interface",
            "external",
        ),
        (
            NS1,
            {"mailgate_dns": {"zones": ["univ.example", "eng_.univ.example"]}},
            "mailgate_dns",
            "invalid label",
            "Corr",
        ),
        (NS1, {"mailgate_dns": {"zones": ["univ.example"] * 2}}, "mailgate_dns", "listed twice", "Remove one"),
        (CAMPUS, {"mailgate_method": "splitt"}, "mailgate_method", "'splitt' is not a valid", "Use gateway"),
        (MECH, {"mailgate_delivery": "two"}, "mailgate_delivery", "'two' is not a valid", "direct or tiered"),
        (CAMPUS, {"mailgate_language": "fr"}, "mailgate_language", "'fr' is not a valid", "en or ja"),
        (CAMPUS, {"mailgate_networks": "198.18.0.0/16"}, "mailgate_networks", "not a list", "CIDR"),
        (
            CAMPUS,
            {"mailgate_networks": None},
            "mailgate_networks",
            "no networks to protect",
            "mailgate_networks|networks",
        ),
    ],
)
def test_one_mistake_is_one_problem(where, variables, variable, message, hint):
    problem = only_problem(changed(where, **variables))
    assert problem.variable == variable
    assert message in problem.message
    assert any(word in problem.hint for word in hint.split("|"))
    if where[1] and "also the address" not in message and "also claimed" not in message:
        assert problem.host == where[1]


@pytest.mark.parametrize(
    ("permit", "message"),
    [
        ({"owner": "netlab", "until": "2099-03-31"}, "has no reason"),
        ({"reason": " ", "owner": "netlab", "until": "2099-03-31"}, "has no reason"),
        ({"reason": "tests", "until": "2099-03-31"}, "has no owner"),
        ({"reason": "tests", "owner": "netlab"}, "has no expiry date"),
        ({"reason": "tests", "owner": "netlab", "until": "31.3.2029"}, "'31.3.2029' is not a valid date"),
        ({"reason": "tests", "owner": "netlab", "until": 2029}, "2029 is not a valid date"),
        ({"reason": "tests", "owner": "netlab", "until": "2026-03-31"}, "expired on 2026-03-31"),
        ({"reason": "tests", "owner": "netlab", "until": datetime.date(2026, 3, 31)}, "expired on 2026-03-31"),
        ({"reason": "tests", "owner": "netlab", "until": datetime.datetime(2026, 3, 31, 12)}, "expired on 2026-03-31"),
    ],
)
def test_permits(permit, message):
    problem = only_problem(changed(QUAKE, mailgate_permit=permit))
    assert (problem.host, problem.variable) == ("quake.univ.example", "mailgate_permit")
    assert message in problem.message


def test_a_permit_holds_through_its_last_day_and_warns_before():
    groups = changed(QUAKE, mailgate_permit={"reason": "tests", "owner": "netlab", "until": TODAY})
    assert plan_of(groups)["warnings"] == [
        "quake.univ.example: mailgate_permit: expires today, on 2026-04-01; renew or remove it before then"
    ]
    for days, warnings in ((30, 1), (31, 0)):
        until = TODAY + datetime.timedelta(days)
        groups = changed(QUAKE, mailgate_permit={"reason": "tests", "owner": "netlab", "until": until})
        assert len(plan_of(groups)["warnings"]) == warnings


class TestPermitsThatExpireByThemselves:
    """`mailgate_expire_permits`."""

    def plan(self, until, expire=True):
        groups = changed(QUAKE, mailgate_permit={"reason": "tests", "owner": "netlab", "until": until})
        groups["all"][None]["mailgate_expire_permits"] = expire
        return groups

    def test_the_warning_says_what_happens(self):
        plan = plan_of(self.plan(TODAY + datetime.timedelta(days=1)))
        (warning,) = plan["warnings"]
        assert warning.endswith("renew or remove it before then. Then the border blocks its port 25")
        border = plan["border"]["border.univ.example"]
        assert border["expire_permits"] is True
        assert {permit["until"] for permit in border["permits"]} == {"2026-04-02"}

    def test_an_expired_one_is_ignored(self):
        plan = plan_of(self.plan("2026-03-31"))
        assert "expired on 2026-03-31, so the border blocks its port 25" in plan["warnings"][0]
        assert plan["border"]["border.univ.example"]["permits"] == []

    def test_off_by_default(self):
        assert "expired on" in only_problem(self.plan("2026-03-31", expire=False)).message
        assert plan_of(small())["border"]["border.univ.example"]["expire_permits"] is False

    def test_another_value(self):
        problem = only_problem(self.plan("2099-03-31", expire="yes"))
        assert (problem.variable, problem.message) == ("mailgate_expire_permits", "'yes' is neither true nor false")


def test_no_gateway():
    groups = small()
    del groups["gateways"]
    problem = only_problem(groups)
    assert (problem.host, problem.variable) == ("all", "mailgate_gateway")
    assert "preference" in problem.hint


def test_no_domains():
    groups = {name: small()[name] for name in ("all", "gateways", "borders", "dns")}
    assert only_problem(groups).variable == "mailgate_domains"


def test_an_empty_inventory():
    assert {problem.variable for problem in problems_of({})} == {"mailgate_gateway", "mailgate_domains"}


def test_a_hub_that_follows_another_hub():
    groups = small()
    groups["science"]["mail.sci.univ.example"]["mailgate_hub"] = "mail.eng.univ.example"
    problem = only_problem(groups)
    assert problem.host == "mail.sci.univ.example"
    assert "names 'mail.eng.univ.example' as its hub" in problem.message


def test_a_short_host_name_can_not_stand_in_an_mx_line():
    groups = small()
    groups["science"]["bio"] = groups["science"].pop("bio.sci.univ.example")
    problem = only_problem(groups)
    assert (problem.host, problem.variable) == ("bio", "inventory_hostname")
    assert "no dot" in problem.message


def test_a_dns_server_without_zones():
    problems = problems_of(changed(NS1, mailgate_dns={"named_conf": "/etc/bind/named.conf"}))
    assert "has no zones" in problems[0].message
    assert all("is not in a zone" in problem.message for problem in problems[1:])
    assert len(problems) == 8


def test_a_campus_setting_that_differs_between_faculties():
    groups = small()
    groups["science"][None]["mailgate_language"] = "ja"
    problems = problems_of(groups)
    assert {problem.host for problem in problems} == {"mail.sci.univ.example", "bio.sci.univ.example"}
    assert {problem.variable for problem in problems} == {"mailgate_language"}


def test_a_template_that_fails():
    problem = only_problem(changed(MECH, mailgate_domains=Unreadable("'tld' is undefined")))
    assert problem.host == "mech.eng.univ.example"
    assert "'tld' is undefined" in problem.message


def test_two_groups_that_could_be_the_faculty():
    groups = small()
    groups["debian"] = {"mech.eng.univ.example": {}, "gw1.univ.example": {}}
    problem = only_problem(groups)
    assert (problem.host, problem.variable) == ("mech.eng.univ.example", "mailgate_faculty")
    assert "debian, engineering" in problem.message
    groups["engineering"][None]["mailgate_faculty"] = "eng"
    assert plan_of(groups)["hosts"]["mech.eng.univ.example"]["faculty"] == "eng"


def five_problems():
    """Those that the collection promises to find in one run."""
    groups = small()
    del groups["gateways"]
    groups["engineering"]["civil.eng.univ.example"]["mailgate_domains"].append("mech.eng.univ.example")
    del groups["science"]["bio.sci.univ.example"]["ansible_host"]
    groups["science"]["mail.sci.univ.example"]["mailgate_domains"].append("-x.sci.univ.example")
    groups["research"]["quake.univ.example"]["mailgate_permit"]["until"] = datetime.date(2026, 3, 31)
    return groups


def test_all_problems_at_once():
    found = {(problem.host, problem.variable) for problem in problems_of(five_problems())}
    assert found == {
        ("all", "mailgate_gateway"),
        ("civil.eng.univ.example", "mailgate_domains"),
        ("bio.sci.univ.example", "ansible_host"),
        ("mail.sci.univ.example", "mailgate_domains"),
        ("quake.univ.example", "mailgate_permit"),
    }


def test_the_report_is_a_numbered_list_with_places():
    def locate(facts, values):
        return Place(f"{facts.name}.yml" if facts else "campus.yml", 17)

    with pytest.raises(PlanRefused) as refused:
        make_plan(facts_of(five_problems()), TODAY, locate)
    lines = str(refused.value).splitlines()
    assert lines[0] == "5 problems in the inventory, nothing was changed:"
    assert (
        "  4. all: mailgate_gateway: no host is a gateway (campus.yml:17). "
        "Set mailgate_gateway: {preference: 0} on one host" in lines
    )
    assert lines[5] == (
        "  5. civil.eng.univ.example: mailgate_domains: 'mech.eng.univ.example' is also claimed by "
        "mech.eng.univ.example, mech.eng.univ.example.yml:17 (civil.eng.univ.example.yml:17). Remove it from one of "
        "them, or move it to the second one's mailgate_backup_domains"
    )


def test_warnings_are_reported_with_the_problems():
    groups = five_problems()
    groups["science"]["mail.sci.univ.example"]["mailgate_domains"].append("pc.lab.mech.eng.univ.example")
    with pytest.raises(PlanRefused) as refused:
        make_plan(facts_of(groups), TODAY)
    (warning,) = refused.value.warnings
    assert "'*.lab.mech.eng.univ.example' overlaps 'pc.lab.mech.eng.univ.example' of mail.sci.univ.example" in warning
    assert str(refused.value).splitlines()[-1] == f"  Warning: {warning}"
    assert len(refused.value.problems) == 5


def test_the_invalid_value_is_located_first():
    asked = []

    def locate(facts, values):
        asked.append((facts.name, list(values)))
        return Place()

    domains = ["mech.eng.univ.example", "bad_.univ.example"]
    with pytest.raises(PlanRefused):
        read_campus(facts_of(changed(MECH, mailgate_domains=domains)), TODAY, locate)
    ((host, values),) = asked
    assert host == "mech.eng.univ.example"
    assert values[:2] == ["bad_.univ.example", domains]


def test_what_one_line_causes_on_many_hosts_is_one_problem():
    one = [Problem(host, "mailgate_hub", "eng.yml", 3, "not a host", "Name one") for host in ("a", "b", "c")]
    assert [problem.host for problem in merge(one)] == ["a and 2 more"]
    apart = [Problem(host, "ansible_host", "eng.ini", 0, "no address", "Set it") for host in ("a", "b")]
    assert merge(apart) == apart


def test_a_campus_without_border_or_dns_is_planned_with_warnings():
    groups = small()
    del groups["borders"], groups["dns"]
    plan = plan_of(groups)
    assert [warning.split(":")[0] for warning in plan["warnings"]] == [
        "no host has mailgate_border",
        "no host has mailgate_dns",
    ]
    assert plan["mx"] == {}
    assert plan["border"] == {}


def test_other_hosts_of_the_inventory_may_be_reached_by_name():
    groups = small()
    groups["printers"] = {"printer": {"ansible_host": "printer.univ.example"}}
    assert plan_of(groups)["hosts"]["printer"] == {
        "kinds": [],
        "address": "",
        "address6": "",
        "faculty": "",
        "hub": "",
        "mail_name": "",
        "delivery": "",
        "mta": "",
        "keep_route": [],
    }


def test_facts_need_no_order_of_groups():
    facts = [HostFacts(f.name, list(reversed(f.groups)), f.variables) for f in facts_of(small())]
    assert make_plan(facts, TODAY) == plan_of(small())
