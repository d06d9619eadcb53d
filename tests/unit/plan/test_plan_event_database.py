# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host of the event database in the plan."""

from __future__ import annotations

import pytest
from plan_campus import only_problem, plan_of, small

from ansible_collections.campus.mailgate.plugins.plugin_utils._plan.event_database import user_of


def with_database(value: object, **host: object) -> dict[str, dict[str | None, dict[str, object]]]:
    groups = small()
    groups["all"][None]["mailgate_event_database"] = value
    if host:
        groups["databases"] = {"db1.univ.example": host}
    return groups


def test_without_one_there_is_nothing():
    assert plan_of(small())["event_database"] == {}


def test_a_host_without_another_function():
    plan = plan_of(with_database({"host": "db1.univ.example"}, ansible_host="198.18.0.30"))
    found = plan["event_database"]
    assert (found["host"], found["address"], found["port"]) == ("db1.univ.example", "198.18.0.30", 5432)
    assert found["gateways"][0] == {
        "host": "gw1.univ.example",
        "user": "mailgate_gw1.univ.example",
        "addresses": [each for key in ("address", "address6") if (each := plan["gateways"][0][key])],
    }
    assert plan["hosts"]["db1.univ.example"]["kinds"] == []


def test_a_gateway_and_a_port():
    found = plan_of(with_database({"host": "gw1.univ.example", "port": 5433}))["event_database"]
    assert (found["address"], found["port"]) == ("198.18.0.25", 5433)


def test_mailgate_address_comes_before_ansible_host():
    host = {"ansible_host": "203.0.113.9", "mailgate_address": "198.18.0.30"}
    assert plan_of(with_database({"host": "db1.univ.example"}, **host))["event_database"]["address"] == "198.18.0.30"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("db1.univ.example", "'db1.univ.example' is not a mapping"),
        ({"host": "db2.univ.example"}, "'db2.univ.example' is not a host of the inventory"),
        ({}, "'' is not a host of the inventory"),
        ({"host": "gw1.univ.example", "port": "x"}, "'x' is not a valid port"),
        ({"host": "gw1.univ.example", "port": 0}, "0 is not a valid port"),
        ({"host": "gw1.univ.example", "prot": 5433}, "unknown key 'prot'"),
        ({"host": "TODO: which"}, "still to be decided: which"),
    ],
)
def test_problems(value, message):
    problem = only_problem(with_database(value))
    assert (problem.variable, problem.message) == ("mailgate_event_database", message)


def test_a_host_without_an_address():
    problem = only_problem(with_database({"host": "db1.univ.example"}, mailgate_language="en"))
    assert problem.message == "db1.univ.example has no address"


def test_names_of_users_are_different_and_not_too_long():
    long = "a" * 60 + ".univ.example"
    names = {user_of(name) for name in ("gw1", "gw1.univ.example", long, long.replace("univ", "other"))}
    assert len(names) == 4
    assert all(len(name) <= 63 for name in names)
