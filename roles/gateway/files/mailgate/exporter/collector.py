# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All metrics as families of prometheus_client: sums of the workers' rows, and what is read now."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mailgate import __version__
from mailgate.config import Config
from mailgate.exporter import probes
from mailgate.exporter.health import CHECKS, Health
from mailgate.exporter.http_server import Answer
from mailgate.failure_log import FailureLog
from mailgate.metrics.memory import Labels
from mailgate.metrics.series import COUNTED, PREFIX, READ, Type
from mailgate.routes import Routes
from mailgate.worker_counters import SharedCounters, WorkerCounters

# How long values are kept whose reading takes some work.
KEEP_SECONDS = 30.0
Values = Mapping[str, float | Mapping[Labels, float]]


class GatewayCollector(Collector):
    """The metrics of one gateway.

    Args:
        config: The settings.
        routes: The delivery table.
        shared: Memory of the workers.
        health: Checks of the gateway.
        supervisor: Process ID.
    """

    def __init__(self, config: Config, routes: Routes, shared: SharedCounters, health: Health, supervisor: int) -> None:
        self._config = config
        self._routes = routes
        self._shared = shared
        self._health = health
        self._supervisor = supervisor
        self._sums = WorkerCounters(shared)
        self._failures = {name: FailureLog(f"metrics: {name}") for name in self._probes()}
        self._cached: dict[str, probes.Cached[Any]] = {
            name: probes.Cached(read, seconds) for name, (read, seconds, _values) in self._probes().items()
        }

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        for name in COUNTED:
            yield self._counted(name)
        success: dict[Labels, float] = {}
        found = dict(self._always())
        for name, (_read, _seconds, values) in self._probes().items():
            try:
                found |= values(self._cached[name].get())
                success[name,] = 1
                self._failures[name].worked()
            except probes.ERRORS as error:
                success[name,] = 0
                self._failures[name].failed(error)
        found["probe_success"] = success
        for name in READ:
            if name in found:
                yield _family(name, found[name])

    def _counted(self, name: str) -> Metric:
        series = COUNTED[name]
        if series.type is Type.COUNTER:
            return _family(name, self._shared.metrics.totals(name))
        family = HistogramMetricFamily(PREFIX + name, series.help, labels=tuple(series.labels))
        bounds = [*(str(bound) for bound in series.bounds), "+Inf"]
        for labels, counts, total in self._shared.metrics.histogram(name):
            family.add_metric(labels, list(zip(bounds, counts, strict=True)), total)
        return family

    def _always(self) -> Iterator[tuple[str, float | Mapping[Labels, float]]]:
        """Yield what can always be read."""
        limits = self._config.limits
        problems = self._health.problems()
        yield "build_info", {(__version__, platform.python_version()): 1}
        yield "ready", not self._health.not_ready()
        yield "healthy", {(check,): check not in problems for check in CHECKS}
        yield "workers", self._shared.workers
        yield "workers_alive", self._health.alive
        yield "routes", len(self._routes)
        yield "current_connections", self._sums.connections
        yield "current_connections_limit", limits.max_connections
        yield "current_transactions", self._sums.transactions
        yield "current_transactions_limit", limits.max_transactions
        yield "current_message_bytes", self._sums.message_bytes
        yield "current_message_bytes_limit", limits.max_bytes_in_flight
        yield "quarantine_limit_bytes", self._config.quarantine.max_bytes
        yield from self._processes()
        scanners = self._health.scanners.get()
        yield "scanner_up", {(each.socket,): each.up for each in scanners}
        yield (
            "scanner_signature_timestamp_seconds",
            {(each.socket,): each.signatures for each in scanners if each.signatures is not None},
        )

    def _processes(self) -> Iterator[tuple[str, Mapping[Labels, float]]]:
        numbered = list(self._shared.metrics.processes)[: self._shared.workers]
        pids = {"supervisor": self._supervisor, "exporter": os.getpid()}
        pids |= {f"worker-{number}": pid for number, pid in enumerate(numbered) if pid}
        found = {(name,): process for name, pid in pids.items() if (process := probes.read_process(pid))}
        yield "process_cpu_seconds", {labels: each.cpu for labels, each in found.items()}
        yield "process_resident_memory_bytes", {labels: each.memory for labels, each in found.items()}
        yield "process_open_fds", {labels: each.files for labels, each in found.items() if each.files is not None}

    def _probes(self) -> dict[str, tuple[Callable[[], Any], float, Callable[[Any], Values]]]:
        """Return by name what is read, for how many seconds it is kept, and the metrics that it gives."""
        config = self._config
        found: dict[str, tuple[Callable[[], Any], float, Callable[[Any], Values]]] = {
            "quarantine": (
                lambda: probes.read_quarantine(config),
                KEEP_SECONDS,
                lambda value: {"quarantine_messages": value[0], "quarantine_bytes": value[1]},
            ),
            "bans": (lambda: probes.read_bans(config), KEEP_SECONDS, lambda value: {"bans": value}),
            "greylist": (
                lambda: probes.read_greylist(config),
                KEEP_SECONDS,
                lambda value: {"greylist_senders": {("waiting",): value[0], ("passed",): value[1]}},
            ),
            "verification_cache": (
                lambda: probes.read_cache(config),
                KEEP_SECONDS,
                lambda value: {
                    "verification_cache_entries": {
                        ("known",): value[0],
                        ("unknown",): value[1],
                        ("catch_all",): value[2],
                    }
                },
            ),
            "state": (
                lambda: probes.read_space(config),
                0.0,
                lambda value: {"state_free_bytes": value[0], "state_size_bytes": value[1]},
            ),
        }
        if config.metrics.queue_directory:
            found["queue"] = (lambda: probes.read_queue(config.metrics.queue_directory), KEEP_SECONDS, _queue_values)
        if config.events.max_bytes:
            found["event_files"] = (
                lambda: probes.read_event_files(config),
                KEEP_SECONDS,
                lambda value: {"event_files_bytes": value[0], "event_files_unindexed_bytes": value[1]},
            )
        if config.shared_state.server:
            found["shared_store"] = (
                lambda: probes.read_shared_store(config),
                KEEP_SECONDS,
                lambda value: {"shared_store_up": value},
            )
        return found


def _queue_values(value: tuple[int, float | None]) -> Values:
    number, oldest = value
    return {"queue_messages": number} | ({} if oldest is None else {"queue_oldest_timestamp_seconds": oldest})


def _family(name: str, values: float | Mapping[Labels, float]) -> Metric:
    series = COUNTED.get(name) or READ[name]
    family = (CounterMetricFamily if series.type is Type.COUNTER else GaugeMetricFamily)(
        PREFIX + name, series.help, labels=tuple(series.labels)
    )
    for labels, value in values.items() if isinstance(values, Mapping) else [((), values)]:
        family.add_metric(labels, value)
    return family


def metrics_page(collector: Collector) -> Callable[[str], Answer]:
    """Return the page with all metrics, in the format that the client accepts."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)

    def page(accept: str) -> Answer:
        encode, content_type = choose_encoder(accept)
        return Answer(HTTPStatus.OK, content_type, encode(registry))

    return page
