# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters for people's own playbooks."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from print_campus import hosts, result_of

from ansible_collections.campus.mailgate.plugins.filter.mail_routes import FilterModule

FILTERS = FilterModule().filters()
ROUTES, ROUTE = FILTERS["mail_routes"], FILTERS["mail_route"]


def test_routes():
    plan = result_of(hosts())
    assert ROUTES(plan) == ROUTES(plan["routes"]) == plan["routes"]
    assert [route["domain"] for route in ROUTES(plan, "science")] == ["bio.sci.univ.example", "sci.univ.example"]


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("mech.eng.univ.example", "mech.eng.univ.example"),
        ("MECH.eng.Univ.Example.", "mech.eng.univ.example"),
        ("a.b.lab.mech.eng.univ.example", "*.lab.mech.eng.univ.example"),
        ("*.lab.mech.eng.univ.example", "*.lab.mech.eng.univ.example"),
        ("lab.mech.eng.univ.example", None),
        ("other.example", None),
    ],
)
def test_route(name, domain):
    found = ROUTE(result_of(hosts()), name)
    assert (found and found["domain"]) == domain


def test_an_external_domain_has_no_route():
    campus = hosts()
    campus["mech.eng.univ.example"]["mailgate_external_domains"] = ["shop.lab.mech.eng.univ.example"]
    assert ROUTE(result_of(campus), "shop.lab.mech.eng.univ.example") is None


@pytest.mark.parametrize(
    ("call", "output"),
    [
        (lambda plan: ROUTES(plan, "scince"), "'scince'; known ones are engineering, research, science"),
        (lambda plan: ROUTE(plan, "a..b"), "empty label"),
        (lambda plan: ROUTE(plan["mx"], "a.example"), "must be the result of campus.mailgate.mail_plan"),
        (lambda plan: ROUTES("text"), "must be the result of"),
        (lambda plan: ROUTES([1]), "must be the result of"),
    ],
)
def test_errors_say_what_to_give(call, output):
    with pytest.raises(AnsibleFilterError, match=output.replace(".", r"\.")):
        call(result_of(hosts()))
