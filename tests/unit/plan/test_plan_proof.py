# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof says what would happen, and finds the tables that are wrong."""

from __future__ import annotations

import dataclasses

import pytest
from plan_campus import TODAY, campus_of, facts_of, paper, plan_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils import _pipeline as plan_module
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.problems import PlanRefused
from ansible_collections.campus.mailgate.plugins.plugin_utils._plan.routes import MailTable, Static, derive
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.proof import Scenario, Simulation, prove_campus

ALL_UP = Scenario("all_up")
OPEN = Scenario("border_open")
GW1_DOWN = Scenario("gateway_down", "gw1.univ.example")
GW1, GW2 = "gw1.univ.example", "gw2.univ.example"
MAIL_ENG, MECH, CIVIL = "mail.eng.univ.example", "mech.eng.univ.example", "civil.eng.univ.example"
QUAKE = "quake.univ.example"


def cases_of(groups, scenario):
    campus = campus_of(groups)
    return {(case.sender, case.domain): case for case in Simulation(campus, derive(campus)).cases(scenario)}


def fate(groups, scenario, sender, domain):
    case = cases_of(groups, scenario)[sender, domain]
    return case.verdict, case.path


def tiered():
    groups = small()
    groups["all"][None]["mailgate_delivery"] = "tiered"
    return groups


def counts(groups):
    proof = plan_of(groups)["proof"]
    return {
        (each["scenario"], each["host"], sender): {verdict: n for verdict, n in found.items() if n}
        for each in proof["scenarios"]
        for sender, found in each["senders"].items()
    }


def test_scenarios():
    campus = campus_of(small())
    assert list(Simulation(campus, derive(campus)).scenarios()) == [
        ALL_UP,
        GW1_DOWN,
        Scenario("gateway_down", GW2),
        Scenario("hub_down", MAIL_ENG),
        Scenario("hub_down", "mail.sci.univ.example"),
        OPEN,
    ]


def test_mail_by_mx_goes_through_the_first_gateway_that_is_up():
    assert fate(small(), ALL_UP, "mx", MECH) == ("delivered", ("outside", GW1, MECH))
    assert fate(small(), GW1_DOWN, "mx", MECH) == ("delivered", ("outside", GW2, MECH))
    assert fate(tiered(), ALL_UP, "mx", MECH) == ("delivered", ("outside", GW1, MAIL_ENG, MECH))


def test_with_the_only_gateway_down_the_sender_keeps_the_mail():
    groups = small()
    del groups["gateways"][GW2]
    assert fate(groups, GW1_DOWN, "mx", MECH) == ("held", ("outside",))
    # A permitted server is reached by its own MX record.
    assert fate(groups, GW1_DOWN, "mx", QUAKE) == ("delivered", ("outside", QUAKE))


def test_a_hub_that_is_down_stops_its_faculty_in_tiered_delivery_only():
    down = Scenario("hub_down", MAIL_ENG)
    assert fate(small(), down, "mx", MECH) == ("delivered", ("outside", GW1, MECH))
    assert fate(small(), down, "mx", "eng.univ.example") == ("held", ("outside", GW1))
    assert fate(tiered(), down, "mx", MECH) == ("held", ("outside", GW1))


def test_who_connects_straight():
    assert fate(small(), ALL_UP, "direct", MECH) == ("blocked", ("outside",))
    assert fate(small(), ALL_UP, "direct", QUAKE) == ("delivered", ("outside", QUAKE))
    assert fate(small(), OPEN, "direct", MECH) == ("exposed", ("outside", MECH))
    # Open by its permit, but the hubs would take its mail too.
    assert fate(small(), OPEN, "direct", QUAKE)[0] == "exposed"


