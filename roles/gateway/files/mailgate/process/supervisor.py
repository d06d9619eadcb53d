# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as a whole: listening sockets, the workers that share them, and their supervisor.

A worker that dies is replaced at once; one that gives no sign of life is killed. Sockets belong to the supervisor, so
that no connection is refused meanwhile.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from mailgate.config import ConfigError, Endpoint
from mailgate.config_file import load
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.events import Counters, Events
from mailgate.process import systemd
from mailgate.routes import RoutesError
from mailgate.worker_counters import SharedCounters, WorkerCounters

log = logging.getLogger("mailgate")

BACKLOG = 256
MOST_WORKERS_BY_ITSELF = 8
# A worker that has not come round to its chores for so long hangs.
SILENT_SECONDS = 30
READY_SECONDS = 20
AGAIN_SECONDS = 1
_SIGNALS = frozenset({signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


class StartError(Exception):
    """The service cannot start; the message says what, where, and how to mend it."""


def listening_socket(endpoint: Endpoint) -> socket.socket:
    """A socket that listens; raises StartError."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((endpoint.host, endpoint.port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise StartError(f"listen: {endpoint}: {error.strerror or error}") from error
    return sock


@dataclass
class _WorkerSlot:
    """A worker's number, its process (0: none), when that was started, and when another may be."""

    number: int
    process: int = 0
    started: float = 0.0
    again_at: float = 0.0


class Service:
    """Supervises: HUP loads settings and routes again, TERM and INT end it."""

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path
        self._config, self._routes = load(config_path)
        try:
            # Here rather than in each worker, so that a wrong place is told at once.
            Counters(self._config.state_dir).close()
            VerificationCache(self._config.state_dir, known_seconds=1 << 40, unknown_seconds=1 << 40).close()
        except sqlite3.Error as error:
            raise StartError(f"{self._config.state_dir}: state cannot be kept there: {error}") from error
        self._workers = self._config.workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS_BY_ITSELF)
        self._events = Events(None)
        self._generation = 1
        self._sockets: list[socket.socket] = []
        self._shared = SharedCounters(self._workers)
        self._slots = [_WorkerSlot(number) for number in range(self._workers)]

    def run(self) -> None:
        """Serve until told to stop."""
        self._sockets = [listening_socket(endpoint) for endpoint in self._config.listen]
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        # Its other end is held by this process alone: when that is gone, the workers see it.
        self._alive, alive_here = os.pipe()
        # What is there before the fork is not to be copied by the garbage collector's marks.
        gc.collect()
        gc.freeze()
        for place in self._slots:
            self._start(place, alive_here)
        if not self._wait_for_workers(READY_SECONDS, all_alive=True):
            self._kill()
            raise StartError("a worker ended at its start; its last words are above")
        systemd.notify(f"READY=1\nSTATUS={self._status()}")
        self._events.emit(
            "started", routes=len(self._routes), workers=self._workers, listen=[str(e) for e in self._config.listen]
        )
        pause = min(systemd.watchdog_seconds() or 1.0, 1.0)
        while True:
            told = signal.sigtimedwait(_SIGNALS, pause)
            if told and told.si_signo in (signal.SIGTERM, signal.SIGINT):
                break
            if told and told.si_signo == signal.SIGHUP:
                self._reload()
            self._look_after(alive_here)
            systemd.notify("WATCHDOG=1")
        self._stop()

    def _status(self) -> str:
        return f"{len(self._routes)} routes, {self._workers} workers"

    # Workers

    def _start(self, place: _WorkerSlot, alive_here: int) -> None:
        # Not at the top: workers need what this module has.
        from mailgate.process import worker  # noqa: PLC0415

        self._shared.clear(place.number)
        worker_counters = WorkerCounters(self._shared, place.number)
        worker_counters.alive()
        place.started = time.monotonic()
        place.process = os.fork()
        if place.process:
            return
        status = 1
        try:
            os.close(alive_here)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            worker.main(
                self._config_path,
                self._config,
                self._routes,
                worker_counters,
                self._sockets,
                generation=self._generation,
                supervisor=self._alive,
            )
            status = 0
        except BaseException:
            log.exception("worker")
        finally:
            # Not the supervisor's own way out.
            os._exit(status)

    def _look_after(self, alive_here: int) -> None:
        """Replace workers that died, and end those that hang."""
        self._reap()
        now = time.monotonic()
        for place in self._slots:
            if not place.process and now >= place.again_at:
                self._start(place, alive_here)
            elif place.process and self._shared.silent_seconds(place.number) > SILENT_SECONDS:
                self._events.emit("worker_hangs", worker=place.process)
                os.kill(place.process, signal.SIGKILL)
                # Not again before it is buried.
                WorkerCounters(self._shared, place.number).alive()

    def _reap(self) -> None:
        """Take note of workers that have ended."""
        for place in self._slots:
            if not place.process:
                continue
            process, status = os.waitpid(place.process, os.WNOHANG)
            if process:
                self._events.emit("worker_ended", worker=process, status=os.waitstatus_to_exitcode(status))
                now = time.monotonic()
                place.process = 0
                # One that cannot even start is not tried without end at full speed.
                place.again_at = now + (AGAIN_SECONDS if now - place.started < AGAIN_SECONDS else 0)
                self._shared.clear(place.number)

    def _wait_for_workers(self, seconds: float, *, all_alive: bool = False) -> bool:
        """Wait until every worker has come to this generation; False if one has died and `all_alive`, or it is late."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._reap()
            living = [place for place in self._slots if place.process]
            if all_alive and len(living) < len(self._slots):
                return False
            if all(self._shared.generation(place.number) >= self._generation for place in living):
                return True
            time.sleep(0.005)
        return False

    def _tell(self, number: int) -> None:
        for place in self._slots:
            if place.process:
                os.kill(place.process, number)

    # Reload and stop

    def _reload(self) -> None:
        """Load settings and routes again; with any problem in them the old ones stay."""
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config, routes = load(self._config_path)
        except (ConfigError, RoutesError) as error:
            self._events.emit("reload_refused", problems=error.problems)
            systemd.notify("READY=1\nSTATUS=settings refused, running with the previous ones")
            return
        old = self._config
        if (config.listen, config.state_dir, config.workers) != (old.listen, old.state_dir, old.workers):
            self._events.emit("restart_needed", reason="listen, state_dir or workers changed")
        self._config, self._routes = config, routes
        self._generation += 1
        self._tell(signal.SIGHUP)
        self._wait_for_workers(READY_SECONDS)
        self._events.emit("reloaded", routes=len(routes))
        systemd.notify(f"READY=1\nSTATUS={self._status()}")

    def _stop(self) -> None:
        """Let the workers finish what they have begun."""
        for sock in self._sockets:
            sock.close()
        self._generation += 1
        self._tell(signal.SIGTERM)
        # Then none of them listens any more.
        self._wait_for_workers(2)
        systemd.notify("STOPPING=1")
        until = time.monotonic() + self._config.timeouts.drain + 5
        while any(place.process for place in self._slots) and time.monotonic() < until:
            self._reap()
            systemd.notify("WATCHDOG=1")
            time.sleep(0.02)
        self._kill()
        self._events.emit("stopped")

    def _kill(self) -> None:
        self._tell(signal.SIGKILL)
        for place in self._slots:
            if place.process:
                os.waitpid(place.process, 0)
                place.process = 0
