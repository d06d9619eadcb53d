# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor's part of the exporter: addresses that cannot be used, and an exporter that ends at once."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from mailgate.config import Config, Endpoint
from mailgate.metric_settings import MetricSettings
from mailgate.process import exporter_process
from mailgate.process.exporter_process import MAX_RETRY_SECONDS, ExporterProcess
from mailgate.routes import parse_routes
from mailgate.worker_counters import SharedCounters

FIRST, SECOND = Endpoint("127.0.0.1", 9812), Endpoint("127.0.0.1", 9813)


class Host:
    """Processes and addresses of a host, and its clock.

    Attributes:
        running: Process IDs.
        started: Number of exporters that were started.
        unusable: Addresses that are in use by others.
        now: Seconds.
    """

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.stopped: list[int] = []
        self.started = 0
        self.unusable: set[Endpoint] = set()
        self.now = 1000.0

    def fork(self) -> int:
        self.started += 1
        self.running.add(self.started)
        return self.started

    def listen(self, endpoint: Endpoint) -> socket.socket:
        if endpoint in self.unusable:
            raise OSError("in use")
        return socket.socket()

    def waitpid(self, process: int, _options: int = 0) -> tuple[int, int]:
        return (0, 0) if process in self.running else (process, 1)

    def kill(self, process: int, _number: int) -> None:
        self.running.discard(process)
        self.stopped.append(process)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def host(monkeypatch):
    found = Host()
    for name in ("fork", "waitpid", "kill"):
        monkeypatch.setattr(exporter_process.os, name, getattr(found, name))
    monkeypatch.setattr(exporter_process.time, "monotonic", found.monotonic)
    return found


@pytest.fixture
def exporter(host):
    made = ExporterProcess(SharedCounters(), host.listen, lambda: None)
    yield made
    made.close_sockets()


def use(exporter: ExporterProcess, *listen: Endpoint) -> None:
    config = Config(hostname="g.example", routes_file=Path("/r"))
    exporter.use(replace(config, metrics=MetricSettings(listen=listen)), parse_routes("a.example\t198.18.0.1\n"))


def test_without_an_address_nothing_runs(host, exporter):
    use(exporter)
    exporter.check()
    assert host.started == 0


def test_a_reload_replaces_it(host, exporter):
    use(exporter, FIRST)
    assert host.running == {1}
    use(exporter, FIRST)
    assert (host.running, host.stopped) == ({2}, [1])
    use(exporter)
    assert host.running == set()
    host.now += 100
    exporter.check()
    assert host.started == 2


def test_an_address_that_is_in_use_is_tried_again(host, exporter, caplog):
    host.unusable = {FIRST, SECOND}
    use(exporter, FIRST, SECOND)
    for _ in range(10):
        host.now += 2
        exporter.check()
    assert host.started == 0
    assert len(caplog.records) == 1
    host.unusable = {SECOND}
    host.now += 2
    exporter.check()
    assert host.running == {1}, "one address is enough"
    host.unusable = set()
    host.now += 2
    exporter.check()
    assert host.running == {2}, "it serves both now"
    host.now += 100
    exporter.check()
    assert caplog.records[-1].message.startswith("cannot serve metrics: works again")


def test_one_that_always_ends_is_started_less_and_less_often(host, exporter, caplog):
    use(exporter, FIRST)
    for _second in range(3600):
        host.running.clear()
        host.now += 1
        exporter.check()
    assert 3600 / MAX_RETRY_SECONDS < host.started < 150
    assert len(caplog.records) < 10
    host.now += 1000
    started = host.started
    exporter.check()
    assert host.started == started + 1
    host.now += 1000
    host.running.clear()
    exporter.check()
    host.now += 2
    exporter.check()
    assert host.started == started + 2, "after a long time, at once again"


def test_stop(host, exporter):
    use(exporter, FIRST)
    exporter.stop()
    assert host.running == set()
