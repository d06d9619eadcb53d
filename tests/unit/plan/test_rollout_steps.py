# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a step rests on, and when it stops."""

from __future__ import annotations

import pytest
from plan_campus import plan_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.steps import (
    Run,
    asked,
    message,
    questions,
    rests_on,
    verify,
)

GW1, GW2, NS1, BORDER = "gw1.univ.example", "gw2.univ.example", "ns1.univ.example", "border.univ.example"
HUBS = ["mail.eng.univ.example", "mail.sci.univ.example"]


def plan(delivery="direct", method="gateway"):
    groups = small()
    groups["all"][None] |= {"mailgate_delivery": delivery, "mailgate_method": method}
    return plan_of(groups)


def finished(plan, *missing, **changes):
    """Return a run of all hosts in which every step is finished and every answer is right, but for `missing`."""
    gateways = [host for host in (GW2, GW1) if host not in missing]
    done = {
        "routes": [host for host in plan["sendmail"] if host not in missing],
        "gateways": gateways,
        "dns": [host for host in plan["mx"] if host not in missing],
    }
    answers = {host: [] for host in (GW1, GW2, NS1, BORDER)} | {host: ["unreachable"] for host in missing}
    return Run(**({"hosts": list(plan["hosts"]), "done": done, "answers": answers} | changes))


@pytest.mark.parametrize("delivery", ["direct", "tiered"])
@pytest.mark.parametrize(("step", "host"), [("gateways", GW2), ("gateways", GW1), ("dns", NS1), ("border", BORDER)])
def test_a_complete_run_goes_on(delivery, step, host):
    campus = plan(delivery)
    verdict = verify(campus, step, host, finished(campus))
    assert (verdict.problems, verdict.warnings) == ([], [])


@pytest.mark.parametrize(
    ("step", "host", "down"),
    [("gateways", GW1, GW2), ("dns", NS1, GW1), ("dns", NS1, GW2), ("border", BORDER, GW1), ("border", BORDER, NS1)],
)
def test_a_host_that_is_down_stops_the_next_step(step, host, down):
    campus = plan()
    (problem,) = verify(campus, step, host, finished(campus, down)).problems
    assert problem.startswith(f"{down}: did not finish the step ")


@pytest.mark.parametrize("hub", HUBS)
def test_a_hub_that_is_down_stops_the_mx_records_in_tiered_delivery_only(hub):
    tiered, direct = plan("tiered"), plan("direct")
    (problem,) = verify(tiered, "dns", NS1, finished(tiered, hub)).problems
    assert problem == f"{hub}: did not finish the step routes in this run"
    verdict = verify(direct, "dns", NS1, finished(direct, hub))
    assert verdict.problems == []
    assert f"did not get their routes in this run: {hub}." in verdict.warnings[0]


def test_a_finished_step_does_not_replace_the_answer():
    campus = plan()
    run = finished(campus, answers={GW1: [], GW2: [], NS1: ["zone eng.univ.example: ..."], BORDER: []})
    assert verify(campus, "border", BORDER, run).problems == [f"{NS1}: zone eng.univ.example: ..."]


def test_hosts_outside_the_run_are_asked_alone():
    campus = plan()
    run = Run(hosts=[BORDER], done={}, answers={GW1: [], GW2: [], NS1: [], BORDER: []})
    assert verify(campus, "border", BORDER, run).problems == []
    run = Run(hosts=[BORDER], done={}, answers={GW1: [], NS1: ["none of them"], BORDER: []})
    assert verify(campus, "border", BORDER, run).problems == [f"{GW2}: was not asked", f"{NS1}: none of them"]


@pytest.mark.parametrize(
    ("tags", "skip_tags", "stops"),
    [
        (["all"], [], True),
        (["dns"], [], False),
        (["gateways", "dns"], [], True),
        (["all"], ["gateways"], False),
        (["tagged"], [], True),
        (["untagged"], [], False),
    ],
)
def test_a_step_that_the_tags_exclude_is_asked_alone(tags, skip_tags, stops):
    campus = plan()
    done = {"routes": [*campus["sendmail"]], "gateways": [GW2]}
    run = finished(campus, done=done, tags=tags, skip_tags=skip_tags)
    assert bool(verify(campus, "dns", NS1, run).problems) == stops


