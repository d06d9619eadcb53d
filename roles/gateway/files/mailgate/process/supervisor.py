# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Supervisor of the service: owns the listening sockets and the workers that share them.

It replaces workers that exit and kills workers without a heartbeat. Because it holds the sockets open, connections wait
in the backlog meanwhile and are not refused.
"""

from __future__ import annotations

import errno
import gc
import logging
import math
import os
import signal
import socket
import time
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from mailgate import removed_routes, systemd
from mailgate.config import ConfigError, Endpoint
from mailgate.config_file import load
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.event_loop import find_loop
from mailgate.event_spool import Spool
from mailgate.events import Counters, Events
from mailgate.failure_log import FailureLog
from mailgate.metrics.recorder import Recorder
from mailgate.process import worker
from mailgate.process.exporter_process import ExporterProcess
from mailgate.routes import RoutesError
from mailgate.state import RETRY_SECONDS
from mailgate.worker_counters import SharedCounters, WorkerCounters

log = logging.getLogger("mailgate")

# Connections that wait to be accepted, as many as Linux allows by default (net.core.somaxconn). The kernel drops what
# exceeds it without a word, and a client that waits for our greeting notices late.
BACKLOG = 4096
# A client that has vanished is noticed after two minutes, also while it waits for us. Accepted sockets inherit this.
KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4}
# Upper bound for `workers = 0`.
MAX_DEFAULT_WORKERS = 8
# A worker without a heartbeat for this long hangs.
HEARTBEAT_SECONDS = 30
READY_SECONDS = 20
# New container objects between two searches of the garbage collector, and searches between two of older objects.
GC_THRESHOLDS = (5_000, 20, 20)
# Pause before a worker that failed this soon after its start is started again.
BACKOFF_SECONDS = 1
# Removed domains that an event lists.
MAX_DOMAINS = 100
# Settings that a reload does not change.
_at_start = attrgetter("listen", "state_dir", "workers", "event_loop")
_SIGNALS = frozenset({signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


class StartError(Exception):
    """The service cannot start; the message says what is wrong and where."""


def listening_socket(endpoint: Endpoint) -> socket.socket:
    """Return a listening socket; raise StartError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.bind((endpoint.host, endpoint.port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise StartError(f"listen: {endpoint}: {error.strerror or error}") from error
    return sock


def _require_directory(path: Path) -> None:
    """Raise StartError if a state directory cannot be used by its rights; one without room, or read-only, can."""
    try:
        read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
        os.listdir(path)  # noqa: PTH208
    except OSError as error:
        raise StartError(f"{path}: cannot use the state directory: {error.strerror or error}") from error
    if not read_only and not os.access(path, os.W_OK | os.X_OK):
        raise StartError(f"{path}: cannot write state files: {os.strerror(errno.EACCES)}")


@dataclass
class _WorkerSlot:
    """One worker: its number and process ID (0: not running), its start, and the earliest time of the next start."""

    number: int
    process: int = 0
    started: float = 0.0
    restart_at: float = 0.0


class Service:
    """The service: HUP reloads settings and routes, TERM and INT stop it."""

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path
        self._config, self._routes = load(config_path, warn=log.warning)
        _require_directory(self._config.state_dir)
        # Here and not in each worker at the same time. A full disk, or a damaged file, does not keep mail out.
        Counters(self._config.state_dir).close()
        VerificationCache(self._config.state_dir, known_seconds=1 << 40, unknown_seconds=1 << 40).close()
        self._unrecorded = FailureLog("cannot record the delivery table")
        self._record_at = math.inf
        self._events = Events(None)
        self._keep_events()
        self._compare_routes()
        self._loop_name = ""
        self._workers = self._config.workers or min(len(os.sched_getaffinity(0)), MAX_DEFAULT_WORKERS)
        self._generation = 1
        self._sockets: list[socket.socket] = []
        self._shared = SharedCounters(self._workers)
        self._slots = [_WorkerSlot(number) for number in range(self._workers)]
        self._recorder = Recorder(self._shared.metrics, self._workers)
        self._exporter = ExporterProcess(self._shared, listening_socket, self._close_own)
        self._use_metrics()

    def run(self) -> None:
        """Serve until a stop is signalled."""
        self._sockets = [listening_socket(endpoint) for endpoint in self._config.listen]
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        # Only this process holds the write end, so workers get end-of-file when it exits.
        self._alive, self._write_end = os.pipe()
        # Loaded here, so that the workers share its memory.
        _factory, self._loop_name = find_loop(self._config.event_loop)
        # Keep the garbage collector from writing to memory that the workers share.
        gc.collect()
        gc.freeze()
        # Few objects of a message are in cycles; at the default thresholds, the search for them takes 3 % of the time.
        gc.set_threshold(*GC_THRESHOLDS)
        for slot in self._slots:
            self._start(slot)
        if not self._wait_for_workers(READY_SECONDS, all_alive=True):
            self._kill()
            raise StartError("a worker exited during startup; see its log output above")
        self._exporter.use(self._config, self._routes)
        systemd.notify(f"READY=1\nSTATUS={self._status()}")
        self._events.emit(
            "started",
            routes=len(self._routes),
            workers=self._workers,
            listen=[str(e) for e in self._config.listen],
            event_loop=self._loop_name,
        )
        pause = min(systemd.watchdog_seconds() or 1.0, 1.0)
        while True:
            received = signal.sigtimedwait(_SIGNALS, pause)
            if received and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                break
            if received and received.si_signo == signal.SIGHUP:
                self._reload()
            if time.monotonic() >= self._record_at:
                self._compare_routes()
            self._check_workers()
            self._exporter.check()
            systemd.notify("WATCHDOG=1")
        self._stop()

    def _compare_routes(self) -> None:
        """Record which domains have left the delivery table, for the workers."""
        config = self._config
        try:
            removed = removed_routes.update(config.state_dir, self._routes, config.cache.removed_route_hours * 3600)
        except OSError as error:
            # The workers compare the tables themselves, as long as the one before is recorded.
            self._unrecorded.failed(error)
            self._record_at = time.monotonic() + RETRY_SECONDS
            return
        self._unrecorded.worked()
        self._record_at = math.inf
        if removed:
            self._events.emit("routes_removed", number=len(removed), domains=removed[:MAX_DOMAINS])

    def _keep_events(self) -> None:
        """Write the supervisor's events to the files too; they have no addresses."""
        settings = self._config.events
        self._events.keep_in(
            Spool(self._config.state_dir, settings.max_bytes, settings.days) if settings.max_bytes else None
        )

    def _use_metrics(self) -> None:
        self._events.metrics = self._recorder if self._config.metrics.listen else None

    def _close_own(self) -> None:
        """Close, in the exporter, what it must not hold open."""
        os.close(self._write_end)
        os.close(self._alive)
        for sock in self._sockets:
            sock.close()

    def _status(self) -> str:
        return f"{len(self._routes)} routes, {self._workers} workers, {self._loop_name}"

    # Workers

    def _start(self, slot: _WorkerSlot) -> None:
        self._shared.clear(slot.number)
        worker_counters = WorkerCounters(self._shared, slot.number)
        worker_counters.heartbeat()
        slot.started = time.monotonic()
        slot.process = os.fork()
        if slot.process:
            self._shared.metrics.processes[slot.number] = slot.process
            return
        status = 1
        try:
            os.close(self._write_end)
            self._exporter.close_sockets()
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
            # Skip the exit handlers of the supervisor.
            os._exit(status)

    def _check_workers(self) -> None:
        """Replace workers that exited and kill those that hang."""
        self._reap()
        now = time.monotonic()
        for slot in self._slots:
            if not slot.process and now >= slot.restart_at:
                self._start(slot)
            elif slot.process and self._shared.seconds_since_heartbeat(slot.number) > HEARTBEAT_SECONDS:
                self._events.emit("worker_hangs", worker=slot.process)
                os.kill(slot.process, signal.SIGKILL)
                # Do not report it again before it is reaped.
                WorkerCounters(self._shared, slot.number).heartbeat()

    def _reap(self) -> None:
        """Reap exited workers."""
        for slot in self._slots:
            if not slot.process:
                continue
            process, status = os.waitpid(slot.process, os.WNOHANG)
            if process:
                self._events.emit("worker_ended", worker=process, status=os.waitstatus_to_exitcode(status))
                now = time.monotonic()
                slot.process = self._shared.metrics.processes[slot.number] = 0
                # Back off before restarting a worker that fails at startup.
                slot.restart_at = now + (BACKOFF_SECONDS if now - slot.started < BACKOFF_SECONDS else 0)
                self._shared.clear(slot.number)

    def _wait_for_workers(self, seconds: float, *, all_alive: bool = False) -> bool:
        """Wait until all running workers use this generation of settings.

        Returns:
            False after `seconds`, or as soon as a worker has exited if `all_alive`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._reap()
            running = [slot for slot in self._slots if slot.process]
            if all_alive and len(running) < len(self._slots):
                return False
            if all(self._shared.generation(slot.number) >= self._generation for slot in running):
                return True
            time.sleep(0.005)
        return False

    def _signal(self, number: int) -> None:
        for slot in self._slots:
            if slot.process:
                os.kill(slot.process, number)

    # Reload and stop

    def _reload(self) -> None:
        """Reload settings and routes; keep the old ones if there is a problem."""
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config, routes = load(self._config_path, warn=log.warning)
        except (ConfigError, RoutesError) as error:
            self._events.emit("reload_refused", problems=error.problems)
            systemd.notify("READY=1\nSTATUS=settings refused, running with the previous ones")
            return
        old = self._config
        if _at_start(config) != _at_start(old):
            self._events.emit("restart_needed", reason="listen, state_dir, workers or event_loop changed")
        self._config, self._routes = config, routes
        if config.events != old.events:
            self._keep_events()
        self._use_metrics()
        self._compare_routes()
        self._generation += 1
        self._signal(signal.SIGHUP)
        self._wait_for_workers(READY_SECONDS)
        self._exporter.use(config, routes)
        self._events.emit("reloaded", routes=len(routes))
        systemd.notify(f"READY=1\nSTATUS={self._status()}")

    def _stop(self) -> None:
        """Stop the workers after they have finished their running transactions."""
        self._shared.metrics.draining[0] = 1
        for sock in self._sockets:
            sock.close()
        self._generation += 1
        self._signal(signal.SIGTERM)
        # The workers confirm that they have closed their sockets.
        self._wait_for_workers(2)
        systemd.notify("STOPPING=1")
        deadline = time.monotonic() + self._config.timeouts.drain + 5
        while any(slot.process for slot in self._slots) and time.monotonic() < deadline:
            self._reap()
            systemd.notify("WATCHDOG=1")
            time.sleep(0.02)
        self._kill()
        self._exporter.stop()
        self._events.emit("stopped")

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        for slot in self._slots:
            if slot.process:
                os.waitpid(slot.process, 0)
                slot.process = 0
