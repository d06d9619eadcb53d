# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of the plan on a host: everything else stays."""

from __future__ import annotations

from ansible_collections.campus.mailgate.plugins.module_utils._postfix.settings import Settings
from ansible_collections.campus.mailgate.plugins.module_utils._rollout.tables import gateway, parse_routes
from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route
from ansible_collections.campus.mailgate.plugins.module_utils._routes.transition import (
    Pending,
    Present,
    between,
    pending,
)

PRESENT = Present(
    frozenset({"own.example", "gone.example"}),
    frozenset({"leaf.own.example"}),
    {"a.example": ("198.18.1.1",), "b.example": ("198.18.1.2",)},
)
PART = Settings(local=("own.example",), relay=(), routes=(Route("a.example", "198.18.1.9"),), external=())


def test_what_the_part_does_not_have_stays():
    for distance in (None, 1, 99):
        now = between(PRESENT, PART, distance, partial=True)
        assert set(now.local) == {"own.example", "gone.example"}
        assert now.relay == ("leaf.own.example",)
        assert {route.domain: route.hops for route in now.routes} == {
            "a.example": ("198.18.1.9",),
            "b.example": ("198.18.1.2",),
        }
        assert pending(now, PART, partial=True) == Pending()


def test_the_whole_plan_removes_it():
    assert between(PRESENT, PART, None) == PART
    found = pending(between(PRESENT, PART, 1), PART)
    assert [step.domains for step in found.steps] == [("b.example",)]
    assert set(found.removals) == {"gone.example", "leaf.own.example"}


def test_domains_come_before_routes_in_a_part_too():
    assert between(PRESENT, PART, 0, partial=True).routes[0].hops == ("198.18.1.1",)
    assert pending(between(PRESENT, PART, 0, partial=True), PART, partial=True).steps[0].distance == 1


def test_a_gateways_delivery_table(tmp_path):
    path = tmp_path / "routes"
    path.write_text(
        "# comment\neng.example\t198.18.1.1,198.18.1.2\t198.18.1.3\n*.lab.example\t198.18.1.1\nout.example\t-\n"
    )
    found = gateway(lambda _command: (0, "active\n", ""), path)
    assert found == {
        "written": True,
        "active": True,
        "routes": {"eng.example": ["198.18.1.1", "198.18.1.2"], "*.lab.example": ["198.18.1.1"]},
    }
    assert not gateway(lambda _command: (3, "inactive\n", ""), path)["active"]
    assert not gateway(lambda _command: (3, "inactive\n", ""), tmp_path / "none")["written"]
    assert parse_routes("") == {}