def test_external_zones_need_the_step_dns_in_the_same_run():
    campus = plan(method="split")
    run = Run(hosts=[BORDER], done={}, answers={GW1: [], GW2: [], NS1: [], BORDER: []})
    (problem,) = verify(campus, "border", BORDER, run).problems
    assert problem == f"{NS1}: its external zones can only be verified by the step dns in the same run"
    assert verify(campus, "border", BORDER, finished(campus)).problems == []


def test_an_accepted_host_is_a_warning():
    campus = plan()
    verdict = verify(campus, "border", BORDER, finished(campus, NS1, accepted=[NS1]))
    assert (verdict.problems, len(verdict.warnings)) == ([], 1)


def test_the_message_lists_hosts_risk_and_ways_on():
    text = message("border", ["ns1: unreachable", "gw1: unreachable"])
    assert text.startswith(
        "Step border stopped, the border is unchanged: 2 hosts that it rests on are not ready.\n  1. ns1"
    )
    assert "could not deliver mail" in text
    assert "mailgate_site_accept" in text


def test_every_host_that_must_answer_is_asked():
    campus = plan("tiered")
    assert asked(campus, "dns", NS1) == [GW1, GW2, BORDER]
    assert asked(campus, "border", BORDER) == [GW1, GW2, NS1, BORDER]
    assert asked(campus, "gateways", GW1) == []
    assert list(rests_on(campus, "border", BORDER)) == [GW1, GW2, *HUBS, NS1]


def test_a_gateway_is_asked_for_all_domains_and_the_hubs_for_those_behind_them():
    smtp = questions(plan("tiered"), GW1)["smtp"]
    assert [(server["host"], server["verifies"]) for server in smtp] == [(GW1, True)] + [(hub, False) for hub in HUBS]
    assert len(smtp[0]["domains"]) == 7
    assert "*.lab.mech.eng.univ.example" in smtp[1]["domains"]
    assert "eng.univ.example" not in smtp[1]["domains"]
    assert [server["host"] for server in questions(plan("direct"), GW1)["smtp"]] == [GW1]


def test_a_dns_server_is_asked_for_its_planned_records():
    asked_for = questions(plan(), NS1)
    assert asked_for["smtp"] == []
    names = {owner["owner"]: owner["allowed"] for zone in asked_for["zones"] for owner in zone["owners"]}
    assert names["mech.eng.univ.example"] == [
        ["0 gw1.univ.example", "10 gw2.univ.example", "20 mech.eng.univ.example"],
    ]
    split = questions(plan(method="split"), NS1)["zones"]
    assert {len(owner["allowed"]) for zone in split for owner in zone["owners"]} == {2}


def test_a_router_is_asked_for_the_ways_to_the_gateways():
    campus = plan()
    border = questions(campus, BORDER)["border"]
    assert border["outside_interfaces"] == list(campus["border"][BORDER]["outside_interfaces"])
    assert border["gateways"] == list(campus["border"][BORDER]["gateways"])
    assert questions(campus, GW1)["border"] is None


def test_a_router_that_blocks_the_gateways_stops_the_mx_records_and_the_border():
    campus = plan()
    for step, host in (("dns", NS1), ("border", BORDER)):
        run = finished(campus, answers={GW1: [], GW2: [], NS1: [], BORDER: ["its own rules block mail"]})
        assert verify(campus, step, host, run).problems == [f"{BORDER}: its own rules block mail"]
        accepted = finished(campus, answers=run.answers, accepted=[BORDER])
        assert verify(campus, step, host, accepted).problems == []


def test_rules_that_are_not_understood_are_a_warning():
    campus = plan()
    verdict = verify(campus, "dns", NS1, finished(campus, notes={BORDER: ["cannot determine"]}))
    assert (verdict.problems, verdict.warnings) == ([], [f"{BORDER}: cannot determine"])
