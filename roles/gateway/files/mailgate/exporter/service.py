# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter's process: serves until it is told to stop, or its supervisor has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Sequence

from mailgate.config import Config
from mailgate.exporter.collector import GatewayCollector, metrics_page
from mailgate.exporter.health import Health
from mailgate.exporter.http_server import Server
from mailgate.routes import Routes
from mailgate.worker_counters import SharedCounters

NICE = 5


def main(
    config: Config, routes: Routes, shared: SharedCounters, sockets: Sequence[socket.socket], supervisor: int
) -> None:
    """Serve on listening sockets in this process, a child of `supervisor` (process ID)."""
    stopped = False

    def stop(*_signal: object) -> None:
        nonlocal stopped
        stopped = True

    # Before the signals are unblocked: systemd sends some of them to all processes of the service.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, stop)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(OSError):
        # Mail first.
        os.nice(NICE)
    health = Health(config, shared)
    pages = {
        "/metrics": metrics_page(GatewayCollector(config, routes, shared, health, supervisor)),
        "/health": health.health_page,
        "/ready": health.ready_page,
    }
    Server(sockets, pages).run(lambda: stopped or os.getppid() != supervisor)
