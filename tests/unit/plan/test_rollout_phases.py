# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a run, and the part of the plan that concerns a faculty."""

from __future__ import annotations

import pytest
from plan_campus import plan_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.phases import (
    PHASES,
    SelectionRefused,
    addresses_of,
    faculties_of,
    narrow,
    select,
    select_back,
    servers_of,
)

BORDER = "border.univ.example"
ENG = {"eng.univ.example", "mech.eng.univ.example", "*.lab.mech.eng.univ.example", "civil.eng.univ.example"}


@pytest.fixture(scope="module")
def plan():
    return plan_of(small())


def test_all_phases_one_phase_or_up_to_one(plan):
    assert select(plan, "", "", "").phases == PHASES
    assert select(plan, "mx", "", "").phases == ("mx",)
    assert select(plan, "", "gateways", "").phases == ("survey", "routes", "gateways")
    assert select(plan, "", "", "science, engineering,science").faculties == ("science", "engineering")


def test_all_problems_of_the_variables_at_once(plan):
    with pytest.raises(SelectionRefused) as refused:
        select(plan, "dns", "all", "eng,sci")
    assert str(refused.value).splitlines() == [
        "phase: 'dns' is not a phase. Use one of survey, routes, gateways, ttl, mx, observe, block",
        "to: 'all' is not a phase. Use one of survey, routes, gateways, ttl, mx, observe, block",
        "faculty: 'eng' and 'sci' are not faculties with a mail domain in the inventory. "
        "Known: engineering, research, science",
        "phase and to are both set. Set phase to run one phase, or to to run all phases up to it",
    ]


def test_external_zones_cannot_be_changed_for_one_faculty():
    groups = small()
    groups["all"][None]["mailgate_method"] = "split"
    split = plan_of(groups)
    with pytest.raises(SelectionRefused, match="external zones of split DNS are written as a whole"):
        select(split, "mx", "", "science")
    assert select(split, "routes", "", "science").faculties == ("science",)
    assert "mx" in select(split, "", "", "").phases


def test_phases_are_taken_back_in_reverse_order(plan):
    assert select_back(plan, "mx", "").phases == ("block", "observe")
    assert select_back(plan, "survey", "").phases == tuple(reversed(PHASES[1:]))
    assert select_back(plan, "gateways", "science").faculties == ("science",)


@pytest.mark.parametrize(
    ("to", "faculty", "problem"),
    [
        ("", "", "to is not set"),
        ("block", "", "'block' is not a phase. Use one of observe, mx, ttl, gateways, routes, survey"),
        ("routes", "science", "the gateways and their routes serve all faculties"),
    ],
)
def test_problems_of_a_run_back(plan, to, faculty, problem):
    with pytest.raises(SelectionRefused, match=problem):
        select_back(plan, to, faculty)


def test_a_faculty_keeps_the_other_routes_of_each_host(plan):
    part = narrow(plan, ["engineering"])
    assert part["partial"]
    assert {route["domain"] for route in part["concerned"]} == ENG
    bio, whole = part["sendmail"]["bio.sci.univ.example"], plan["sendmail"]["bio.sci.univ.example"]
    assert bio["local"] == whole["local"] == ["bio.sci.univ.example"]
    assert {line["domain"] for line in bio["static"]} <= ENG
    assert len(whole["static"]) > len(bio["static"]) > 0
    assert part["sendmail"]["gw1.univ.example"] == plan["sendmail"]["gw1.univ.example"]
    owners = {each["owner"] for zone in part["mx"]["ns1.univ.example"] for each in zone["owners"]}
    assert owners == ENG
    assert part["routes"] == plan["routes"]


def test_the_whole_campus_is_no_part(plan):
    assert "partial" not in narrow(plan, [])
    assert narrow(plan, [])["concerned"] == plan["routes"]


def test_servers_with_a_permit_are_not_blocked(plan):
    assert faculties_of(plan) == ["engineering", "research", "science"]
    assert addresses_of(plan, servers_of(plan, "science"), BORDER) == ["198.18.2.25", "198.18.2.30"]
    assert addresses_of(plan, servers_of(plan, "research"), BORDER) == []
