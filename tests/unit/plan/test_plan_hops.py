# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up campuses: what the plan says is delivered arrives, as a second, plain simulation of the tables sees it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from plan_campus import SMALL, best, plan_of


@st.composite
def campuses(draw):
    """A campus of up to 4 faculties, with or without hubs, overlapping wildcards, 1 to 3 gateways, some permits."""
    gateways = {
        f"gw{n}.univ.example": {"ansible_host": f"198.18.0.{n + 20}", "mailgate_gateway": {"preference": preference}}
        for n, preference in enumerate(draw(st.lists(st.integers(0, 30), min_size=1, max_size=3)))
    }
    groups = {
        "all": {None: {**SMALL["all"][None], "mailgate_delivery": draw(st.sampled_from(["direct", "tiered"]))}},
        "gateways": gateways,
        "dns": {"ns1.univ.example": {"ansible_host": "198.18.0.53", "mailgate_dns": {"zones": ["univ.example"]}}},
    }
    if draw(st.booleans()):
        groups["borders"] = SMALL["borders"]
    pool = [f"{w}{x}{y}.univ.example" for w in ("", "*.", "a.", "*.a.") for x in ("b.", "c.b.", "") for y in "de"]
    pool = draw(st.permutations(pool))
    hubs = []
    for faculty in range(draw(st.integers(1, 4))):
        members = {}
        names = [f"s{n}.f{faculty}.univ.example" for n in range(draw(st.integers(1, 4)))]
        for n, name in enumerate(names):
            count = draw(st.integers(0 if faculty or n else 1, 3))
            members[name] = {"ansible_host": f"198.18.{faculty + 1}.{n + 1}", "mailgate_domains": pool[:count]}
            del pool[:count]
            if draw(st.integers(0, 5)) == 0:
                members[name]["mailgate_permit"] = {"reason": "r", "owner": "o", "until": "2029-03-31"}
        hub = draw(st.sampled_from([None, names[0], *hubs]))
        if hub:
            members[None] = {"mailgate_hub": hub}
            hubs.append(hub)
        groups[f"faculty{faculty}"] = members
    return groups


def simulate(plan, name, start, down=()):
    """Follow one message from a host's tables to the next; return the hosts it was on, and whether it arrived."""
    owners = {host["address"]: inventory_name for inventory_name, host in plan["hosts"].items()}
    gateways = [gateway["host"] for gateway in plan["gateways"]]
    path = [start]
    while len(path) < 50:
        here = path[-1]
        table = plan["sendmail"][here]
        if here in gateways and len(path) == 1:
            ways = {route["domain"]: route["next_hops"][0] for route in plan["routes"]}
        else:
            ways = dict.fromkeys(table["local"], "here") | {s["domain"]: s["next_hop"] for s in table["static"]}
        way = best(name, ways)
        if way == "here":
            return path, True
        if way is None or owners[way] in down:
            return path, False
        path.append(owners[way])
    raise AssertionError(f"{name} goes round and round: {path}")


def mail_names(plan):
    """A name for each planned domain, with the server that must get it."""
    homes = {route["domain"]: route["home"] for route in plan["routes"]}
    for domain in homes:
        name = domain.replace("*", "any")
        yield name, best(name, homes)


@settings(max_examples=150, deadline=None)
@given(campuses())
def test_every_domain_arrives_from_every_host(groups):
    plan = plan_of(groups)
    for name, home in mail_names(plan):
        for start in plan["sendmail"]:
            path, arrived = simulate(plan, name, start)
            assert arrived
            assert path[-1] == home
            assert len(path) <= 4


@settings(max_examples=150, deadline=None)
@given(campuses())
def test_what_the_proof_counts_as_delivered_by_mx_is_delivered(groups):
    plan = plan_of(groups)
    permitted = {host for members in groups.values() for host, own in members.items() if "mailgate_permit" in own}
    for scenario in plan["proof"]["scenarios"]:
        down = {scenario["host"]}
        closed = "borders" in groups and scenario["scenario"] != "border_open"
        expected = scenario["senders"]["mx"]
        seen = dict.fromkeys(expected, 0)
        for name, home in mail_names(plan):
            # The sender's queue: each MX in turn. All made-up hosts are named as their MX lines name them.
            exchanges = [(gateway["preference"], gateway["host"]) for gateway in plan["gateways"]] + [(99, home)]
            verdict = "held"
            for _preference, host in sorted(exchanges):
                if host in down or (host == home and closed and host not in permitted):
                    continue
                _path, arrived = simulate(plan, name, host, down)
                inner = host == home and host not in permitted
                verdict = ("exposed" if inner else "delivered") if arrived else "held"
                break
            seen[verdict] += 1
        assert seen == expected


@settings(max_examples=150, deadline=None)
@given(campuses())
def test_what_the_proof_counts_from_inside_is_what_arrives(groups):
    plan = plan_of(groups)
    for scenario in plan["proof"]["scenarios"]:
        down = {scenario["host"]}
        seen = {"delivered": 0, "held": 0}
        for name, _home in mail_names(plan):
            for start in plan["sendmail"]:
                # A gateway's own mail starts in its queue, which has the same lines as its delivery table.
                arrived = start not in down and simulate(plan, name, start, down)[1]
                seen["delivered" if arrived else "held"] += 1
        inside = scenario["senders"]["inside"]
        assert {verdict: inside[verdict] for verdict in seen} == seen
