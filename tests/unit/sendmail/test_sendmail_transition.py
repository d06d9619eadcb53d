# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between two plans: in each step, with any part of the hosts changed, no mail is refused and none loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route
from ansible_collections.campus.mailgate.plugins.module_utils._routes.transition import (
    ALL_ROUTES,
    Pending,
    Present,
    between,
    former,
    pending,
)
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import tables
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.settings import (
    Listener,
    Settings,
    normalize,
)
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.tables import read_present

# Two faculties, each with a hub and two leaves; the gateway's queue.
HUBS = {"h1": "h1", "a1": "h1", "b1": "h1", "h2": "h2", "a2": "h2", "b2": "h2"}
HOSTS = list(HUBS)
GATEWAY = "gw"
ADDRESS = {name: f"198.18.1.{number}" for number, name in enumerate(HOSTS, 1)}
NAME = {address: name for name, address in ADDRESS.items()}
DOMAINS = ["d1.example", "d2.example", "d3.example"]
Campus = dict[str, Settings]


def plan(homes: Mapping[str, str], *, tiered: bool, hubs: Mapping[str, str] = HUBS) -> Campus:
    """Return the settings of all hosts: leaves send foreign mail to their hub, hubs to the other hubs."""

    def hops(host: str, domain: str) -> tuple[str, int]:
        home = homes[domain]
        hub = hubs[home]
        if host == GATEWAY:
            return (hub, 2) if tiered and hub != home else (home, 1)
        if hubs[host] == hub or (hub == home and hubs[host] == host):
            return home, 1
        if hubs[host] == host:
            return hub, 2
        first = hubs[host]
        return first, 1 + hops(first, domain)[1]

    found = {}
    for host in (*HOSTS, GATEWAY):
        local = tuple(domain for domain, home in homes.items() if home == host)
        routes = []
        for domain in homes:
            if domain not in local:
                name, distance = hops(host, domain)
                routes.append(Route(domain, ADDRESS[name], name, (), distance))
        relays = host == GATEWAY or hubs[host] == host
        found[host] = normalize(
            Settings(
                "",
                (Listener("0.0.0.0", 25),),
                local,
                tuple(domain for domain in homes if domain not in local) if relays else (),
                tuple(routes),
            )
        )
    return found


def present_of(settings: Settings) -> Present | None:
    """Return what the host reads from the files that it wrote for these settings."""
    return read_present(tables.local_host_names(settings), tables.mailertable(settings), tables.access("", settings))


def outcome(hosts: Campus, start: str, domain: str) -> str:
    """Return `delivered`, `refused` or `loop` for mail that starts on a host, or comes from a gateway to it."""
    host, first, seen = start, True, set()
    while host not in seen:
        seen.add(host)
        settings = hosts[host]
        if domain in settings.local:
            return "delivered"
        if not first and domain not in settings.relay:
            return f"refused by {host}"
        route = next((r for r in settings.routes if r.domain == domain), None)
        if route is None:
            return f"no route at {host}"
        host, first = NAME[route.next_hop], False
    return "loop"


def assert_sound(hosts: Campus, domains: list[str]) -> None:
    for start in hosts:
        for domain in domains:
            assert outcome(hosts, start, domain) == "delivered", (start, domain)


homes = st.fixed_dictionaries({domain: st.sampled_from(HOSTS) for domain in DOMAINS})
hubs = st.sampled_from([HUBS, {**HUBS, "a1": "h2"}, {**HUBS, "a2": "h1", "b2": "h1"}])


@given(homes, homes, hubs, hubs, st.booleans(), st.booleans(), st.data())
def test_no_state_between_two_plans_refuses_or_loops(before, after, old_hubs, new_hubs, was_tiered, tiered, data):
    new_domain = data.draw(st.sampled_from([None, "new.example"]))
    old = plan(before, tiered=was_tiered, hubs=old_hubs)
    new = plan(after | ({new_domain: "b2"} if new_domain else {}), tiered=tiered, hubs=new_hubs)
    hosts = dict(old)
    assert_sound(hosts, DOMAINS)
    for distance in (0, 1, 2, 3, 4, ALL_ROUTES, None):
        for host in data.draw(st.permutations(list(new))):
            hosts[host] = between(present_of(hosts[host]), new[host], distance)
            assert_sound(hosts, DOMAINS)
        if distance == ALL_ROUTES and new_domain:
            assert_sound(hosts, [new_domain])
    for host, settings in new.items():
        assert pending(hosts[host], settings) == Pending()
        assert tables.mailertable(hosts[host]) == tables.mailertable(settings)


