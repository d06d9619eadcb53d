# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of hosts to port 25 outside of the campus, judged by the outbound rules of the border routers."""

from __future__ import annotations

import datetime

import pytest
from verify_campus import BORDER, CIVIL, GW1, GW2, MAIL, MECH, QUAKE, QUAKE_ADDRESS, SERVER, SERVER6, Sound, plan_of

from ansible_collections.campus.mailgate.plugins.plugin_utils._verify import questions

OTHER = "203.0.113.26"


def ids(campus):
    return [fault.id for fault in campus.verdict().faults]


def rule(campus, router=BORDER, **outbound):
    """Change the rule of a router."""
    campus.routers[router]["border_firewall_outbound"] |= outbound


def through(campus, host, source, server=SERVER):
    campus.outbound(host, server).update(state="open", source=source)


def blocked(campus, *hosts, server=SERVER):
    for host in hosts:
        campus.outbound(host, server).update(state="silent", source="")


def test_a_host_that_gets_out_is_named_with_server_and_source():
    campus = Sound()
    through(campus, MECH, "198.18.1.30")
    (fault,) = campus.verdict().faults
    assert fault.id == f"outbound_open {MECH} IPv4"
    assert fault.values == {"address": SERVER, "source": "198.18.1.30"}


def test_a_host_may_get_out_by_ipv6_only():
    campus = Sound()
    through(campus, MAIL, "2001:db8:18:1::25", SERVER6)
    assert ids(campus) == [f"outbound_open {MAIL} IPv6"]


def test_an_address_that_the_inventory_does_not_have():
    campus = Sound()
    through(campus, CIVIL, "2001:db8:18:1::dead", SERVER6)
    assert ids(campus) == [f"outbound_open {CIVIL} IPv6"]
    through(campus, CIVIL, "2001:db8:99::1", SERVER6)  # in no network of the campus, so no rule is about it
    assert ids(campus) == []


@pytest.mark.parametrize("change", [{"mode": "observe"}, {"mode": "disabled"}], ids=lambda change: change["mode"])
def test_a_rule_that_refuses_nothing(change):
    campus = Sound()
    through(campus, MECH, "198.18.1.30")
    rule(campus, **change)
    assert ids(campus) == []
    blocked(campus, GW1)  # mail has to get out in any case
    assert ids(campus) == [f"outbound_closed {GW1} IPv4"]


def test_without_a_rule_only_gateways_are_judged():
    campus = Sound()
    campus.routers = {BORDER: {}}
    through(campus, MECH, "198.18.1.30")
    blocked(campus, QUAKE)
    assert ids(campus) == []
    blocked(campus, GW2)
    assert ids(campus) == [f"outbound_closed {GW2} IPv4"]


def test_a_listed_sender_must_get_out():
    campus = Sound()
    blocked(campus, QUAKE)
    assert ids(campus) == [f"outbound_closed {QUAKE} IPv4"]
    rule(campus, senders=[{"address": "198.18.3.0/24"}])
    assert ids(campus) == [f"outbound_closed {QUAKE} IPv4"]
    rule(campus, senders=[])
    assert ids(campus) == []


@pytest.mark.parametrize("as_date", [False, True])
def test_a_sender_whose_last_day_is_over_is_not_judged(as_date):
    def until(day):
        return [{"address": QUAKE_ADDRESS, "until": datetime.date.fromisoformat(day) if as_date else day}]

    campus = Sound()
    rule(campus, senders=until("2026-03-31"))
    assert ids(campus) == []
    blocked(campus, QUAKE)
    assert ids(campus) == []
    rule(campus, senders=until("2026-04-01"))
    assert ids(campus) == [f"outbound_closed {QUAKE} IPv4"]


def test_a_sender_is_listed_by_address_not_by_host():
    campus = Sound(plan_of({QUAKE: {"mailgate_address6": "2001:db8:18:3::40"}}))
    assert ids(campus) == [f"outbound_open {QUAKE} IPv6"]


def two_routers():
    campus = Sound(plan_of({GW2: {"mailgate_border": {"outside_interface": "outside0"}}}))
    campus.routers[GW2] = {"border_firewall_outbound": dict(campus.routers[BORDER]["border_firewall_outbound"])}
    return campus


