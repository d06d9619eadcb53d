# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains that left the delivery table are deferred, not refused, also across restarts."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from mailgate.config import Cache
from mailgate.removed_routes import RemovedRoutes, compare, update
from mailgate.routes import parse_routes
from mailgate.state import KNOWN_ROUTES, REMOVED_ROUTES

HOUR = 3600
FIRST = "a.example\t198.18.1.1\n*.lab.example\t198.18.1.2\nb.example\t198.18.1.3\n"


class TestUpdate:
    def test_a_domain_that_left_is_deferred_until_its_time_is_over(self, tmp_path):
        now = [1000.0]
        assert update(tmp_path, parse_routes(FIRST), 5 * HOUR, lambda: now[0]) == []
        later = parse_routes("b.example\t198.18.1.3\n")
        assert update(tmp_path, later, 5 * HOUR, lambda: now[0]) == ["*.lab.example", "a.example"]
        now[0] += HOUR
        assert update(tmp_path, later, 5 * HOUR, lambda: now[0]) == [], "a second start reports nothing new"
        removed = RemovedRoutes({"a.example": 1000, "*.lab.example": 1000}, 5 * HOUR, lambda: now[0])
        assert "a.example" in removed
        assert "x.lab.example" in removed
        assert "lab.example" not in removed
        assert removed.deferred == ["*.lab.example", "a.example"]
        now[0] += 4 * HOUR
        assert "a.example" not in removed
        assert not removed.deferred

    def test_a_domain_that_returns_is_forgotten(self, tmp_path):
        for text in (FIRST, "b.example\t198.18.1.3\n", FIRST):
            update(tmp_path, parse_routes(text), HOUR)
        assert not (tmp_path / REMOVED_ROUTES).read_text()

    def test_an_interrupted_update_is_completed(self, tmp_path):
        update(tmp_path, parse_routes(FIRST), HOUR)
        known = (tmp_path / KNOWN_ROUTES).read_text()
        update(tmp_path, parse_routes("b.example\t198.18.1.3\n"), HOUR)
        (tmp_path / KNOWN_ROUTES).write_text(known)
        update(tmp_path, parse_routes("b.example\t198.18.1.3\n"), HOUR)
        assert "a.example" in RemovedRoutes.load(tmp_path, HOUR)

    def test_what_could_not_be_recorded_is_removed_for_the_present_table(self, tmp_path):
        update(tmp_path, parse_routes(FIRST), HOUR)
        present = parse_routes("b.example\t198.18.1.3\n")
        assert not RemovedRoutes.load(tmp_path, HOUR).deferred
        assert "a.example" in RemovedRoutes.load(tmp_path, HOUR, present)
        assert "b.example" not in RemovedRoutes.load(tmp_path, HOUR, present)
        assert not RemovedRoutes.load(tmp_path, 0, present).deferred

    def test_a_damaged_file_contains_nothing(self, tmp_path):
        (tmp_path / REMOVED_ROUTES).write_bytes(b"\xff\n")
        assert "a.example" not in RemovedRoutes.load(tmp_path, HOUR)
        (tmp_path / REMOVED_ROUTES).write_text("a.example\nb.example\tx\n")
        assert not RemovedRoutes.load(tmp_path, HOUR).deferred

    def test_the_first_removal_counts(self):
        assert compare(["a"], {"a": 5}, frozenset(), 9, 100) == {"a": 5}
        assert compare(["a"], {"a": 5}, frozenset(), 105, 100) == {}


class TestAtRcpt:
    @pytest.mark.parametrize(("hours", "reply"), [(120, "450 4.4.4"), (0, "550 5.7.1")])
    async def test_a_removed_domain_is_deferred(self, make_campus, tmp_path, hours, reply):
        update(tmp_path, parse_routes("gone.example\t198.18.1.1\n*.all.gone.example\t198.18.1.1\n"), HOUR)
        update(tmp_path, parse_routes("a.example\t198.18.1.1\n"), HOUR)
        campus = await make_campus(cache=Cache(removed_route_hours=hours))
        client = await campus.connect()
        gone, below, never = await client.start("x@gone.example", "x@y.all.gone.example", "x@never.example")
        assert gone.startswith(reply)
        assert below.startswith(reply)
        assert never.startswith("550 5.7.1")

    async def test_a_client_that_may_relay_is_deferred_too(self, make_campus, tmp_path):
        update(tmp_path, parse_routes("gone.example\t198.18.1.1\n"), HOUR)
        update(tmp_path, parse_routes("a.example\t198.18.1.1\n"), HOUR)
        campus = await make_campus(relay_networks=(ip_network("127.0.0.0/8"),))
        client = await campus.connect()
        assert (await client.start("x@gone.example"))[0].startswith("450 4.4.4")

    async def test_a_deferred_recipient_is_no_error_of_the_client(self, make_campus, tmp_path):
        update(tmp_path, parse_routes("gone.example\t198.18.1.1\n"), HOUR)
        update(tmp_path, parse_routes("a.example\t198.18.1.1\n"), HOUR)
        campus = await make_campus()
        client = await campus.connect()
        many = ["x@gone.example"] * (campus.gateway.config.limits.max_errors + 5)
        *deferred, last = await client.start(*many, "x@a.univ.example")
        assert all(reply.startswith("450 4.4.4") for reply in deferred)
        assert last.startswith("250")
