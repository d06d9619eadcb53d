# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets a place when places are short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.admission import TIMEOUT, TOO_MANY_CONNECTIONS, TOO_MANY_FROM_CLIENT, TOO_MANY_TRANSACTIONS, Admission
from mailgate.config import Config, Limits, Timeouts
from mailgate.network import client_key, network_of
from mailgate.ranking import Ranking
from mailgate.smtp.reply import Reply
from mailgate.worker_counters import SharedCounters, WorkerCounters


@dataclass(eq=False)
class Place:
    network: str


class Scenario:
    """Admission with a clock of its own, and what was closed."""

    def __init__(self, limits: Limits, counters: WorkerCounters | None = None) -> None:
        self.now = 100.0
        self.closed: list[tuple[str, Reply]] = []
        self.later: list[Callable[[], None]] = []
        self.contended = False
        self.counters = counters or WorkerCounters()
        self.admission = Admission(
            Config(
                hostname="gw1.univ.example",
                routes_file=Path("routes"),
                state_dir=Path(),
                limits=limits,
                timeouts=Timeouts(),
            ),
            self.counters,
            clock=lambda: self.now,
            later=lambda _seconds, run: self.later.append(run),
            contended=lambda: self.contended,
        )

    def connect(self, address: str):
        refusal = self.admission.check_client(address) or self.admission.check_room(address)
        if refusal:
            return refusal
        return self.admission.enter(address, lambda reply: self.closed.append((address, reply)))

    def work(self, address: str):
        visit = self.connect(address)
        refusal = self.admission.begin_transaction(visit)
        self.admission.wait(visit)
        return refusal or visit


