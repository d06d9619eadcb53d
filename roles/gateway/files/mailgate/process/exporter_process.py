# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor's part of the exporter: its sockets and its process. A failure here never stops mail."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable

from mailgate.config import Config, Endpoint
from mailgate.failure_log import FailureLog
from mailgate.routes import Routes
from mailgate.worker_counters import SharedCounters

log = logging.getLogger("mailgate")

# Pause before it is started again, twice as long after each failure, or before its addresses are tried again.
RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 60.0
# After so long, it works.
STABLE_SECONDS = 60.0
BACKLOG = 64
# systemd sends SIGTERM to all processes at once, but the exporter shall answer 503 as long as the service drains.
STOP = signal.SIGUSR1


class ExporterProcess:
    """Runs the exporter if the settings have an address for it.

    Args:
        shared: Memory of the workers.
        listen: Returns a listening socket, or raises an exception.
        close_others: Closes what only the supervisor may hold; called in the new process.
    """

    def __init__(
        self, shared: SharedCounters, listen: Callable[[Endpoint], socket.socket], close_others: Callable[[], object]
    ) -> None:
        self._shared = shared
        self._listen = listen
        self._close_others = close_others
        self._addresses: tuple[Endpoint, ...] = ()
        self._sockets: dict[Endpoint, socket.socket] = {}
        self._settings: tuple[Config, Routes] | None = None
        self._process = 0
        self._former: list[int] = []
        self._started = 0.0
        self._pause = RETRY_SECONDS
        self._retry_at = 0.0
        self._failures = FailureLog("cannot serve metrics")

    def use(self, config: Config, routes: Routes) -> None:
        """Serve with these settings from now on; a running exporter is replaced, and no connection is refused."""
        self._settings = config, routes
        self._addresses = config.metrics.listen
        for endpoint in set(self._sockets).difference(self._addresses):
            self._sockets.pop(endpoint).close()
        self._open()
        if self._sockets:
            self._replace(config, routes)
        elif self._process:
            self._dismiss(self._process)
            self._process = 0

    def check(self) -> None:
        """Start the exporter if it should run and does not; never raises."""
        self._former = [process for process in self._former if not _has_ended(process)]
        now = time.monotonic()
        missing = len(self._sockets) < len(self._addresses)
        stable = now - self._started > STABLE_SECONDS
        if self._process and _has_ended(self._process):
            self._process = 0
            self._pause = RETRY_SECONDS if stable else min(2 * self._pause, MAX_RETRY_SECONDS)
            self._retry_at = now + self._pause / 2
            self._failures.failed(OSError("the exporter has ended; it is started again"))
        elif self._process and stable and not missing:
            self._failures.worked()
        if now < self._retry_at or not (missing or (self._addresses and not self._process)):
            return
        self._retry_at = now + RETRY_SECONDS
        if self._open() and self._settings:
            self._replace(*self._settings)

    def _open(self) -> bool:
        """Listen on all addresses; return whether there is one that no exporter serves."""
        opened = not self._process and bool(self._sockets)
        for endpoint in self._addresses:
            if endpoint in self._sockets:
                continue
            try:
                self._sockets[endpoint] = self._listen(endpoint)
                opened = True
            except Exception as error:
                self._failures.failed(error)
        return opened

    def _replace(self, config: Config, routes: Routes) -> None:
        """Start an exporter, then stop the one before."""
        former, self._process = self._process, 0
        self._started = time.monotonic()
        try:
            self._start(config, routes)
        except OSError as error:
            self._failures.failed(error)
        if former:
            self._dismiss(former)

    def _dismiss(self, process: int) -> None:
        self._former.append(process)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, STOP)

    def _start(self, config: Config, routes: Routes) -> None:
        # Asked here, since the supervisor may have ended when the new process does.
        supervisor = os.getpid()
        self._process = os.fork()
        if self._process:
            return
        try:
            self._close_others()
            # Imported here because no other process needs it.
            from mailgate.exporter import service  # noqa: PLC0415

            service.main(config, routes, self._shared, list(self._sockets.values()), supervisor)
        except BaseException:
            log.exception("exporter")
        finally:
            # Skip the exit handlers of the supervisor.
            os._exit(0)

    def close_sockets(self) -> None:
        """Close the sockets in a process that is not the exporter."""
        for sock in self._sockets.values():
            sock.close()

    def stop(self) -> None:
        """Stop the exporter and wait for it."""
        self.close_sockets()
        for process in (*self._former, *((self._process,) if self._process else ())):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
        self._process = 0


def _has_ended(process: int) -> bool:
    """Reap a child if it has ended."""
    try:
        return os.waitpid(process, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
