# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this gateway works, for monitoring and load balancers."""

from __future__ import annotations

import json
from http import HTTPStatus

from mailgate.commands.status import state_check
from mailgate.config import Config
from mailgate.exporter.http_server import Answer
from mailgate.exporter.probes import Cached, queue_problem, read_scanners
from mailgate.worker_counters import SharedCounters

# A worker without a heartbeat for this long hangs, and the supervisor kills it.
HEARTBEAT_SECONDS = 30
# Load balancers may ask every second.
KEEP_SECONDS = 5.0
CHECKS = ("listening", "draining", "scanner", "queue", "state_directory")


class Health:
    """Checks of one gateway."""

    def __init__(self, config: Config, shared: SharedCounters) -> None:
        self._config = config
        self._shared = shared
        self.scanners = Cached(lambda: read_scanners(config), KEEP_SECONDS)
        self._queue = Cached(lambda: queue_problem(config.queue), KEEP_SECONDS)

    @property
    def alive(self) -> int:
        """Number of workers with a heartbeat."""
        shared = self._shared
        return sum(
            bool(shared.metrics.processes[number]) and shared.seconds_since_heartbeat(number) <= HEARTBEAT_SECONDS
            for number in range(shared.workers)
        )

    @property
    def draining(self) -> bool:
        """Whether the service stops."""
        return bool(self._shared.metrics.draining[0])

    def not_ready(self) -> dict[str, str]:
        """Return by check why this gateway takes no mail now; asks no other server."""
        found = {}
        if self.draining:
            found["draining"] = "the service stops"
        if not self.alive:
            found["listening"] = "no worker runs"
        return found

    def problems(self) -> dict[str, str]:
        """Return by check what is wrong."""
        found = self.not_ready()
        scanners = self.scanners.get()
        if not any(each.up for each in scanners):
            found["scanner"] = "; ".join(f"{each.socket}: {each.problem}" for each in scanners)
        if problem := self._queue.get():
            found["queue"] = f"{self._config.queue}: {problem}"
        state = state_check(self._config.state_dir)
        if not state.ok:
            found["state_directory"] = state.detail
        return found

    def health_page(self, _accept: str) -> Answer:
        """Answer 200, or 503 if anything is wrong, with a line of JSON."""
        return _page("healthy", self.problems())

    def ready_page(self, _accept: str) -> Answer:
        """Answer 200, or 503 if no new connection should come here, with a line of JSON."""
        return _page("ready", self.not_ready())


def _page(name: str, problems: dict[str, str]) -> Answer:
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    line = json.dumps({name: not problems, "problems": problems}) + "\n"
    return Answer(status, "application/json", line.encode())
