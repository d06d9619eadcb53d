# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate web-data`: answers the web page over a Unix socket, as the gateway's user.

A request is a line of JSON, {"operation": NAME, "user": NAME, "groups": [NAME], "arguments": {}}, with "gateway": NAME
for another gateway, which is then asked. The answer is a line, {"answer": {}} or {"refused": REASON, "text": TEXT}.
What the user may do is decided here, by the settings of the gateway, independently of the page.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailgate import systemd
from mailgate.client.submit import QueueError
from mailgate.config import ConfigError, Endpoint
from mailgate.config_file import load
from mailgate.content.quarantine import QuarantineError
from mailgate.event_index.store import StoreError
from mailgate.routes import RoutesError
from mailgate.web import peers
from mailgate.web.access import access_of
from mailgate.web.operations import Operations, Refused

log = logging.getLogger("mailgate")

MAX_REQUEST = 64 * 1024
# Requests at a time, and waiting for one.
CONCURRENCY = 4
READ_SECONDS = 10
CHANGES = ("release", "delete")


def main(config: Path, path: str) -> int:
    """Serve until stopped by TERM or INT.

    Args:
        config: The settings file, which is read again when it or the delivery table has changed.
        path: Where to listen, if systemd does not pass a socket.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    current = Current(config)
    current.operations()
    asyncio.run(_serve(current, path))
    return 0


class Current:
    """The operations by the current settings."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: tuple[tuple[float, ...], Operations] | None = None

    def operations(self) -> Operations:
        """Return the operations; with changed files that are invalid, those of before.

        Raises:
            ConfigError: The settings are invalid.
            RoutesError: The delivery table is invalid.
        """
        seen = self._versions()
        if self._found and self._found[0] == seen:
            return self._found[1]
        try:
            config, routes = load(self._path)
        except (ConfigError, RoutesError) as error:
            if not self._found:
                raise
            log.warning("the settings of before stay in use: %s", error)
            self._found = (seen, self._found[1])
            return self._found[1]
        self._found = (self._versions(config.routes_file), Operations(config, routes))
        return self._found[1]

    def _versions(self, routes: Path | None = None) -> tuple[float, ...]:
        if routes is None and self._found:
            routes = self._found[1].config.routes_file
        return tuple(_modified(each) for each in (self._path, routes) if each)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


async def _serve(current: Current, path: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    desk = Desk(current.operations)
    server = await start(desk, path)
    others = await start_for_peers(desk)
    await stop.wait()
    for each in (server, others):
        if each:
            each.close()


class Desk:
    """Answers requests: a few at a time, and those for another gateway by asking it."""

    def __init__(self, operations: Callable[[], Operations]) -> None:
        self.operations = operations
        self._slots = asyncio.Semaphore(CONCURRENCY)

    async def serve_page(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the page."""
        await self._serve(reader, writer, relays=True)

    async def serve_peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer another gateway, about this one only."""
        await self._serve(reader, writer, relays=False)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, relays: bool) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                line = await reader.readline()
            gateway, request = gateway_of(line) if relays else ("", {})
            if gateway:
                answer = await peers.ask(self.operations().config.web, gateway, request)
            else:
                async with self._slots:
                    answer = await asyncio.to_thread(answer_to, line, self.operations)
            writer.write(json.dumps(answer).encode("ascii") + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            # The page has gone, or sent no line.
            pass
        finally:
            writer.close()


def gateway_of(line: bytes) -> tuple[str, dict[str, object]]:
    """Return the name of the gateway that a request is for, empty for this one, and the request."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return "", {}
    gateway = request.get("gateway") if isinstance(request, dict) else ""
    return (gateway, request) if isinstance(gateway, str) else ("", {})


async def start(desk: Desk, path: str) -> asyncio.Server:
    """Listen at a path, or on the socket of systemd."""
    if passed := systemd.passed_socket():
        # systemd owns the socket's file, which Python 3.13 would remove.
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        return await asyncio.start_unix_server(desk.serve_page, sock=passed, limit=MAX_REQUEST, **keep)
    return await asyncio.start_unix_server(desk.serve_page, path=path, limit=MAX_REQUEST)


async def start_for_peers(desk: Desk) -> asyncio.Server | None:
    """Listen for other gateways if the settings say so; a failure is logged, as the page works without."""
    settings = desk.operations().config.web
    if not settings.peer_listen:
        return None
    listen = Endpoint.parse(settings.peer_listen)
    try:
        tls = peers.context(settings.peer_file, server=True)
        return await asyncio.start_server(
            desk.serve_peer, listen.host, listen.port, ssl=tls, limit=MAX_REQUEST, ssl_handshake_timeout=READ_SECONDS
        )
    except OSError as error:
        log.warning("other gateways cannot ask: %s (%s): %s", listen, settings.peer_file, error)
        return None


def answer_to(line: bytes, operations: Callable[[], Operations]) -> dict[str, Any]:
    """Return the answer to a request; never raise."""
    try:
        name, user, groups, given = parse(line)
        current = operations()
        access = access_of(current.config, user, groups)
        if access is None:
            raise Refused("forbidden", user)
        answer = current.run(name, access, given)
        if name in CHANGES:
            log.info("quarantine: %s: %r by %r", name, answer.get("number"), user)
        return {"answer": answer}
    except Refused as error:
        return {"refused": error.reason, "text": str(error)}
    except QuarantineError as error:
        return {"refused": "not_found", "text": str(error)}
    except (ConfigError, RoutesError, QueueError, StoreError, sqlite3.Error, OSError) as error:
        return {"refused": "failed", "text": str(error)}
    except Exception as error:
        log.exception("a request failed")
        return {"refused": "failed", "text": type(error).__name__}


def parse(line: bytes) -> tuple[str, str, list[str], dict[str, object]]:
    """Return operation, user, groups and arguments of a request; raise Refused."""
    try:
        request = json.loads(line)
        name, user, groups, given = (request[key] for key in ("operation", "user", "groups", "arguments"))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Refused("invalid", "not a request") from None
    if not (isinstance(name, str) and isinstance(user, str) and isinstance(groups, list) and isinstance(given, dict)):
        raise Refused("invalid", "not a request")
    return name, user, [str(group) for group in groups], given