def test_counts_of_the_small_campus():
    found = counts(small())
    assert found["all_up", "", "mx"] == {"delivered": 7}
    assert found["all_up", "", "direct"] == {"delivered": 1, "blocked": 6}
    assert found["all_up", "", "relay"] == {"blocked": 7}
    assert found["all_up", "", "inside"] == {"delivered": 8 * 7}
    assert found["gateway_down", GW1, "mx"] == {"delivered": 7}
    assert found["gateway_down", GW1, "inside"] == {"delivered": 7 * 7, "held": 7}
    assert found["border_open", "", "mx"] == {"delivered": 7}
    assert found["border_open", "", "direct"] == {"exposed": 7}


def test_inside_mail_is_held_where_its_way_leads_through_the_hub():
    held = counts(small())["hub_down", MAIL_ENG, "inside"]["held"]
    # The hub's own 7. From mech and civil: the hub's domain and the 3 of other faculties. From quake and the two of
    # science: the 4 of engineering. From each gateway: the hub's domain.
    assert held == 7 + 2 * 4 + 3 * 4 + 2 * 1


def test_a_permitted_hub_opens_its_faculty_and_is_reported():
    groups = small()
    groups["engineering"][MAIL_ENG]["mailgate_permit"] = {"reason": "old list", "owner": "eng", "until": "2099-03-31"}
    plan = plan_of(groups)
    assert not plan["proof"]["ok"]
    assert counts(groups)["all_up", "", "direct"] == {"delivered": 1, "exposed": 6}
    assert plan["proof"]["exposed"][0]["path"] == ["outside", MAIL_ENG, MECH]
    assert plan["warnings"] == [
        "external senders can bypass the gateways for 6 domains, for example *.lab.mech.eng.univ.example: "
        "outside -> mail.eng.univ.example -> mech.eng.univ.example"
    ]


def test_without_a_border_everything_is_exposed_but_planned():
    groups = small()
    del groups["borders"]
    plan = plan_of(groups)
    assert not plan["proof"]["ok"]
    assert counts(groups)["all_up", "", "direct"] == {"exposed": 7}
    assert len(plan["warnings"]) == 1


def test_an_inner_mx_that_the_border_leaves_open_is_exposed_when_the_gateways_are_down():
    groups = small()
    del groups["borders"], groups["gateways"][GW2]
    assert fate(groups, GW1_DOWN, "mx", MECH) == ("exposed", ("outside", MECH))


def test_nobody_relays_for_outsiders():
    for delivery in ("direct", "tiered"):
        groups = small()
        groups["all"][None]["mailgate_delivery"] = delivery
        for (_scenario, _host, sender), found in counts(groups).items():
            if sender == "relay":
                assert found == {"blocked": 7}


def broken(groups, **replaced):
    """Return the proof of a campus whose tables were changed by hand."""
    campus = campus_of(groups)
    tables = derive(campus)
    return campus, prove_campus(
        campus, dataclasses.replace(tables, **{k: change(tables) for k, change in replaced.items()})
    )


def with_static(host, domain, next_hop, owner):
    """Return a change of one STATIC line of a host."""

    def change(tables):
        old = tables.sendmail[host]
        lines = (*(line for line in old.static if line.domain != domain), Static(domain, next_hop, owner))
        return {**tables.sendmail, host: dataclasses.replace(old, static=lines)}

    return change


def test_a_loop_between_servers_is_found():
    _campus, proof = broken(tiered(), sendmail=with_static(MAIL_ENG, MECH, "198.18.1.31", CIVIL))
    # civil sends mech's mail home itself, so that is a detour; sending it back to the hub is the loop.
    assert not proof.faults
    campus = campus_of(tiered())
    tables = derive(campus)
    step = dataclasses.replace(tables, sendmail=with_static(MAIL_ENG, MECH, "198.18.1.31", CIVIL)(tables))
    step = dataclasses.replace(step, sendmail=with_static(CIVIL, MECH, "198.18.1.25", MAIL_ENG)(step))
    proof = prove_campus(campus, step)
    assert not proof.ok
    assert {case.verdict for case in proof.faults} == {"loop"}
    assert {case.domain for case in proof.faults} == {MECH}
    by_mx = next(case for case in proof.faults if case.sender == "mx")
    assert by_mx.path == ("outside", GW1, MAIL_ENG, CIVIL, MAIL_ENG)
    assert any(case.sender == "inside" for case in proof.faults)


