# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP server for a few read-only pages, with limits on everything that a client can use up.

http.server of the standard library parses requests; a thread serves each connection, which has one request.
"""

from __future__ import annotations

import contextlib
import http.client
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from typing import Any

MAX_CONNECTIONS = 16
# One client cannot keep the others out.
MAX_PER_CLIENT = 6
# From the connection to the end of the reply; a scrape of Prometheus takes at most 10 s by default.
MAX_SECONDS = 15.0
MAX_REQUEST_BYTES = 8192
# How often connections are looked at that take too long.
SWEEP_SECONDS = 0.5
# Waiting for running replies when the exporter stops.
STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Reply to a request."""

    status: HTTPStatus
    type: str
    body: bytes


# Returns the reply to a GET request with this header field Accept.
Page = Callable[[str], Answer]


class _Limited:
    """The first bytes of a connection, by lines; as if the connection ended there."""

    def __init__(self, file: BufferedIOBase, limit: int) -> None:
        self._file = file
        self._left = limit

    def readline(self, size: int = -1) -> bytes:
        line = self._file.readline(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("request")
        return line

    def close(self) -> None:
        self._file.close()


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server_version = "mailgate"
    sys_version = ""
    timeout = MAX_SECONDS
    server: Server  # type: ignore[assignment]

    def setup(self) -> None:
        super().setup()
        self.rfile: Any = _Limited(self.rfile, MAX_REQUEST_BYTES)

    def do_GET(self) -> None:
        """Send a page."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            paths = " ".join(self.server.pages)
            self._send(Answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", f"not found; see {paths}\n".encode()))
        else:
            self._send(page(self.headers.get("Accept", "")))

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._send(Answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", b"only GET and HEAD\n"))

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: requests are no events of mail."""


class Server:
    """Serves pages on listening sockets.

    Attributes:
        pages: Pages by path.
    """

    def __init__(self, sockets: Sequence[socket.socket], pages: Mapping[str, Page]) -> None:
        self.pages = pages
        self._sockets = sockets
        self._lock = threading.Lock()
        self._open: dict[socket.socket, tuple[float, str]] = {}

    def run(self, stopped: Callable[[], bool]) -> None:
        """Serve until `stopped` returns true, which is asked twice a second; then finish running replies."""
        with selectors.DefaultSelector() as selector:
            for sock in self._sockets:
                selector.register(sock, selectors.EVENT_READ, sock)
            while not stopped():
                for key, _events in selector.select(SWEEP_SECONDS):
                    self._accept(key.data)
                self._close_overdue(MAX_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS
        while self._open and time.monotonic() < deadline:
            time.sleep(0.01)
        self._close_overdue(0)

    def _accept(self, sock: socket.socket) -> None:
        try:
            connection, address = sock.accept()
        except OSError:
            # Gone already, or no open files are left; a pause leaves time for some.
            time.sleep(0.01)
            return
        client = str(address[0])
        with self._lock:
            number = Counter(name for _since, name in self._open.values())[client]
            refused = len(self._open) >= MAX_CONNECTIONS or number >= MAX_PER_CLIENT
            if not refused:
                self._open[connection] = (time.monotonic(), client)
        if refused:
            connection.close()
            return
        threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: tuple[str, int]) -> None:
        try:
            # What goes wrong with a connection is its client's loss alone.
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                connection.setblocking(True)
                _Handler(connection, address, self)  # type: ignore[arg-type]
        finally:
            with self._lock:
                self._open.pop(connection, None)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            connection.close()

    def _close_overdue(self, seconds: float) -> None:
        with self._lock:
            now = time.monotonic()
            for connection, (since, _client) in self._open.items():
                if now - since >= seconds:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
