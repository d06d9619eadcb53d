# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a rollout from facts of the hosts, and whether a phase may begin."""

from __future__ import annotations

import copy

import pytest
from plan_campus import plan_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._report import rollout as report
from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.ask import arguments
from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.facts import Facts, Settings
from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.gate import border, missing, next_step, refusal
from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.phases import PHASES, narrow
from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.state import faculty_state, states

GW1, GW2, NS1, BORDER = "gw1.univ.example", "gw2.univ.example", "ns1.univ.example", "border.univ.example"
HUB, MECH = "mail.eng.univ.example", "mech.eng.univ.example"
NOW = 1_000_000
QUIET = 3600


@pytest.fixture(scope="module")
def plan():
    return plan_of(small())


def everything(plan):
    """Return what is read on each host of a campus that has the whole plan."""
    found = {}
    for host, values in plan["hosts"].items():
        facts = {"time": NOW}
        if table := plan["sendmail"].get(host):
            routes = {line["domain"]: line.get("next_hops") or [line["next_hop"]] for line in table["static"]}
            facts["mail"] = {
                "kind": "sendmail",
                "problems": [],
                "written": True,
                "local": table["local"],
                "relay": [domain.removeprefix("*.") for domain in table["relay"]],
                "routes": routes,
            }
        if "gateways" in values["kinds"]:
            routes = {route["domain"]: route["next_hops"] for route in plan["routes"]}
            facts["gateway"] = {"written": True, "active": True, "routes": routes}
            facts["smtp"] = [
                {
                    "host": each["host"],
                    "answers": {domain: {"outcome": "routed", "text": "250 ok"} for domain in each["domains"]},
                }
                for each in arguments(plan, host)["smtp"]
            ]
        if host in plan["mx"]:
            facts["zones"] = [
                {
                    "zone": zone["zone"],
                    "serial": 7,
                    "owners": [
                        {"owner": each["owner"], "state": "planned", "mx": ["0 gw1"], "ttl": 300, "until": 0}
                        for each in zone["owners"]
                    ],
                    "others": [{"server": "ns2.univ.example", "address": "198.18.0.54", "serial": 7, "equal": True}],
                }
                for zone in plan["mx"][host]
            ]
        if host in plan["border"]:
            facts["border"] = border_facts(plan, "blocked", refuses=True)
        found[host] = {"host": host, "facts": facts, "reason": ""}
    return copy.deepcopy(found)


def border_facts(plan, fate, *, refuses, quiet=2 * QUIET, packets=0):
    addresses = arguments(plan, BORDER)["servers"]
    counters = [{"address": a, "refuses": refuses, "packets": packets, "quiet": quiet} for a in addresses]
    return {"fates": dict.fromkeys(addresses, fate), "counters": counters, "sources": []}


def state(plan, found, faculty="engineering", **settings):
    facts = Facts(found.values(), Settings(**({"quiet": QUIET} | settings)))
    return faculty_state(plan, facts, faculty)


def cells(faculty):
    return [faculty.phases[phase].state for phase in PHASES]


def required(plan, faculty, phase, *, skip_wait=False):
    return missing(plan, [faculty], phase, NOW, skip_wait=skip_wait)


def owners(found):
    return [owner for zone in found[NS1]["facts"]["zones"] for owner in zone["owners"]]


def test_a_complete_campus(plan):
    found = state(plan, everything(plan))
    assert cells(found) == ["done"] * 7
    assert not found.drift
    assert found.next == ""
    assert next_step(found, NOW) == "nothing: all phases are complete"
    assert all(required(plan, found, phase) == {} for phase in PHASES)


def test_a_campus_without_anything(plan):
    found = everything(plan)
    for answer in found.values():
        facts = answer["facts"]
        if "mail" in facts:
            facts["mail"] = {"kind": "sendmail", "problems": [], "written": False}
        if "gateway" in facts:
            facts["gateway"] = {"written": False, "active": False, "routes": {}}
    for owner in owners(found):
        owner |= {"state": "former", "ttl": 86400, "mx": ["0 mail"]}
    found[BORDER]["facts"]["border"] = {"fates": {}, "counters": [], "sources": []}
    campus = state(plan, found)
    assert cells(campus) == ["done", *["not"] * 6]
    assert not campus.drift
    assert next_step(campus, NOW) == "rollout -e phase=routes -e faculty=engineering"
    text = refusal("mx", ["engineering"], required(plan, campus, "mx"))
    assert text.startswith(
        "Phase mx was not started for engineering, nothing was changed by it: routes is missing on gw"
    )
    assert "gateways is missing on gw1.univ.example (the service is not installed), gw2.univ.example" in text
    assert text.endswith("Run phase routes first.")
    assert "\n" not in text


