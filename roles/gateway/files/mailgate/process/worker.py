# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Worker process: accept connections on the shared sockets, reload settings, drain at a stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mailgate.config import Config, ConfigError
from mailgate.config_file import load
from mailgate.event_limiter import INTERVAL_SECONDS
from mailgate.event_loop import find_loop
from mailgate.events import Counters, Events
from mailgate.gateway import Gateway
from mailgate.message import new_id
from mailgate.network import plain_address
from mailgate.routes import Routes, RoutesError
from mailgate.server.session import Session
from mailgate.worker_counters import WorkerCounters

log = logging.getLogger("mailgate")

HOUSEKEEPING_SECONDS = 3600
# Counters are written to disk together after this delay; a killed worker loses at most this much.
COUNT_SECONDS = 0.05
# Pause before accepting again after running out of file descriptors.
EXHAUSTED_SECONDS = 0.5
# Connections that are refused at once, one after the other, before other work goes on.
MAX_REFUSED = 16
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Worker:
    """One worker: HUP reloads settings and routes, TERM or the end of the supervisor stops it gracefully."""

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
        counters = Counters(config.state_dir, later=partial(self._loop.call_later, COUNT_SECONDS))
        events = Events(counters, later=partial(self._loop.call_later, INTERVAL_SECONDS))
        self.gateway = Gateway(config, routes, counters, events, worker_counters)

    async def run(self, generation: int, supervisor: int) -> None:
        """Serve until a stop is signalled.

        Args:
            generation: Generation of the settings that the worker starts with.
            supervisor: Read end of a pipe that the supervisor holds open.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._loop.add_reader(supervisor, self._orphaned, supervisor)
        self._listen()
        tasks = [self._loop.create_task(self._send_heartbeats())]
        tasks.append(self._loop.create_task(self.gateway.watch_lists()))
        tasks.append(self._loop.create_task(self.gateway.watch_keys()))
        tasks.append(self._loop.create_task(self.gateway.client_limits.sync()))
        first = self._worker_counters.number == 0
        tasks.append(self._loop.create_task(self.gateway.client_limits.share(exchange=first)))
        if first:
            tasks.append(self._loop.create_task(self._housekeeping()))
            tasks.append(self._loop.create_task(self.gateway.client_limits.prune()))
        self._worker_counters.heartbeat()
        self._worker_counters.generation = generation
        await self._stop.wait()
        await self._drain()
        for task in tasks:
            task.cancel()

    def _orphaned(self, supervisor: int) -> None:
        self._loop.remove_reader(supervisor)
        self._stop.set()

    # Connections

    def _listen(self) -> None:
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> bool:
        """Accept one connection only, since other workers may be idle; return whether there was one.

        Connections that are refused at once do not count, since they cost less than the way here.
        """
        for _refused in range(MAX_REFUSED):
            connection = self._next_connection(sock)
            if connection is None:
                return False
            if not self._refuse(connection[0], plain_address(connection[1][0])):
                self._begin(connection[0])
                break
        return True

    def _next_connection(self, sock: socket.socket) -> tuple[socket.socket, tuple[str, int]] | None:
        """Return the next connection with its address, or None if there is none now."""
        try:
            return sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                log.exception("cannot accept a connection")
            self._loop.remove_reader(sock)
            self._loop.call_later(EXHAUSTED_SECONDS, self._accept_again, sock)
            return None

    def _refuse(self, connection: socket.socket, address: str) -> bool:
        """Refuse a connection if its client is banned or has too many, before any object of a session exists."""
        try:
            reply = self.gateway.refuse_connection(address)
        except Exception:
            # An error in limits must not keep mail out.
            log.exception("cannot check the limits of %s", address)
            return False
        if reply is None:
            return False
        self.gateway.events.emit("connection_refused", id=new_id(), client=address, reply=reply)
        with contextlib.suppress(OSError):
            # A new connection has room for it.
            connection.send(reply.wire(), socket.MSG_DONTWAIT)
        connection.close()
        return True

    def _begin(self, connection: socket.socket) -> None:
        """Serve a connection."""
        connection.setblocking(False)
        self._open(self._loop.connect_accepted_socket(self._new_session, connection), connection)

    def _new_session(self) -> Session:
        return Session(self.gateway, checked=True)

    def _open(self, opening: Coroutine[Any, Any, object], connection: socket.socket, _done: object = None) -> None:
        """Take the next step of opening a connection's transport; a task would add a twentieth to a refusal."""
        try:
            waiter: asyncio.Future[object] = opening.send(None)
        except StopIteration:
            pass
        except OSError:
            connection.close()
        else:
            waiter.add_done_callback(partial(self._open, opening, connection))

    def _accept_again(self, sock: socket.socket) -> None:
        if not self.gateway.draining:
            self._loop.add_reader(sock, self._accept, sock)

    # Reload and stop

    def _reload(self) -> None:
        try:
            config, routes = load(self._config_path)
            self.gateway.use(config, routes)
        except (ConfigError, RoutesError) as error:
            # The files have changed since the supervisor checked them.
            self.gateway.events.emit("reload_refused", problems=error.problems)
        self._worker_counters.generation += 1

    async def _drain(self) -> None:
        """Stop accepting connections and finish running transactions, for at most `timeouts.drain` seconds."""
        gateway = self.gateway
        deadline = time.monotonic() + gateway.config.timeouts.drain
        gateway.draining = True
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            # Connections that the kernel has accepted already get a 421 reply.
            while self._accept(sock):
                pass
            sock.close()
        self._worker_counters.generation += 1
        while gateway.sessions and time.monotonic() < deadline:
            for session in list(gateway.sessions):
                session.drain()
            await asyncio.sleep(0.05)
        cancelled = await gateway.finish(max(0.0, deadline - time.monotonic()))
        await gateway.close_connections(1.0)
        for session in list(gateway.sessions):
            session.give_up()
        gateway.events.emit("worker_stopped", worker=os.getpid(), sessions=len(gateway.sessions), given_up=cancelled)
        gateway.close()

    # Background tasks

    async def _send_heartbeats(self) -> None:
        while True:
            self._worker_counters.heartbeat()
            await asyncio.sleep(1)

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            if self.gateway.sent_mail:
                await asyncio.to_thread(self.gateway.sent_mail.maintain)
            try:
                self.gateway.verification_cache.prune()
                await self.gateway.delivery.verifier.refresh(self.gateway.routes.find)
            except sqlite3.Error as error:
                log.error("cannot maintain the recipient verification cache: %s", error)


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
    """Run a worker in this process until a stop is signalled."""

    async def serve() -> None:
        await Worker(config_path, config, routes, worker_counters, sockets).run(generation, supervisor)

    factory, _name = find_loop(config.event_loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())
