# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up campuses: what the plan says is delivered arrives, as a second, plain simulation of the tables sees it."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
from plan_campus import SMALL, best, campus_of, plan_of

from ansible_collections.campus.mailgate.plugins.plugin_utils._plan.routes import MailTable, derive
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.proof import prove_campus


@st.composite
def campuses(draw):
    """Return a campus of up to 4 faculties, with or without hubs, overlapping wildcards, 1 to 3 gateways, any method.

    Some servers have a permit, some back up others, some domains keep their MX; faculties differ in their delivery. In
    some campuses gateways and hubs have both address families, and other servers one of them or both.
    """
    both = draw(st.booleans())
    gateways = {
        f"gw{n}.univ.example": {
            "ansible_host": f"198.18.0.{n + 20}",
            "mailgate_address6": f"2001:db8:18::{n + 20}" if both else "",
            "mailgate_gateway": {"preference": preference},
        }
        for n, preference in enumerate(draw(st.lists(st.integers(0, 30), min_size=1, max_size=3)))
    }
    groups = {
        "all": {
            None: {
                **SMALL["all"][None],
                "mailgate_delivery": draw(st.sampled_from(["direct", "tiered"])),
                "mailgate_method": draw(st.sampled_from(["gateway", "split", "fallback"])),
            }
        },
        "gateways": gateways,
        "dns": {"ns1.univ.example": {"ansible_host": "198.18.0.53", "mailgate_dns": {"zones": ["univ.example"]}}},
    }
    if draw(st.booleans()):
        groups["borders"] = SMALL["borders"]
    pool = [f"{w}{x}{y}.univ.example" for w in ("", "*.", "a.", "*.a.") for x in ("b.", "c.b.", "") for y in "de"]
    pool = draw(st.permutations(pool))
    hubs = []
    servers = []
    for faculty in range(draw(st.integers(1, 4))):
        members = {}
        names = [f"s{n}.f{faculty}.univ.example" for n in range(draw(st.integers(1, 4)))]
        for n, name in enumerate(names):
            count = draw(st.integers(0 if faculty or n else 1, 3))
            members[name] = {"ansible_host": f"198.18.{faculty + 1}.{n + 1}", "mailgate_domains": pool[:count]}
            del pool[:count]
            if draw(st.integers(0, 5)) == 0:
                members[name]["mailgate_permit"] = {"reason": "r", "owner": "o", "until": "2099-03-31"}
            if members[name]["mailgate_domains"] and ("mailgate_permit" in members[name] or "borders" not in groups):
                members[name]["mailgate_keep_mx"] = draw(st.sampled_from([True, False]))
            servers.append(members[name])
        hub = draw(st.sampled_from([None, names[0], *hubs]))
        if hub:
            members[None] = {"mailgate_hub": hub}
            hubs.append(hub)
        if draw(st.booleans()):
            members.setdefault(None, {})["mailgate_delivery"] = draw(st.sampled_from(["direct", "tiered"]))
        for n, name in enumerate(names):
            families = draw(st.sampled_from(["4", "6", "46"])) if both and hub else "46" if both else "4"
            if "6" in families or name in hubs:
                members[name]["mailgate_address6"] = f"2001:db8:18:{faculty + 1}::{n + 1}"
            if families == "6" and name not in hubs:
                del members[name]["ansible_host"]
        groups[f"faculty{faculty}"] = members
    for server in draw(st.lists(st.sampled_from(servers), max_size=3, unique_by=id)):
        others = [domain for other in servers if other is not server for domain in other["mailgate_domains"]]
        if others:
            server["mailgate_backup_domains"] = draw(st.lists(st.sampled_from(others), min_size=1, unique=True))
    return groups


def owners_of(plan):
    return {
        host[key]: inventory_name
        for inventory_name, host in plan["hosts"].items()
        for key in ("address", "address6")
        if host[key]
    }


def reach(plan, start, hops, down):
    """Return the hosts that a host tries: those that are up and have an address of a family that it has too."""
    own, owners = plan["hosts"][start], owners_of(plan)
    return [owners[hop] for hop in hops if owners[hop] not in down and own["address6" if ":" in hop else "address"]]


def simulate(plan, name, start, down=()):
    """Follow one message from a host's tables to the next; return the hosts it was on, and whether it arrived."""
    gateways = [gateway["host"] for gateway in plan["gateways"]]
    path = [start]
    while len(path) < 50:
        here = path[-1]
        table = plan["sendmail"][here]
        if here in gateways and len(path) == 1:
            ways = {route["domain"]: route["next_hops"] for route in plan["routes"]}
        else:
            lines = {line["domain"]: line.get("next_hops", [line["next_hop"]]) for line in table["static"]}
            ways = dict.fromkeys(table["local"], "here") | lines
        way = best(name, ways)
        if way == "here":
            return path, True
        up = reach(plan, here, way or (), down)
        if not up:
            return path, False
        path.append(up[0])
    raise AssertionError(f"{name} goes round and round: {path}")


def hosts_of(groups):
    return {host: own for members in groups.values() for host, own in members.items() if host}


def mail_names(plan, groups):
    """Return a name for each planned domain, with the domain, and the servers that may take it, its home first."""
    homes = {route["domain"]: route["home"] for route in plan["routes"]}
    hosts = hosts_of(groups)
    for domain in homes:
        name = domain.replace("*", "any")
        claim = best(name, {each: each for each in homes})
        backups = [host for host, own in hosts.items() if claim in own.get("mailgate_backup_domains", ())]
        yield name, claim, [homes[claim], *backups]