def test_every_router_must_refuse():
    campus = two_routers()
    through(campus, MECH, "198.18.1.30")
    assert ids(campus) == [f"outbound_open {MECH} IPv4"]
    rule(campus, GW2, senders=[{"address": "198.18.1.30"}])
    assert ids(campus) == []
    del campus.routers[GW2]  # its variables cannot be read
    assert ids(campus) == []


@pytest.mark.parametrize(
    "values",
    [
        {"border_firewall_outbound": "enforce"},
        {"border_firewall_outbound": {"mode": "enforce", "senders": [{"host": "x"}]}},
        {"border_firewall_outbound": {"mode": "enforce", "senders": [{"address": "a.example"}]}},
        {"border_firewall_outbound": {"mode": "enforce", "senders": [{"address": "192.0.2.1", "until": "soon"}]}},
        {"border_firewall_outbound": {"mode": "enforce"}, "border_firewall_state": "absent"},
        {"border_firewall_outbound": {"mode": "enforce"}, "border_firewall_networks": ["198.18.3.0/24"]},
    ],
)
def test_settings_by_which_a_host_may_get_out_or_that_are_not_valid(values):
    campus = Sound()
    through(campus, MECH, "198.18.1.30")
    blocked(campus, QUAKE)
    campus.routers = {BORDER: values}
    assert ids(campus) == []


def test_a_router_of_others_has_no_rule_of_ours():
    campus = Sound(plan_of({BORDER: {"mailgate_border": {"managed": False}}}))
    through(campus, MECH, "198.18.1.30")
    assert ids(campus) == []


def test_a_family_without_networks_is_refused_for_every_address():
    campus = Sound()
    through(campus, CIVIL, "2001:db8:99::1", SERVER6)
    campus.routers[BORDER]["border_firewall_networks"] = ["198.18.0.0/16"]
    assert ids(campus) == [f"outbound_open {CIVIL} IPv6"]


def test_a_server_that_nobody_reaches_says_nothing():
    campus = Sound()
    blocked(campus, GW1, GW2, QUAKE)
    (fault,) = campus.verdict().faults
    assert fault.id == f"outbound_unknown - {SERVER}"
    assert fault.values["reason"] == "no host reached it"


def test_a_vantage_point_outside_shows_that_the_server_answers():
    campus = Sound()
    blocked(campus, GW1, GW2, QUAKE)
    campus.outside["outbound"] = [{"address": SERVER, "state": "open", "source": "192.0.2.1"}]
    assert ids(campus) == [f"outbound_closed {host} IPv4" for host in (GW1, GW2, QUAKE)]


def test_one_of_several_servers_suffices():
    campus = Sound()
    campus.servers.append(OTHER)
    for host in (GW1, GW2, QUAKE):
        campus.hosts[host]["outbound"].append(campus.outbound(host) | {"address": OTHER})
    blocked(campus, GW1)
    assert ids(campus) == []
    blocked(campus, GW1, server=OTHER)
    (fault,) = campus.verdict().faults
    assert (fault.host, fault.values["address"]) == (GW1, f"{SERVER}, {OTHER}")


def test_servers_that_cannot_show_anything():
    campus = Sound()
    campus.servers += ["mx.provider.example", "198.18.9.9"]
    assert ids(campus) == ["outbound_unknown - 198.18.9.9", "outbound_unknown - mx.provider.example"]
    asked = questions.outbound(campus.servers)
    assert [each["address"] for each in asked] == [SERVER, SERVER6, "198.18.9.9"]
    assert not any(each["session"] for each in asked)


def test_without_the_variable_nothing_is_judged():
    campus = Sound()
    campus.servers = []
    for answer in campus.hosts.values():
        answer["outbound"] = []
    assert ids(campus) == []


def test_a_host_that_could_not_try():
    campus = Sound()
    campus.hosts[MECH].update(outbound=[], outbound_reason="Python is too old")
    (fault,) = campus.verdict().faults
    assert fault.id == f"unread {MECH} outbound"
    assert "Python is too old" in fault.values["text"]