@given(homes, hubs, st.booleans())
def test_without_a_change_no_step_changes_a_file(homes, hubs, tiered):
    for settings in plan(homes, tiered=tiered, hubs=hubs).values():
        same = between(present_of(settings), settings, 0)
        for file in (tables.mailertable, tables.local_host_names, tables.static_route):
            assert file(same) == file(settings)
        assert tables.access("", same) == tables.access("", settings)
        assert pending(same, settings) == Pending()


def test_wildcards_and_several_next_hops_are_read_back():
    settings = normalize(
        Settings(
            "",
            (Listener("0.0.0.0", 25),),
            ("a.example", "*.lab.a.example"),
            ("b.example", "*.b.example"),
            (Route("b.example", "198.18.1.2", "b", ("198.18.1.2", "2001:db8::2")), Route("*.b.example", "198.18.1.2")),
        )
    )
    present = present_of(settings)
    assert present == Present(
        frozenset({"a.example", "*.lab.a.example"}),
        frozenset({"b.example", "lab.a.example"}),
        {"b.example": ("198.18.1.2", "2001:db8::2"), "*.b.example": ("198.18.1.2",)},
    )
    same = between(present, settings, 0)
    assert tables.access("", same) == tables.access("", settings)
    assert tables.mailertable(same) == tables.mailertable(settings)


def by_mx(hosts: Campus, homes: Mapping[str, str]) -> Campus:
    """Return hosts that send by MX records what they have no routes for: to the final server."""
    direct = {domain: Route(domain, ADDRESS[home], home) for domain, home in homes.items()}
    found = {}
    for host, settings in hosts.items():
        routed = {*settings.local, *(route.domain for route in settings.routes)}
        more = tuple(route for domain, route in direct.items() if domain not in routed)
        found[host] = replace(settings, routes=settings.routes + more)
    return found


@given(homes, hubs, st.booleans(), st.sets(st.sampled_from(HOSTS)), st.data())
def test_no_state_of_the_first_run_refuses_or_loops(homes, hubs, tiered, failing, data):
    planned = plan(homes, tiered=tiered, hubs=hubs)
    # Servers accept the domains that they are the home of.
    hosts = {host: replace(settings, relay=(), routes=()) for host, settings in planned.items()}
    written: set[str] = set()
    for host in data.draw(st.permutations(list(planned))):
        if host not in failing:
            hosts[host] = between(None, planned[host], 0)
            written.add(host)
        assert_sound(by_mx(hosts, homes), DOMAINS)
    for host in data.draw(st.permutations(list(planned))):
        steps = pending(hosts[host], planned[host]).steps if host in written else ()
        assert len(steps) < 2
        if steps and written >= set(steps[0].hosts):
            hosts[host] = between(present_of(hosts[host]), planned[host], steps[0].distance)
            assert pending(hosts[host], planned[host]) == Pending()
        assert_sound(by_mx(hosts, homes), DOMAINS)


def test_the_first_routes_wait_for_servers_that_relay_only():
    planned = plan({"d1.example": "a1", "d2.example": "b1", "d3.example": "b2"}, tiered=False)["a1"]
    assert read_present("admin.example\n", "", "") is None
    accepting = between(None, planned, 0)
    assert (accepting.local, accepting.routes) == (("d1.example",), ())
    (step,) = pending(accepting, planned).steps
    assert (step.distance, step.domains, step.hosts) == (1, ("d2.example", "d3.example"), ("h1",))
    assert between(present_of(accepting), planned, 1) == planned
    assert between(None, planned, None) == planned


def test_pending_names_the_next_hops_and_the_domains_to_give_up():
    old = plan({"d1.example": "a1"}, tiered=False)
    new = plan({"d1.example": "b2"}, tiered=False)
    added = between(present_of(old["a1"]), new["a1"], 0)
    assert "d1.example" in added.local
    left = pending(added, new["a1"])
    assert not left.steps, "the old home has no route yet"
    assert left.removals == ("d1.example",)
    (step,) = pending(between(present_of(old["h1"]), new["h1"], 0), new["h1"]).steps
    assert (step.distance, step.domains, step.hosts) == (2, ("d1.example",), ("h2",))
    home = between(present_of(old["b2"]), new["b2"], 0)
    assert "d1.example" in home.local, "the new home accepts first"
    assert between(present_of(added), new["a1"], None) == new["a1"]


def test_next_hops_that_left_the_plan():
    routes = {"a.example": ("198.18.1.1", "198.18.1.9"), "b.example": ("198.18.1.2",)}
    present = Present(frozenset(), frozenset(), routes)
    planned = Settings("", (), (), (), (Route("a.example", "198.18.1.2", "h"), Route("c.example", "198.18.1.3", "h")))
    assert former(present, planned) == ["198.18.1.1", "198.18.1.9"]
    assert former(None, planned) == []
