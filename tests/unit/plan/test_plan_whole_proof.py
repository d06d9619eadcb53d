# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole proof, case by case, agrees with its summary."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from plan_campus import TODAY, campus_of, facts_of, paper, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import plan_campus
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.proof import SENDERS, whole_proof

GW1, MAIL_ENG, MECH = "gw1.univ.example", "mail.eng.univ.example", "mech.eng.univ.example"


def whole(plan):
    return json.loads("".join(whole_proof(plan.simulation)))


def test_it_says_of_which_plan_it_is():
    document = whole(plan_campus(facts_of(small()), TODAY))
    assert {key: document[key] for key in document if key != "cases"} == {
        "campus": "Small University",
        "method": "gateway",
        "delivery": "direct",
    }


@pytest.mark.parametrize("delivery", ["direct", "tiered"])
def test_it_has_each_domain_in_each_scenario_for_each_sender_once_and_adds_up(delivery):
    plan = plan_campus(facts_of(paper(delivery)), TODAY)
    cases = whole(plan)["cases"]
    keys = Counter((case["scenario"], case["host"], case["sender"], case["domain"]) for case in cases)
    assert set(keys.values()) == {1}
    assert len(cases) == 168 * len(plan.proof.counts) * len(SENDERS)
    found = {(scenario, sender): Counter() for scenario in plan.proof.counts for sender in SENDERS}
    scenarios = {(scenario.kind, scenario.host): scenario for scenario in plan.proof.counts}
    for case in cases:
        count = found[scenarios[case["scenario"], case["host"]], case["sender"]]
        count.update(case.get("starts", {case["verdict"]: 1}))
    for scenario, senders in plan.proof.counts.items():
        for sender in SENDERS:
            assert +found[scenario, sender] == +senders[sender]


def test_paths_go_hop_by_hop():
    groups = small()
    groups["all"][None]["mailgate_delivery"] = "tiered"
    cases = {
        (case["scenario"], case["host"], case["sender"], case["domain"]): case
        for case in whole(plan_campus(facts_of(groups), TODAY))["cases"]
    }
    assert cases["all_up", "", "mx", MECH]["path"] == ["outside", GW1, MAIL_ENG, MECH]
    assert cases["hub_down", MAIL_ENG, "mx", MECH]["path"] == ["outside", GW1]
    assert (
        cases["all_up", "", "direct", MECH] | {"verdict": "blocked", "path": ["outside"]}
        == cases["all_up", "", "direct", MECH]
    )
    inside = cases["hub_down", MAIL_ENG, "inside", MECH]
    # Civil knows mech itself; the gateways (tiered) and the other faculties go by the hub, and the hub is down.
    assert inside["starts"] == {"delivered": 2, "held": 6}
    assert inside["verdict"] == "held"
    assert inside["path"] == [GW1]


def test_the_document_is_made_in_pieces():
    plan = plan_campus(facts_of(small()), TODAY)
    pieces = list(whole_proof(plan.simulation))
    assert len(pieces) == 2 + 7 * len(plan.proof.counts) * len(SENDERS)
    assert campus_of(small()) == plan.campus
