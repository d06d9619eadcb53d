# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process that serves: takes connections from the shared sockets, loads settings again, finishes what has begun."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mailgate.config import Config, ConfigError
from mailgate.config_file import load
from mailgate.events import Counters, Events
from mailgate.gateway import Gateway
from mailgate.routes import Routes, RoutesError
from mailgate.server.session import Session
from mailgate.worker_counters import WorkerCounters

log = logging.getLogger("mailgate")

HOUSEKEEPING_SECONDS = 3600
# How long what was counted waits for more, to be written together; so much is missing after an end without warning.
COUNT_SECONDS = 0.05
# How long to take no connection when there are no file handles left.
EXHAUSTED_SECONDS = 0.5
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Worker:
    """Takes signals: HUP loads settings and routes again, TERM and the end of the supervisor end it gracefully."""

    def __init__(
        self,
        config_path: Path,
        config: Config,
        routes: Routes,
        worker_counters: WorkerCounters,
        sockets: Sequence[socket.socket],
    ) -> None:
        self._config_path = config_path
        self._worker_counters = worker_counters
        self._sockets = list(sockets)
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._accepted: set[asyncio.Task[object]] = set()
        counters = Counters(config.state_dir, later=partial(self._loop.call_later, COUNT_SECONDS))
        self.gateway = Gateway(config, routes, counters, Events(counters), worker_counters)

    async def run(self, generation: int, supervisor: int) -> None:
        """Serve until told to stop. `supervisor` is a pipe that ends when the supervisor does."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._loop.add_reader(supervisor, self._orphaned, supervisor)
        self._listen()
        chores = [self._loop.create_task(self._live())]
        if self._worker_counters.number == 0:
            chores.append(self._loop.create_task(self._housekeeping()))
        self._worker_counters.alive()
        self._worker_counters.took(generation)
        await self._stop.wait()
        await self._drain()
        for chore in chores:
            chore.cancel()

    def _orphaned(self, supervisor: int) -> None:
        self._loop.remove_reader(supervisor)
        self._stop.set()

    # Connections

    def _listen(self) -> None:
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> bool:
        """Take one connection, as other workers may be free for the next; whether there was one."""
        try:
            connection, _peer = sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                log.exception("cannot take a connection")
            self._loop.remove_reader(sock)
            self._loop.call_later(EXHAUSTED_SECONDS, self._accept_again, sock)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._serve(connection))
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)
        return True

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Session(self.gateway), connection)
        except OSError:
            connection.close()

    def _accept_again(self, sock: socket.socket) -> None:
        if not self.gateway.draining:
            self._loop.add_reader(sock, self._accept, sock)

    # Reload and stop

    def _reload(self) -> None:
        try:
            config, routes = load(self._config_path)
            self.gateway.use(config, routes)
        except (ConfigError, RoutesError) as error:
            # Changed since the supervisor looked.
            self.gateway.events.emit("reload_refused", problems=error.problems)
        self._worker_counters.took(self._worker_counters.generation + 1)

    async def _drain(self) -> None:
        """Take no more connections and finish what has begun, for `timeouts.drain` seconds at most."""
        gateway = self.gateway
        until = time.monotonic() + gateway.config.timeouts.drain
        gateway.draining = True
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            # Those who are connected already are told to come again.
            while self._accept(sock):
                pass
            sock.close()
        self._worker_counters.took(self._worker_counters.generation + 1)
        while gateway.sessions and time.monotonic() < until:
            for session in list(gateway.sessions):
                session.drain()
            await asyncio.sleep(0.05)
        given_up = await gateway.finish(max(0.0, until - time.monotonic()))
        await gateway.delivery.pool.closed(1.0)
        gateway.events.emit("worker_stopped", worker=os.getpid(), sessions=len(gateway.sessions), given_up=given_up)
        gateway.close()

    # Chores

    async def _live(self) -> None:
        while True:
            self._worker_counters.alive()
            await asyncio.sleep(1)

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                self.gateway.recipients.prune()
                await self.gateway.delivery.verifier.refresh(self.gateway.routes.find)
            except sqlite3.Error:
                log.exception("cannot look after the recipient cache")


def main(
    config_path: Path,
    config: Config,
    routes: Routes,
    worker_counters: WorkerCounters,
    sockets: Sequence[socket.socket],
    *,
    generation: int,
    supervisor: int,
) -> None:
    """Serve in this process until told to stop."""

    async def serve() -> None:
        await Worker(config_path, config, routes, worker_counters, sockets).run(generation, supervisor)

    asyncio.run(serve())
