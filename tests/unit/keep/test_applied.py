# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks are left out only while all that they would look at is as it was recorded."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep.applied import Greeting, Watched, package_files
from ansible_collections.campus.mailgate.plugins.module_utils._keep.applied_record import Recorder

RUNNING = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"
SCAN = ["clamdscan", "--stream", "/usr/lib/os-release"]


class Server(socketserver.StreamRequestHandler):
    """A mail server that greets as its class says, in as many pieces."""

    greeting = (b"220 gw1 ESMTP", b" mailgate\r\n")

    def handle(self) -> None:
        for piece in self.server.greeting:  # type: ignore[attr-defined]
            self.wfile.write(piece)
            time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[socketserver.TCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as found:
        found.greeting = Server.greeting  # type: ignore[attr-defined]
        found.daemon_threads = True
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield found
        found.shutdown()


class Host:
    """A host with files, a unit, a daemon and a program that scans."""

    def __init__(self, path, port):
        self.path, self.units, self.scans = path, RUNNING, (0, "", "")
        self.since = time.time() + 60
        (path / "mail").mkdir()
        (path / "mail" / "access").write_text("a\n")
        (path / "mail" / "tls").mkdir(mode=0o755)
        (path / "main.cvd").touch()
        self.watched = Watched(
            paths=[f"{path}/mail/*"],
            existing=[f"{path}/main.c[vl]d"],
            units=["sendmail"],
            loaded={"sendmail": [f"{path}/mail/access"]},
            greetings=[Greeting("127.0.0.1", port, "^220 gw1 .*mailgate")],
            commands=[SCAN],
        )

    def run(self, command):
        if command[0] == "timeout":
            assert command[-3:] == SCAN
            return self.scans
        assert command[:2] == ["systemctl", "show"]
        if "--value" in command:
            return 0, time.strftime("%a %Y-%m-%d %H:%M:%S.000000 UTC\n", time.gmtime(self.since)), ""
        return 0, "\n".join(self.units for _name in command[3:]), ""

    def applied(self):
        return Recorder(self.run, "routes", self.path / "store")

    def record(self, fingerprint="f"):
        return self.applied().record(fingerprint, self.watched)


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
        (lambda host: (host.path / "mail" / "access").chmod(0o600), "access was changed"),
        (lambda host: (host.path / "mail" / "tls").chmod(0o700), "tls was changed"),
        (lambda host: (host.path / "mail" / "tls").rmdir(), "tls was removed"),
        (lambda host: (host.path / "mail" / "new").touch(), "new was created"),
        (lambda host: (host.path / "main.cvd").unlink(), "main.c[vl]d is missing"),
        (lambda host: setattr(host, "units", RUNNING.replace("=active", "=failed")), "ActiveState=failed"),
        (lambda host: setattr(host, "units", RUNNING.replace("=enabled", "=disabled")), "UnitFileState=disabled"),
        (lambda host: setattr(host, "units", RUNNING.replace("=no", "=yes")), "NeedDaemonReload=yes"),
        (lambda host: setattr(host, "units", ""), "sendmail is "),
        (lambda host: setattr(host, "since", time.time() - 60), "sendmail has not loaded"),
        (lambda host: setattr(host, "scans", (2, "", "ERROR: no clamd\n")), f"{' '.join(SCAN)} fails: ERROR: no clamd"),
        (lambda host: setattr(host, "scans", (124, "", "")), f"{' '.join(SCAN)} fails: exit status 124"),
        (lambda host: (host.path / "store/applied/routes.json").write_text("{"), "cannot be read"),
        (lambda host: (host.path / "store/applied/routes.json").write_text("{}"), "cannot be read"),
    ],
)
def test_each_change_is_a_reason(host, change, reason):
    host.record()
    change(host)
    (found,) = host.applied().look("f")
    assert reason in found


def test_a_file_that_is_missing_has_two_reasons(host):
    host.record()
    (host.path / "mail" / "access").unlink()
    removed, unknown = host.applied().look("f")
    assert "access was removed" in removed
    assert "cannot be determined whether sendmail has loaded" in unknown


def test_a_unit_that_never_started_has_loaded_nothing(host):
    host.record()
    host.run = lambda command: (0, "\n", "") if "--value" in command else Host.run(host, command)
    assert host.applied().look("f") == ["it cannot be determined whether sendmail has loaded its files"]


def test_another_request_is_a_reason(host):
    host.record()
    (found,) = host.applied().look("g")
    assert "the plan, a variable of the role, a file on the controller, or the collection has changed" in found


@pytest.mark.parametrize("greeting", [(b"421 busy\r\n",), (b"220 gw1 Sendmail\r\n",), (b"220 gw1",), (b"",)])
def test_a_daemon_that_does_not_greet_is_a_reason(host, server, greeting):
    host.record()
    server.greeting = greeting
    assert host.applied().look("f") == [f"127.0.0.1 port {host.watched.greetings[0].port} does not greet"]


def test_any_mail_server_will_do_by_default(host, server):
    host.watched = replace(host.watched, greetings=[Greeting("127.0.0.1", host.watched.greetings[0].port)])
    host.record()
    server.greeting = (b"220 other\r\n",)
    assert host.applied().look("f") == []


def test_a_record_of_another_form_is_a_reason(host):
    host.record()
    path = host.path / "store/applied/routes.json"
    path.write_text(path.read_text().replace("applied 2", "applied"))
    assert host.applied().look("f") == [f"{path} cannot be read"]


def test_a_record_goes_without_a_trace(host):
    host.record()
    assert host.applied().forget()
    assert not host.applied().forget()
    assert not (host.path / "store").exists()


@pytest.mark.parametrize("name", ["clamav.md5sums", "clamav:amd64.md5sums"])
def test_the_version_of_a_package_is_in_one_file(tmp_path, name):
    (tmp_path / name).touch()
    (tmp_path / "clamav-daemon.md5sums").touch()
    pattern = package_files("clamav").rpartition("/")[2]
    assert [path.name for path in tmp_path.glob(pattern)] == [name]
