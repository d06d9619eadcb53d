# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the exporter reads besides the counters, also of state that is damaged or gone."""

from __future__ import annotations

import os
import socket
import threading
import time
from calendar import timegm
from pathlib import Path

import pytest
from scrape import parse

from mailgate.config import Config, Endpoint, Scan
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.exporter import probes
from mailgate.exporter.collector import GatewayCollector, metrics_page
from mailgate.exporter.health import CHECKS, Health
from mailgate.exporter.probes import Cached
from mailgate.metric_settings import MetricSettings
from mailgate.metrics.series import COUNTED, READ, Type, full_name
from mailgate.routes import parse_routes
from mailgate.worker_counters import SharedCounters, WorkerCounters

NOW = timegm((2026, 11, 30, 12, 0, 0))


class TestQueue:
    @pytest.mark.parametrize(
        ("name", "moment"),
        [
            # Year 126 modulo 60 is 6, November is A.
            ("qf6AUB1T9v012345", (2026, 11, 30, 11, 1, 29)),
            ("Qf5010050012345", (2025, 1, 1, 0, 0, 5)),
            ("qf7010050012345", (1967, 1, 1, 0, 0, 5)),
        ],
    )
    def test_names_of_files_say_when(self, name, moment):
        assert probes.queued_at(name, NOW) == timegm(moment)

    @pytest.mark.parametrize("name", ["df6AUB1T9v012345", "qf", "qf6AUB1T", "xf6AUB1T9v012345", "qf6CUB1T9v012345"])
    def test_other_files(self, name):
        assert probes.queued_at(name, NOW) is None

    def test_directory(self, tmp_path):
        for name in ("qf5010050012345", "df5010050012345", "qd1/qf5010060012345", "qd2/qf/qf5010070012345", "lost"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        assert probes.read_queue(str(tmp_path)) == (3, timegm((2025, 1, 1, 0, 0, 5)))

    def test_empty(self, tmp_path):
        assert probes.read_queue(str(tmp_path)) == (0, None)

    def test_greeting(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            endpoint = Endpoint("127.0.0.1", server.getsockname()[1])

            def greet() -> None:
                for text in (b"220 ready\r\n", b"554 no\r\n", b""):
                    connection, _address = server.accept()
                    with connection:
                        connection.sendall(text)

            thread = threading.Thread(target=greet)
            thread.start()
            assert [probes.queue_problem(endpoint) for _ in range(3)] == ["", "554 no", "no greeting"]
            thread.join()
        assert "refused" in probes.queue_problem(endpoint)


class TestCached:
    def test_values_and_errors_are_kept(self):
        now, answers = [0.0], [1, OSError("gone"), 2]

        def read() -> int:
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        cached = Cached(read, 30, lambda: now[0])
        assert [cached.get(), cached.get()] == [1, 1]
        now[0] = 30
        for _ in range(2):
            with pytest.raises(OSError, match="gone"):
                cached.get()
        now[0] = 60
        assert cached.get() == 2


def test_process():
    found = probes.read_process(os.getpid())
    assert found
    assert found.memory > 1_000_000
    assert found.files >= 3
    assert 0 < found.cpu <= time.process_time() + 1
    assert probes.read_process(2**22 + 1) is None


def collector(state: Path, **changes: object) -> GatewayCollector:
    config = Config(
        hostname="gw1.univ.example",
        routes_file=state / "routes",
        state_dir=state,
        queue=Endpoint("127.0.0.1", 1),
        **{"scan": Scan(socket=f"{state}/clamd"), "metrics": MetricSettings(queue_directory=str(state)), **changes},
    )
    shared = SharedCounters(2)
    WorkerCounters(shared).heartbeat()
    shared.metrics.processes[0] = os.getpid()
    routes = parse_routes("a.example\t198.18.0.1\n")
    return GatewayCollector(config, routes, shared, Health(config, shared), os.getpid())


def scrape(found: GatewayCollector) -> dict[tuple[str, tuple[str, ...]], float]:
    return parse(metrics_page(found)("").body.decode())


class TestCollector:
    def test_every_declared_metric_is_there(self, tmp_path):
        (tmp_path / "qf5010050012345").touch()
        VerificationCache(tmp_path, known_seconds=1, unknown_seconds=1).close()
        families = {family.name: family for family in collector(tmp_path).collect()}
        expected = {full_name(name).removesuffix("_total"): name for name in (*COUNTED, *READ)}
        # The rest needs a shared store.
        assert set(expected) - set(families) == {"mailgate_shared_store_up"}
        assert set(families) <= set(expected)
        for name, family in families.items():
            series = COUNTED.get(expected[name]) or READ[expected[name]]
            assert (family.type, family.documentation) == (series.type.value, series.help)
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(series.labels), name

    def test_a_new_gateway(self, tmp_path):
        found = scrape(collector(tmp_path))
        assert found["mailgate_workers_alive", ()] == 1
        assert found["mailgate_ready", ()] == 1
        assert found["mailgate_queue_messages", ()] == 0
        assert ("mailgate_queue_oldest_timestamp_seconds", ()) not in found
        assert found["mailgate_scanner_up", (f"{tmp_path}/clamd",)] == 0
        assert found["mailgate_healthy", ("scanner",)] == 0
        assert found["mailgate_healthy", ("state_directory",)] == 1

    def test_damaged_and_missing_state_is_named_once(self, tmp_path, caplog):
        for name in ("bans.sqlite", "greylist.sqlite", "recipients.sqlite"):
            (tmp_path / name).write_bytes(b"nonsense" * 1000)
        (tmp_path / "quarantine").touch()
        (tmp_path / "events").touch()
        number = collector(tmp_path, metrics=MetricSettings(queue_directory=f"{tmp_path}/gone"))
        for _ in range(2):
            found = scrape(number)
        failed = {
            labels[0] for (name, labels), value in found.items() if name == "mailgate_probe_success" and not value
        }
        assert failed == {"bans", "greylist", "verification_cache", "quarantine", "event_files", "queue"}
        assert ("mailgate_bans", ()) not in found
        assert len(caplog.records) == len(failed)
        assert not any(record.exc_info for record in caplog.records)

    def test_a_state_directory_that_is_gone(self, tmp_path):
        found = scrape(collector(tmp_path / "gone"))
        assert found["mailgate_probe_success", ("state",)] == 0
        assert found["mailgate_healthy", ("state_directory",)] == 0
        assert found["mailgate_messages_total", ("accepted",)] == 0

    def test_draining(self, tmp_path):
        number = collector(tmp_path)
        number._shared.metrics.draining[0] = 1
        found = scrape(number)
        assert (found["mailgate_ready", ()], found["mailgate_healthy", ("draining",)]) == (0, 0)

    def test_all_checks_are_known(self, tmp_path):
        assert {labels[0] for (name, labels) in scrape(collector(tmp_path)) if name == "mailgate_healthy"} == {*CHECKS}

    def test_counters_are_declared_as_such(self):
        assert all(series.type is not Type.GAUGE for series in COUNTED.values())