def test_a_server_without_its_routes_stops_nothing_but_a_hub_does(plan):
    found = everything(plan)
    del found[MECH]["facts"]["mail"]["routes"]["eng.univ.example"]
    campus = state(plan, found)
    assert campus.phases["routes"].state == "partly"
    assert campus.phases["routes"].missing == {MECH: "has no or another route to eng.univ.example"}
    assert required(plan, campus, "mx") == {}
    assert campus.drift == (f"{MECH}: has no or another route to eng.univ.example, although the border blocks",)
    groups = small()
    groups["all"][None]["mailgate_delivery"] = "tiered"
    tiered = plan_of(groups)
    found = everything(tiered)
    found[HUB] = {"host": HUB, "facts": {}, "reason": "unreachable: timed out"}
    assert required(tiered, state(tiered, found), "mx") == {"routes": [f"{HUB} (not known: unreachable: timed out)"]}


def test_a_local_domain_and_a_relay_that_are_missing(plan):
    found = everything(plan)
    found[MECH]["facts"]["mail"] |= {"local": ["mech.eng.univ.example"], "relay": []}
    assert "*.lab.mech.eng.univ.example as its own" in state(plan, found).phases["routes"].missing[MECH]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda facts: facts["gateway"].update(active=False), "the service does not run"),
        (lambda facts: facts["gateway"]["routes"].pop("eng.univ.example"), "no or another route to eng.univ.example"),
        (
            lambda facts: facts["smtp"][0]["answers"].update(
                {"eng.univ.example": {"outcome": "refused", "text": "550 5.7.1 Relaying denied"}}
            ),
            "does not accept mail for eng.univ.example: 550 5.7.1 Relaying denied",
        ),
        (
            lambda facts: facts["smtp"][0].update(
                answers={"sci.univ.example": {"outcome": "silent", "text": "Connection refused"}}
            ),
            "does not accept mail for sci.univ.example: Connection refused",
        ),
        (
            lambda facts: facts["smtp"][0].update(
                answers={d: {"outcome": "later", "text": "450 later"} for d in facts["smtp"][0]["answers"]}
            ),
            "it can verify no recipient at present: 450 later",
        ),
    ],
)
def test_a_gateway_that_is_not_ready_stops_mx_and_block(plan, change, reason):
    found = everything(plan)
    change(found[GW2]["facts"])
    campus = state(plan, found)
    assert reason in campus.phases["gateways"].missing[GW2]
    assert all("gateways" in required(plan, campus, phase) for phase in ("mx", "block"))
    assert state(plan, found, accepted=[GW2]).phases["gateways"].complete


def test_a_refusal_of_another_facultys_domain_does_not_matter(plan):
    found = everything(plan)
    found[GW1]["facts"]["smtp"][0]["answers"]["sci.univ.example"] = {"outcome": "refused", "text": "550 5.7.1 no"}
    assert state(plan, found).phases["gateways"].complete
    assert not state(plan, found, "science").phases["gateways"].complete


def test_caches_must_not_have_the_previous_ttl(plan):
    found = everything(plan)
    for owner in owners(found):
        owner |= {"state": "former", "ttl": 300, "until": NOW + 100}
    campus = state(plan, found)
    assert campus.phases["ttl"].until == NOW + 100
    assert "with the previous TTL until 1970-01-12 13:48:20 UTC" in required(plan, campus, "mx")["ttl"][0]
    assert (
        next_step(campus, NOW) == "wait until 1970-01-12 13:48:20 UTC, then rollout -e phase=mx -e faculty=engineering"
    )
    assert required(plan, campus, "mx", skip_wait=True) == {}
    assert "skip_wait=true does not wait" in refusal("mx", (), required(plan, campus, "mx"))
    for owner in owners(found):
        owner["until"] = NOW
    assert required(plan, state(plan, found), "mx") == {}
    assert "more than 60 seconds" in required(plan, state(plan, found, lowered_ttl=60), "mx")["ttl"][0]


def test_the_border_waits_for_all_servers_of_a_zone_and_for_caches(plan):
    found = everything(plan)
    for owner in owners(found):
        owner["until"] = NOW + 100
    assert "until 1970-01-12" in required(plan, state(plan, found), "block")["mx"][0]
    assert required(plan, state(plan, found), "block", skip_wait=True) == {}
    assert required(plan, state(plan, found), "observe") == {}
    for zone in found[NS1]["facts"]["zones"]:
        zone["others"][0] |= {"serial": 6, "equal": False}
    lines = required(plan, state(plan, found), "block", skip_wait=True)["mx"]
    assert lines == ["ns2.univ.example (serves zone eng.univ.example with serial 6; ns1.univ.example has 7)"]
    for zone in found[NS1]["facts"]["zones"]:
        zone["others"][0] |= {"serial": None}
    lines = required(plan, state(plan, found), "block", skip_wait=True)["mx"]
    assert lines == ["ns2.univ.example (does not answer for zone eng.univ.example, at 198.18.0.54)"]
    assert required(plan, state(plan, found, accepted=["ns2.univ.example"]), "block", skip_wait=True) == {}