@settings(max_examples=150, deadline=None)
@given(campuses())
def test_every_domain_arrives_from_every_host(groups):
    plan = plan_of(groups)
    for name, _domain, finals in mail_names(plan, groups):
        for start in plan["sendmail"]:
            path, arrived = simulate(plan, name, start)
            assert arrived
            assert path[-1] in finals
            assert path[-1] == finals[0] or set(path) & set(finals[1:])
            assert len(path) <= 4


def mx_in_order(plan, groups, domain, finals):
    """Return the hosts that an external sender tries for a domain, by the names in their MX records."""
    kept = hosts_of(groups)[finals[0]].get("mailgate_keep_mx")
    tables = plan["mx_outside"] if groups["all"][None]["mailgate_method"] == "split" else plan["mx"]
    entries = [
        owner["mx"]
        for zones in tables.values()
        for zone in zones
        for owner in zone["owners"]
        if owner["owner"] == domain
    ]
    assert len(entries) == (0 if kept else 1)
    if kept:
        return finals
    return [line["exchange"] for line in sorted(entries[0], key=lambda line: line["preference"])]


@settings(max_examples=200, deadline=None)
@given(campuses())
def test_what_the_proof_counts_as_delivered_by_mx_is_delivered(groups):
    plan = plan_of(groups)
    permitted = {host for host, own in hosts_of(groups).items() if "mailgate_permit" in own}
    gateways = {gateway["host"] for gateway in plan["gateways"]}
    for scenario in plan["proof"]["scenarios"]:
        down = {scenario["host"]}
        closed = "borders" in groups and scenario["scenario"] != "border_open"
        expected = scenario["senders"]["mx"]
        seen = dict.fromkeys(expected, 0)
        for name, domain, finals in mail_names(plan, groups):
            verdict = "held"
            for host in mx_in_order(plan, groups, domain, finals):
                inner = host not in gateways and host not in permitted
                if host in down or (inner and closed):
                    continue
                _path, arrived = simulate(plan, name, host, down)
                verdict = ("exposed" if inner else "delivered") if arrived else "held"
                break
            seen[verdict] += 1
        assert seen == expected


@settings(max_examples=150, deadline=None)
@given(campuses())
def test_what_the_proof_counts_for_straight_connections_is_what_inner_servers_take(groups):
    """Delivered only by the permit of the domain's own server; exposed when any other server takes it from outside."""
    plan = plan_of(groups)
    hosts = hosts_of(groups)
    inner = [host for host in plan["sendmail"] if host not in {gateway["host"] for gateway in plan["gateways"]}]
    for scenario in plan["proof"]["scenarios"]:
        if scenario["scenario"] not in ("all_up", "border_open"):
            continue
        closed = "borders" in groups and scenario["scenario"] != "border_open"
        seen = dict.fromkeys(scenario["senders"]["direct"], 0)
        for name, domain, finals in mail_names(plan, groups):
            verdict = "blocked"
            for host in inner:
                table = plan["sendmail"][host]
                permitted = "mailgate_permit" in hosts[host]
                takes = domain in table["local"] or best(name, dict.fromkeys(table["relay"], True))
                if takes and (permitted or not closed):
                    alright = host in finals and permitted and verdict != "exposed"
                    verdict = "delivered" if alright else "exposed"
            seen[verdict] += 1
        assert seen == scenario["senders"]["direct"]


@settings(max_examples=150, deadline=None)
@given(campuses())
def test_what_the_proof_counts_from_inside_is_what_arrives(groups):
    plan = plan_of(groups)
    for scenario in plan["proof"]["scenarios"]:
        down = {scenario["host"]}
        seen = {"delivered": 0, "held": 0}
        for name, _domain, _finals in mail_names(plan, groups):
            for start in plan["sendmail"]:
                # A gateway's own mail starts in its queue.
                arrived = start not in down and from_queue(plan, name, start, down)
                seen["delivered" if arrived else "held"] += 1
        inside = scenario["senders"]["inside"]
        assert {verdict: inside[verdict] for verdict in seen} == seen


def from_queue(plan, name, start, down):
    """Whether mail that a host's sendmail has to send arrives."""
    table = plan["sendmail"][start]
    lines = {line["domain"]: line.get("next_hops", [line["next_hop"]]) for line in table["static"]}
    hops = best(name, lines | dict.fromkeys(table["local"], "here"))
    if hops == "here":
        return True
    up = reach(plan, start, hops, down)
    return bool(up) and simulate(plan, name, up[0], down)[1]


@settings(max_examples=100, deadline=None)
@given(campuses())
def test_counting_in_bulk_is_counting_one_by_one(groups):
    """The shared tables, written out line by line, give the same proof: then every domain is walked from every host."""
    campus = campus_of(groups)
    tables = derive(campus)
    written = {
        name: MailTable(table.local, tuple(table.relay), tuple(table.static)) for name, table in tables.sendmail.items()
    }
    plain = prove_campus(campus, dataclasses.replace(tables, sendmail=written))
    bulk = prove_campus(campus, tables)
    assert {key: strip(each) for key, each in bulk.counts.items()} == {
        key: strip(each) for key, each in plain.counts.items()
    }
    assert bulk.exposed_domains == plain.exposed_domains


def strip(senders):
    return {sender: {verdict: n for verdict, n in found.items() if n} for sender, found in senders.items()}