def test_a_route_back_to_a_gateway_is_a_loop():
    def to_gateway(tables):
        return (dataclasses.replace(tables.routes[0], next_hop="198.18.0.26"), *tables.routes[1:])

    _campus, proof = broken(small(), routes=to_gateway)
    assert {case.verdict for case in proof.faults} == {"loop"}
    assert proof.faults[0].path == ("outside", GW1, GW2)


def test_a_missing_route_and_an_address_of_nobody_lose_mail():
    _campus, proof = broken(small(), routes=lambda tables: tables.routes[1:])
    assert {(case.verdict, case.domain) for case in proof.faults} == {("lost", "*.lab.mech.eng.univ.example")}

    def nobody(tables):
        return (dataclasses.replace(tables.routes[0], next_hop="198.18.77.77"), *tables.routes[1:])

    _campus, proof = broken(small(), routes=nobody)
    assert proof.faults[0].verdict == "lost"
    assert proof.faults[0].path == ("outside", GW1, "198.18.77.77")


def test_mail_that_ends_at_the_wrong_server_is_lost():
    def thief(tables):
        old = tables.sendmail[MAIL_ENG]
        lines = tuple(line for line in old.static if line.domain != MECH)
        return {**tables.sendmail, MAIL_ENG: MailTable((*old.local, MECH), old.relay, lines)}

    _campus, proof = broken(tiered(), sendmail=thief)
    assert {(case.verdict, case.domain) for case in proof.faults} == {("lost", MECH)}


def test_an_open_relay_behind_an_open_border_is_found():
    def relays_all(tables):
        old = tables.sendmail[QUAKE]
        return {**tables.sendmail, QUAKE: dataclasses.replace(old, relay=("*.invalid",))}

    _campus, proof = broken(small(), sendmail=relays_all)
    assert proof.counts[ALL_UP]["relay"] == {"exposed": 7}
    assert not proof.ok


def test_a_plan_with_faults_is_refused(monkeypatch):
    def derive_wrongly(campus):
        tables = derive(campus)
        return dataclasses.replace(tables, routes=tables.routes[1:])

    monkeypatch.setattr(plan_module, "derive", derive_wrongly)
    with pytest.raises(PlanRefused) as refused:
        plan_module.make_plan(facts_of(small()), TODAY)
    assert (
        "mech.eng.univ.example: mailgate_domains: no route to the final server for '*.lab.mech.eng.univ.example'"
        in str(refused.value)
    )


def test_a_wildcard_is_tried_by_a_name_that_nothing_else_claims():
    groups = small()
    groups["engineering"][CIVIL]["mailgate_domains"] += ["host0.lab.mech.eng.univ.example"]
    assert fate(groups, ALL_UP, "mx", "*.lab.mech.eng.univ.example")[1][-1] == MECH
    assert fate(groups, ALL_UP, "mx", "host0.lab.mech.eng.univ.example")[1][-1] == CIVIL


@pytest.mark.parametrize("delivery", ["direct", "tiered"])
def test_the_paper_s_argument(delivery):
    """A dead hub stops a faculty in tiered delivery, itself only in direct; a dead gateway stops nobody."""
    found = counts(paper(delivery))
    assert found["gateway_down", GW1, "mx"] == {"delivered": 168}
    stopped = found["hub_down", "mail.f17.univ.example", "mx"]["held"]
    assert stopped == (1 if delivery == "direct" else 7)
    assert found["all_up", "", "direct"]["blocked"] + found["all_up", "", "direct"]["delivered"] == 168
    assert found["border_open", "", "direct"] == {"exposed": 168}