def test_an_unreachable_dns_server_stops_the_border(plan):
    found = everything(plan)
    found[NS1] = {"host": NS1, "facts": {}, "reason": "unreachable: timed out"}
    campus = state(plan, found)
    assert campus.phases["mx"].state == "not known"
    assert required(plan, campus, "block")["mx"] == [f"{NS1} (not known: unreachable: timed out)"]
    del found[NS1]
    assert required(plan, state(plan, found), "block")["mx"] == [f"{NS1} (not known: it was not asked)"]


def test_records_of_the_gateways_that_are_not_the_planned_ones_are_drift(plan):
    found = everything(plan)
    owner = next(each for each in owners(found) if each["owner"] == "eng.univ.example")
    owner |= {"state": "other", "mx": ["5 gw1.univ.example"]}
    assert f"{NS1}: eng.univ.example has MX 5 gw1.univ.example, neither" in state(plan, found).drift[0]


def test_direct_connections_stop_the_border(plan):
    found = everything(plan)
    facts = border_facts(plan, "accepted", refuses=False, quiet=60, packets=3)
    facts["sources"] = [{"source": "198.19.0.9", "server": "198.18.1.25", "logged": 2, "last": NOW - 60}]
    found[BORDER]["facts"]["border"] = facts
    line = required(plan, state(plan, found), "block")["observe"][0]
    assert line.startswith(
        "border.univ.example (not quiet for 3600 s: mail.eng.univ.example: 3 direct connections from 198.19.0.9 (2 "
        "logged), quiet for 60 s"
    )
    assert required(plan, state(plan, found), "block", skip_wait=True) == {}
    assert required(plan, state(plan, found, quiet=60), "block") == {}
    facts["counters"] = []
    assert "does not count connections to" in required(plan, state(plan, found), "block")["observe"][0]


def test_the_servers_that_a_router_blocks(plan):
    def of(border_now, faculties, phase):
        facts = Facts([{"host": BORDER, "facts": {"time": NOW, "border": border_now}}], Settings())
        found = border(plan, facts, BORDER, faculties, phase)
        return found["mode"], sorted(each["address"] for each in found["servers"] if each["mode"] == "enforce")

    science = ["198.18.2.25", "198.18.2.30"]
    nothing = {"fates": {}, "counters": [], "sources": []}
    some = {**nothing, "counters": [{"address": science[0], "refuses": True, "packets": 0, "quiet": 0}]}
    all_of_it = {**nothing, "counters": [{"address": "198.18.0.0/16", "refuses": True, "packets": 0, "quiet": 0}]}
    assert of(nothing, [], "observe") == ("observe", [])
    assert of(nothing, ["science"], "block") == ("observe", science)
    assert of(some, ["engineering"], "observe") == ("observe", science[:1])
    assert of(some, ["engineering"], "block")[1] == ["198.18.1.25", "198.18.1.30", "198.18.1.31", science[0]]
    assert of(all_of_it, ["science"], "observe") == ("enforce", [])
    assert of(all_of_it, ["science"], "block") == ("enforce", [])
    assert of(nothing, [], "block") == ("enforce", [])
    assert of(all_of_it, ["science"], "open")[1] == ["198.18.1.25", "198.18.1.30", "198.18.1.31"]
    assert of(all_of_it, [], "open") == ("observe", [])


def test_the_table_and_the_json(plan):
    found = everything(plan)
    found[GW2]["facts"]["gateway"]["active"] = False
    found["civil.eng.univ.example"] = {"host": "civil.eng.univ.example", "facts": {}, "reason": "unreachable: no route"}
    facts = Facts(found.values(), Settings(quiet=QUIET))
    campus = states(plan, facts)
    text = report.text(campus, facts)
    assert "  engineering  not known  not known  partly    done  done  done           done" in text
    assert "  engineering, gateways: gw2.univ.example (the service does not run)" in text
    assert "  civil.eng.univ.example: unreachable: no route" in text
    assert "gw2.univ.example: the service does not run, although the border blocks" in text
    data = report.as_dict(campus, facts)
    assert data["faculties"][0]["phases"]["gateways"]["missing"] == {GW2: "the service does not run"}


def test_only_the_domains_of_the_faculty_are_asked(plan):
    asked = arguments(narrow(plan, ["science"]), GW1)
    assert asked["smtp"][0]["domains"] == ["bio.sci.univ.example", "sci.univ.example"]
    assert arguments(narrow(plan, ["science"]), NS1)["zones"][0]["zone"] == "univ.example"
    assert arguments(plan, BORDER)["outside_interfaces"] == ["outside0"]
    assert arguments(plan, MECH) == {"functions": ["mail"], "mail": ""}
