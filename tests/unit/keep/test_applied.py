# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks are left out only while all that they would look at is as it was recorded."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep.applied import Applied, Greeting

RUNNING = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"


class Server(socketserver.StreamRequestHandler):
    """A mail server that greets as its class says."""

    greeting = b"220 mail ESMTP\r\n"

    def handle(self) -> None:
        self.wfile.write(self.server.greeting)  # type: ignore[attr-defined]


@pytest.fixture
def server() -> Iterator[socketserver.TCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as found:
        found.greeting = Server.greeting  # type: ignore[attr-defined]
        found.daemon_threads = True
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield found
        found.shutdown()


class Host:
    """A host with two files, a unit and a daemon."""

    def __init__(self, path, port):
        self.path, self.port, self.units = path, port, RUNNING
        (path / "mail").mkdir()
        (path / "mail" / "access").write_text("a\n")

    def run(self, command):
        assert command[:2] == ["systemctl", "show"]
        return 0, "\n".join(self.units for _name in command[3:]), ""

    def applied(self):
        return Applied(self.run, "routes", self.path / "store")

    def record(self, fingerprint="f"):
        paths, greetings = [f"{self.path}/mail/*"], [Greeting("127.0.0.1", self.port)]
        return self.applied().record(fingerprint, paths, ["sendmail"], greetings)


@pytest.fixture
def host(tmp_path, server):
    return Host(tmp_path, server.server_address[1])


def test_nothing_is_to_be_done_while_all_is_as_recorded(host):
    assert host.applied().look("f") == ["nothing was applied yet"]
    assert host.record()
    assert host.applied().look("f") == []
    assert not host.record()
    assert host.record("g")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda host: (host.path / "mail" / "access").write_text("b\n"), "access was changed"),
        (lambda host: (host.path / "mail" / "access").unlink(), "access was removed"),
        (lambda host: (host.path / "mail" / "new").touch(), "new was created"),
        (lambda host: setattr(host, "units", RUNNING.replace("=active", "=failed")), "ActiveState=failed"),
        (lambda host: setattr(host, "units", RUNNING.replace("=enabled", "=disabled")), "UnitFileState=disabled"),
        (lambda host: setattr(host, "units", RUNNING.replace("=no", "=yes")), "NeedDaemonReload=yes"),
        (lambda host: setattr(host, "units", ""), "sendmail is "),
        (lambda host: (host.path / "store/applied/routes.json").write_text("{"), "cannot be read"),
        (lambda host: (host.path / "store/applied/routes.json").write_text("{}"), "cannot be read"),
    ],
)
def test_each_change_is_a_reason(host, change, reason):
    host.record()
    change(host)
    (found,) = host.applied().look("f")
    assert reason in found


def test_another_request_is_a_reason(host):
    host.record()
    assert host.applied().look("g") == ["the plan, a variable of the role, or the collection has changed"]


@pytest.mark.parametrize("greeting", [b"421 busy\r\n", b""])
def test_a_daemon_that_does_not_greet_is_a_reason(host, server, greeting):
    host.record()
    server.greeting = greeting
    assert host.applied().look("f") == [f"127.0.0.1 port {host.port} does not greet"]


def test_a_record_goes_without_a_trace(host):
    host.record()
    assert host.applied().forget()
    assert not host.applied().forget()
    assert not (host.path / "store").exists()