@pytest.mark.parametrize(
    ("address", "client", "network"),
    [
        ("198.18.1.7", "198.18.1.7", "198.18.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002", "2001:0db8:0001"),
        ("2001:db8:1:2::", "2001:0db8:0001:0002", "2001:0db8:0001"),
        ("", "", ""),
        ("no:address", "no:address", "no:address"),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_client(address, client, network):
    assert (client_key(address), network_of(address)) == (client, network)


class TestCounters:
    def test_clients_and_networks_are_shared_by_workers(self):
        shared = SharedCounters(2)
        one, two = WorkerCounters(shared, 0), WorkerCounters(shared, 1)
        one.add_connection("2001:db8::1")
        two.add_connection("2001:db8::2")
        assert one.connections_of("2001:db8::3") == 2
        assert one.connections_of("2001:db8:0:1::3") == 0
        one.record_delivery("198.18.1")
        one.add_transactions(3)
        two.add_transactions(-1 + 2)
        assert two.has_delivered("198.18.1")
        assert not two.has_delivered("198.18.2")
        assert two.transactions == 4
        shared.clear(0)
        assert (two.transactions, two.connections) == (1, 1)
        assert two.has_delivered("198.18.1"), "a worker that is replaced takes nothing of it along"

    def test_five_hundred_full_clients_fill_no_other_clients_count(self):
        counters = WorkerCounters()
        for client in range(500):
            for _ in range(20):
                counters.add_connection(f"198.18.{client // 250}.{client % 250}")
        others = [counters.connections_of(f"198.19.{n // 250}.{n % 250}") for n in range(1000)]
        assert sum(number > 0 for number in others) < 5


class TestRanking:
    @given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
    def test_the_idlest_of_the_largest_network(self, steps):
        ranking: Ranking[Place] = Ranking()
        model: list[Place] = []
        for network, adds in steps:
            if adds or not model:
                place = Place(str(network))
                ranking.add(place)
                model.append(place)
            else:
                ranking.remove(model.pop(network % len(model)))
            assert list(ranking) == model
            first = ranking.first_of_largest()
            if not model:
                assert first is None
                continue
            sizes = Counter(one.network for one in model)
            assert sizes[first.network] == max(sizes.values())
            assert first is next(one for one in model if one.network == first.network)


class TestConnections:
    def test_the_idlest_client_of_the_largest_network_gives_way(self):
        scenario = Scenario(Limits(max_connections=4))
        for address in ("198.18.2.1", "198.18.1.1", "198.18.1.2", "198.18.1.3"):
            scenario.connect(address)
            scenario.now += 1
        scenario.now += 2
        assert scenario.connect("198.18.3.1").address == "198.18.3.1"
        assert scenario.closed == [("198.18.1.1", TOO_MANY_CONNECTIONS)]
        assert scenario.counters.connections == 4

    def test_no_client_gives_way_before_it_is_idle_except_to_a_network_with_history(self):
        scenario = Scenario(Limits(max_connections=2))
        scenario.connect("198.18.1.1")
        scenario.connect("198.18.1.2")
        assert scenario.connect("198.18.3.1") is TOO_MANY_CONNECTIONS
        scenario.counters.record_delivery("198.18.3")
        assert scenario.admission.knows(scenario.connect("198.18.3.2"))
        assert [address for address, _reply in scenario.closed] == ["198.18.1.1"]

    def test_a_client_that_may_relay_counts_as_known(self):
        scenario = Scenario(Limits(max_connections=1))
        networks = (ip_network("198.18.3.0/24"),)
        scenario.admission.use(replace(scenario.admission._config, relay_networks=networks))
        assert not scenario.admission.knows(scenario.connect("198.18.1.1"))
        assert scenario.admission.knows(scenario.connect("198.18.3.1"))
        assert scenario.closed == [("198.18.1.1", TOO_MANY_CONNECTIONS)]

    def test_clients_with_history_give_way_last(self):
        scenario = Scenario(Limits(max_connections=3))
        scenario.counters.record_delivery("198.18.1")
        scenario.connect("198.18.1.1")
        regular = scenario.connect("198.18.4.1")
        scenario.admission.accept_message(regular)
        scenario.admission.wait(regular)
        scenario.now += 20
        scenario.connect("198.18.2.1")
        scenario.now += 5
        for address in ("198.18.3.1", "198.18.3.2", "198.18.3.3"):
            scenario.connect(address)
            scenario.now += 5
        assert [address for address, _ in scenario.closed] == ["198.18.2.1", "198.18.3.1", "198.18.3.2"]
        scenario.admission.serve(next(iter(scenario.admission._strangers)))
        scenario.connect("198.18.3.4")
        scenario.connect("198.18.3.5")
        assert [address for address, _ in scenario.closed[3:]] == ["198.18.1.1", "198.18.4.1"]

    def test_a_client_that_waits_for_us_never_gives_way(self):
        scenario = Scenario(Limits(max_connections=1))
        scenario.admission.serve(scenario.connect("198.18.1.1"))
        scenario.now += 1000
        scenario.admission.sweep()
        assert scenario.connect("198.18.2.1") is TOO_MANY_CONNECTIONS
        assert scenario.closed == []

    def test_timeouts_fall_to_seconds_when_three_quarters_are_used(self):
        scenario = Scenario(Limits(max_connections=8))
        for number in range(5):
            scenario.connect(f"198.18.{number}.1")
        scenario.now += 60
        scenario.admission.sweep()
        assert scenario.closed == [], "five of eight: no hurry"
        regular = scenario.connect("198.18.9.1")
        scenario.admission.accept_message(regular)
        scenario.admission.wait(regular)
        assert not scenario.admission.hurries(regular)
        scenario.admission.sweep()
        assert scenario.closed == [("198.18.0.1", TIMEOUT)], "the idlest, until three quarters are not in use"
        for number in range(10, 13):
            scenario.admission.serve(scenario.connect(f"198.18.{number}.1"))
        scenario.admission.sweep()
        assert [address for address, _ in scenario.closed] == [f"198.18.{number}.1" for number in range(3)] + [
            "198.18.3.1"
        ]
        scenario.now += 600
        scenario.admission.sweep()
        assert regular in scenario.admission._visits

    def test_the_idlest_is_found_each_time_places_become_short(self):
        scenario = Scenario(Limits(max_connections=4))
        visits = []
        for number in range(3):
            visits.append(scenario.connect(f"198.18.{number}.1"))
            scenario.now += 1
        scenario.admission.sweep()
        assert scenario.admission._ranked, "three quarters are in use"
        scenario.admission.leave(visits.pop(0))
        scenario.admission.sweep()
        assert not scenario.admission._ranked
        scenario.now += 1
        scenario.admission.wait(visits[0])
        for number in range(5, 7):
            scenario.now += 1
            scenario.connect(f"198.18.{number}.1")
        scenario.now += 5
        scenario.connect("198.18.8.1")
        scenario.connect("198.18.9.1")
        assert [address for address, _ in scenario.closed] == ["198.18.2.1", "198.18.1.1"]

    @pytest.mark.parametrize(("open_files", "places"), [(None, 5000), (16384, 5000), (1024, 1748), (60, 60)])
    def test_connections_stay_below_the_limit_of_open_files(self, open_files, places):
        counters = WorkerCounters(SharedCounters(2))
        scenario = Scenario(Limits(max_connections_per_client=10_000), counters)
        scenario.admission.use(scenario.admission._config, open_files)
        for _ in range(places):
            assert scenario.admission.check_room("198.18.1.1") is None
            counters.add_connection("198.18.1.1")
        assert scenario.admission.check_room("198.18.1.1") is TOO_MANY_CONNECTIONS

    def test_one_client_has_its_limit(self):
        scenario = Scenario(Limits(max_connections_per_client=2))
        first = scenario.connect("2001:db8::1")
        scenario.connect("2001:db8::2")
        assert scenario.connect("2001:db8::3") is TOO_MANY_FROM_CLIENT
        scenario.admission.leave(first)
        scenario.admission.leave(first)
        assert scenario.counters.connections == 1
        scenario.admission.rename(scenario.connect("2001:db8::3"), "198.18.1.1")
        assert scenario.counters.connections_of("198.18.1.1") == scenario.counters.connections_of("2001:db8::1") == 1

    def test_the_sweep_runs_while_there_are_clients(self):
        scenario = Scenario(Limits())
        visit = scenario.connect("198.18.1.1")
        scenario.connect("198.18.1.2")
        [run] = scenario.later
        run()
        assert len(scenario.later) == 2
        scenario.admission.leave(visit)
        scenario.later[1]()
        scenario.admission.leave(next(iter(scenario.admission._visits)))
        scenario.later[2]()
        assert len(scenario.later) == 3
        scenario.connect("198.18.1.1")
        assert len(scenario.later) == 4


class TestWorkers:
    """A worker that has no idle clients, for instance since it was restarted, and another one that has all of them."""

    @pytest.fixture
    def pair(self):
        shared = SharedCounters(2)
        limits = Limits(max_connections=40)
        new, old = (Scenario(limits, WorkerCounters(shared, number)) for number in range(2))
        for number in range(40):
            old.connect(f"198.18.1.{number}")
        return new, old

    def sweep(self, *scenarios: Scenario) -> None:
        for scenario in scenarios:
            scenario.now += 1
            scenario.admission.sweep()

    def test_the_idlest_client_of_another_worker_gives_way(self, pair):
        new, old = pair
        old.now += 3
        self.sweep(old)
        assert new.connect("198.18.3.1") is not TOO_MANY_CONNECTIONS
        assert new.counters.connections == 41
        self.sweep(new, old)
        assert old.closed == [("198.18.1.0", TOO_MANY_CONNECTIONS)]
        assert new.counters.connections == 40
        assert new.closed == []

    def test_few_clients_exceed_the_limit(self, pair):
        new, old = pair
        old.now += 3
        self.sweep(old)
        replies = [new.connect(f"198.18.3.{number}") for number in range(5)]
        assert [reply is TOO_MANY_CONNECTIONS for reply in replies] == [False, False, True, True, True]
        self.sweep(old)
        replies = [new.connect(f"198.18.4.{number}") for number in range(3)]
        assert [reply is TOO_MANY_CONNECTIONS for reply in replies] == [False, False, True]

    def test_not_more_than_the_other_worker_can_close(self, pair):
        new, old = pair
        old.now += 3
        for visit in list(old.admission._visits)[1:]:
            old.admission.serve(visit)
        self.sweep(old)
        replies = [new.connect(f"198.18.3.{number}") for number in range(2)]
        assert [reply is TOO_MANY_CONNECTIONS for reply in replies] == [False, True]
        self.sweep(old)
        assert len(old.closed) == 1
        assert new.connect("198.18.3.3") is TOO_MANY_CONNECTIONS

    def test_clients_of_another_worker_that_are_not_idle_stay(self, pair):
        new, old = pair
        self.sweep(old)
        assert new.connect("198.18.3.1") is TOO_MANY_CONNECTIONS
        self.sweep(old)
        assert old.closed == []

    def test_clients_with_history_give_way_when_they_are_idle(self, pair):
        new, old = pair
        for visit in list(old.admission._visits):
            old.admission.accept_message(visit)
            old.admission.wait(visit)
        self.sweep(old)
        assert new.connect("198.18.3.1") is TOO_MANY_CONNECTIONS
        old.now += 30
        self.sweep(old)
        assert new.connect("198.18.3.1") is not TOO_MANY_CONNECTIONS
        self.sweep(old)
        assert len(old.closed) == 1

    def test_a_worker_that_has_exited_offers_nothing(self, pair):
        new, old = pair
        old.now += 3
        self.sweep(old)
        for number in range(40):
            new.counters.add_connection(f"198.18.5.{number}")
        new.counters._shared.clear(1)
        assert new.connect("198.18.3.1") is TOO_MANY_CONNECTIONS

    def test_a_worker_without_clients_offers_nothing(self, pair):
        new, old = pair
        old.now += 3
        self.sweep(old)
        for visit in list(old.admission._visits):
            old.admission.leave(visit)
        old.later[0]()
        for number in range(40):
            new.counters.add_connection(f"198.18.5.{number}")
        assert new.connect("198.18.3.1") is TOO_MANY_CONNECTIONS


class TestTransactions:
    def test_a_slow_client_gives_its_transaction_up(self):
        scenario = Scenario(Limits(max_transactions=2))
        scenario.work("198.18.1.1")
        scenario.work("198.18.1.2")
        assert scenario.work("198.18.2.1") is TOO_MANY_TRANSACTIONS
        scenario.now += 3
        assert scenario.work("198.18.2.1").working
        assert [address for address, _ in scenario.closed] == ["198.18.1.1"]
        assert scenario.counters.transactions == 2

    def test_slow_clients_of_a_busy_next_hop_are_closed(self):
        scenario = Scenario(Limits())
        visit = scenario.work("198.18.1.1")
        scenario.now += 60
        scenario.admission.sweep()
        assert scenario.closed == []
        scenario.contended = True
        scenario.admission.sweep()
        assert scenario.closed == [("198.18.1.1", TIMEOUT)]
        assert not visit.working

    @pytest.mark.parametrize(
        ("seconds", "received", "kept"), [(179, 0, 1), (181, 0, 0), (181, 5000, 1), (191, 5000, 0)]
    )
    def test_a_message_has_a_minimum_rate(self, seconds, received, kept):
        scenario = Scenario(Limits())
        visit = scenario.connect("198.18.1.1")
        scenario.admission.receive(visit)
        visit.received = received
        scenario.now += seconds
        scenario.admission.sweep()
        assert scenario.counters.connections == kept

    def test_the_rate_counts_after_seconds_when_places_are_short(self):
        scenario = Scenario(Limits(max_transactions=1))
        visit = scenario.work("198.18.1.1")
        scenario.admission.receive(visit)
        scenario.now += 11
        scenario.admission.use(replace(scenario.admission._config, limits=Limits(max_transactions=1, min_data_rate=0)))
        scenario.admission.sweep()
        assert scenario.closed == []
        scenario.admission.use(replace(scenario.admission._config, limits=Limits(max_transactions=1)))
        scenario.admission.sweep()
        assert scenario.closed == [("198.18.1.1", TIMEOUT)]
