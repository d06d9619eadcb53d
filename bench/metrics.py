# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counting the events of one message costs: our rows in shared memory, and prometheus_client's files.

The events are those of a message to one recipient. prometheus_client runs in its multiprocess mode, with the same
metrics, and children of labels that are looked up once. Prints function calls and microseconds for each message.

python3 -m bench.metrics [--messages 20000]
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from bench.rootfs import CACHE
from lab.tools import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "roles/gateway/files"))

from mailgate.metrics.memory import MetricMemory
from mailgate.metrics.recorder import Recorder
from mailgate.metrics.series import BYTES, SECONDS
from mailgate.smtp.reply import Reply

EVENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("recipient", {"verified": "server"}),
    ("delivered", {"seconds": 0.004}),
    ("message", {"reply": Reply.of(250, "2.0.0 OK"), "queued": None, "size": 4096, "seconds": 0.012}),
    ("connection", {}),
)
STAGES = (("verify", 0.002), ("scan", 0.006))


def shared_rows() -> Callable[[], None]:
    """Return what counts one message in shared memory."""
    recorder = Recorder(MetricMemory(3), 0)

    def count() -> None:
        for event, fields in EVENTS:
            recorder.record(event, fields)
        for stage, seconds in STAGES:
            recorder.observe(stage, seconds)

    return count


def client_files(directory: str) -> Callable[[], None]:
    """Return what counts one message with prometheus_client, in files of a directory."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    # It reads the directory when it is imported.
    from prometheus_client import CollectorRegistry, Counter, Histogram  # noqa: PLC0415

    registry = CollectorRegistry()

    def counter(name: str, **labels: str) -> Any:
        return Counter(name, name, list(labels), registry=registry).labels(**labels)

    stages = Histogram("stage_seconds", "duration", ["stage"], buckets=SECONDS, registry=registry)
    stage = {name: stages.labels(stage=name) for name in ("verify", "scan", "delivery", "message")}
    sizes = Histogram("message_size_bytes", "size", buckets=BYTES, registry=registry)
    messages = counter("messages", outcome="accepted")
    recipients = counter("recipients", verified="server")
    deliveries = counter("deliveries", target="server", outcome="accepted")
    connections = counter("connections", outcome="served")
    kinds = Counter("events", "events", ["event"], registry=registry)
    events = [kinds.labels(event=name) for name, _fields in EVENTS]

    def count() -> None:
        for each in (*events, messages, recipients, deliveries, connections):
            each.inc()
        sizes.observe(4096)
        for name, seconds in (*STAGES, ("delivery", 0.004), ("message", 0.012)):
            stage[name].observe(seconds)

    return count


def measure(count: Callable[[], None], messages: int) -> dict[str, float]:
    """Return calls and microseconds of one message, the least of five batches."""
    profiler = cProfile.Profile()
    count()
    profiler.enable()
    for _ in range(100):
        count()
    profiler.disable()
    calls = pstats.Stats(profiler).total_calls / 100 - 1  # type: ignore[attr-defined]
    times = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(messages // 5):
            count()
        times.append((time.perf_counter() - began) / (messages // 5))
    return {"calls": round(calls), "microseconds": round(min(times) * 1e6, 2)}


def main() -> None:
    """Measure both, print, write as JSON."""
    parser = argparse.ArgumentParser(prog="bench.metrics", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=20_000)
    options = parser.parse_args()
    results = {"shared_rows": measure(shared_rows(), options.messages)}
    with tempfile.TemporaryDirectory(prefix="metrics") as directory:
        results["client_files"] = measure(client_files(directory), options.messages)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "metrics.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
