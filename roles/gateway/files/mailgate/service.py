# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running service: listening sockets, signals, reload, and the stop that finishes what has begun."""

from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
import time
from pathlib import Path

from mailgate import systemd
from mailgate.config import Config, ConfigError, load_config
from mailgate.events import Counters, Events
from mailgate.gateway import Gateway
from mailgate.listener import Listener
from mailgate.routes import Routes, RoutesError, load_routes

log = logging.getLogger("mailgate")

HOUSEKEEPING_SECONDS = 3600


class StartError(Exception):
    """The service cannot start; the message says what, where, and how to mend it."""


def load(config_path: Path, routes_path: Path | None = None) -> tuple[Config, Routes]:
    """Settings and routes, `routes_path` in place of the settings' own file; raises ConfigError or RoutesError."""
    config = load_config(config_path)
    routes = load_routes(routes_path or config.routes_file, own_addresses=config.own_addresses)
    return config, routes


class Service:
    """Listens, and takes signals: HUP loads settings and routes again, TERM and INT end it."""

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path
        self._config, routes = load(config_path)
        try:
            counters = Counters(self._config.state_dir)
            self.gateway = Gateway(self._config, routes, counters, Events(counters))
        except sqlite3.Error as error:
            raise StartError(f"{self._config.state_dir}: state cannot be kept there: {error}") from error
        self._servers: list[asyncio.Server] = []
        self._stop = asyncio.Event()

    async def start(self) -> list[tuple[str, int]]:
        """Listen; returns the addresses and ports."""
        loop = asyncio.get_running_loop()
        for endpoint in self._config.listen:
            try:
                server = await loop.create_server(
                    lambda: Listener(self.gateway), endpoint.host, endpoint.port, backlog=256
                )
            except OSError as error:
                raise StartError(f"listen: {endpoint}: {error.strerror or error}") from error
            self._servers.append(server)
        return [socket.getsockname()[:2] for server in self._servers for socket in server.sockets]

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        await self.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        chores = [loop.create_task(self._watchdog()), loop.create_task(self._housekeeping())]
        systemd.notify(f"READY=1\nSTATUS={len(self.gateway.routes)} routes")
        self.gateway.events.emit(
            "started", routes=len(self.gateway.routes), listen=[str(e) for e in self._config.listen]
        )
        await self._stop.wait()
        systemd.notify("STOPPING=1")
        await self.drain()
        for chore in chores:
            chore.cancel()

    def reload(self) -> None:
        """Load settings and routes again; with any problem in them the old ones stay."""
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config, routes = load(self._config_path)
        except (ConfigError, RoutesError) as error:
            self.gateway.events.emit("reload_refused", problems=error.problems)
            systemd.notify("READY=1\nSTATUS=settings refused, running with the previous ones")
            return
        if (config.listen, config.state_dir) != (self._config.listen, self._config.state_dir):
            self.gateway.events.emit("restart_needed", reason="listen or state_dir changed")
        self.gateway.use(config, routes)
        self.gateway.events.emit("reloaded", routes=len(routes))
        systemd.notify(f"READY=1\nSTATUS={len(routes)} routes")

    async def drain(self) -> None:
        """Take no more connections and finish what has begun, for `timeouts.drain` seconds at most."""
        gateway = self.gateway
        until = time.monotonic() + gateway.config.timeouts.drain
        for server in self._servers:
            server.close()
        gateway.draining = True
        while gateway.sessions and time.monotonic() < until:
            for session in list(gateway.sessions):
                session.drain()
            await asyncio.sleep(0.05)
        given_up = await gateway.finish(max(0.0, until - time.monotonic()))
        gateway.events.emit("stopped", sessions=len(gateway.sessions), given_up=given_up)
        gateway.close()

    async def _watchdog(self) -> None:
        seconds = systemd.watchdog_seconds()
        while seconds:
            systemd.notify("WATCHDOG=1")
            await asyncio.sleep(seconds)

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                self.gateway.recipients.prune()
            except sqlite3.Error:
                log.exception("cannot prune the recipient cache")
