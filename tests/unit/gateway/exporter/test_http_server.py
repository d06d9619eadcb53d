# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server with clients that do not behave."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from gateway_doubles import PATIENCE
from scrape import get

from mailgate.exporter import http_server
from mailgate.exporter.http_server import MAX_PER_CLIENT, MAX_REQUEST_BYTES, Answer, Server


def hello(accept: str) -> Answer:
    return Answer(HTTPStatus.OK, "text/plain", f"hello {accept}".encode())


def fail(_accept: str) -> Answer:
    raise ValueError("a page that fails")


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Serve two pages on a port."""
    stopped = threading.Event()
    sockets = [socket.create_server(("127.0.0.1", 0))]
    server = Server(sockets, {"/hello": hello, "/fail": fail})
    thread = threading.Thread(target=server.run, args=(stopped.is_set,))
    thread.start()
    try:
        yield sockets[0].getsockname()[1]
    finally:
        stopped.set()
        thread.join(PATIENCE)
        sockets[0].close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_server, "MAX_SECONDS", PATIENCE)
        patch.setattr(http_server, "SWEEP_SECONDS", 0.02)
        with serving() as number:
            yield number


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def rest(connection: socket.socket) -> bytes:
    """Return what the server sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def works(port: int) -> bool:
    return get(port, "/hello", Accept="x") == (200, "text/plain", "hello x")


def test_pages(port):
    assert works(port)
    assert get(port, "/hello?a=b", Accept="y")[2] == "hello y"
    status, _type, body = get(port, "/elsewhere")
    assert (status, body) == (404, "not found; see /hello /fail\n")
    assert get(port, "/hello", "HEAD")[::2] == (200, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_is_read_only(port, method):
    assert get(port, "/hello", method)[0] == 405


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /hello HTTP/1.1\r\nX: " + b"x" * MAX_REQUEST_BYTES,
        b"GET /hello HTTP/1.1\r\n" + b"X: y\r\n" * MAX_REQUEST_BYTES,
        b"GET /" + b"x" * 2 * MAX_REQUEST_BYTES,
        b"\0\xff" * 100 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /hello HTTP/9.9\r\n\r\n",
        b"",
    ],
    ids=["long header", "many headers", "long path", "binary", "no path", "version", "nothing"],
)
def test_bad_requests(port, request_bytes):
    with connected(port) as connection:
        # The server may have ended it already.
        with contextlib.suppress(OSError):
            connection.sendall(request_bytes)
            connection.shutdown(socket.SHUT_WR)
        assert b"hello" not in rest(connection)
    assert works(port)


def test_a_slow_client_is_cut(port, monkeypatch):
    with connected(port) as connection:
        monkeypatch.setattr(http_server, "MAX_SECONDS", 0.3)
        with pytest.raises(ConnectionError):
            for letter in b"GET /hello HTTP/1.1\r\nX: " + b"x" * 5000:
                connection.send(bytes([letter]))
                time.sleep(0.01)
        assert rest(connection) == b""
    monkeypatch.undo()
    assert works(port)


def test_a_client_cannot_take_all_connections(port):
    held = [connected(port) for _ in range(MAX_PER_CLIENT)]
    try:
        with connected(port) as refused:
            assert rest(refused) == b""
        # From another address.
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=("127.0.0.2", 0))
        other.request("GET", "/hello")
        assert other.getresponse().status == 200
        other.close()
    finally:
        for each in held:
            each.close()


def test_many_connections(port):
    for _ in range(60):
        connected(port).close()
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            assert works(port)
            return
        assert time.monotonic() < deadline


def test_a_page_that_fails(port, capfd):
    with pytest.raises(http.client.HTTPException):
        get(port, "/fail")
    assert works(port)
    assert "Traceback" not in "".join(capfd.readouterr())
