# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sendmail in front of a gateway, as the role gateway configures it, with the real sendmail of Debian."""

from __future__ import annotations

import os
import smtplib
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import real_sendmail
from real_sendmail import run

from bench.front import RUN, SPOOL, rendered

PORT, HOP, QUEUE = 2525, 10026, 10025
USER = ["setpriv", "--reuid=smmta", "--regid=smmsp", "--clear-groups", "--no-new-privs"]
CHANGED: dict[str, Any] = {
    "__gateway_front_listen": [f"127.0.0.1:{PORT}"], "__gateway_front_hop": f"127.0.0.1:{HOP}",
    "gateway_max_message_bytes": 100_000,
    # With names that m4 knows.
    "gateway_routes": [
        {"domain": name} for name in ("eng.univ.example", "*.lab.univ.example", "include.define.example")
    ],
    "gateway_external": ["hosted.lab.univ.example"],
}  # fmt: skip
ACCEPTED = (
    "a@eng.univ.example", "A@ENG.univ.example", "a@x.lab.univ.example", "a@include.define.example", "postmaster",
    "Postmaster@gw1.univ.example", '"a b"@eng.univ.example',
)  # fmt: skip
REFUSED = (
    "a@elsewhere.example", "a@lab.univ.example", "a@x.eng.univ.example", "a@hosted.lab.univ.example", "root",
    "root@gw1.univ.example", "a%elsewhere.example@eng.univ.example", "elsewhere.example!a@eng.univ.example",
    '"a@elsewhere.example"@eng.univ.example', "@eng.univ.example:a@elsewhere.example",
    "@elsewhere.example:a@eng.univ.example", "a@[127.0.0.1]", "a@[198.18.0.25]",
)  # fmt: skip


def build(files: dict[str, str]) -> tuple[int, str, str]:
    """Write the files and test them, as the role does; then build the configuration, as the unit does."""
    os.umask(0o22)
    for name, text in files.items():
        (Path("/run") / name).write_text(text)
    for directory in (RUN, SPOOL):
        Path(directory).mkdir(mode=0o750)
        run(["chown", "smmta:smmsp", directory], "")
    command = ["/bin/sh", "/run/front-build", "/run/front.mc", "/run/front.domains", "/run/front.access"]
    status, out, errors = run(command, "")
    return (status, out, errors) if status else run([*USER, *command, RUN], "")


def serve(port: int, seen: list[str]) -> None:
    """Accept mail in a thread, but not for `unknown@`; note MAIL, RCPT and the first header fields."""

    def session(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            connection.sendall(b"220 gw1.univ.example ESMTP mailgate\r\n")
            for line in stream:
                verb, reply = line[:4].upper(), b"250 ok"
                if verb in {b"MAIL", b"RCPT"}:
                    seen.append(f"{port} {line.decode().strip()}")
                if verb == b"EHLO":
                    reply = b"250-gw1.univ.example\r\n250 8BITMIME"
                elif verb == b"RCPT" and b"<unknown@" in line:
                    reply = b"550 5.1.1 User unknown"
                elif verb == b"DATA":
                    connection.sendall(b"354 go\r\n")
                    text = b"".join(iter(stream.readline, b".\r\n"))
                    seen.append(text.partition(b"\r\nFrom: ")[2].decode("latin-1"))
                connection.sendall(reply + b"\r\n")
                if verb == b"QUIT":
                    break

    def accept() -> None:
        with socket.create_server(("127.0.0.1", port)) as server:
            while True:
                threading.Thread(target=session, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def connect() -> smtplib.SMTP:
    """Connect to the front as soon as it listens."""
    for _ in range(1200):
        with suppress(OSError):
            return smtplib.SMTP("127.0.0.1", PORT, timeout=60)
        time.sleep(0.05)
    raise AssertionError("the front does not listen")


def live(files: dict[str, str]) -> dict[str, Any]:
    """Run the front as its unit does, and send it mail; return replies, and what reached the gateway and the queue."""
    run(["ip", "link", "set", "lo", "up"], "")
    Path("/etc/hosts").write_text("127.0.0.1 localhost gw1.univ.example\n")
    assert build(files) == (0, "", "")
    seen: list[str] = []
    serve(HOP, seen)
    serve(QUEUE, seen)
    command = [*USER, "sendmail-mta", f"-C{RUN}/sendmail.cf", "-bD", "-q10m"]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect() as client:
            client.ehlo("sender.example")
            client.mail("a@sender.example")
            replies = {name: client.docmd(f"RCPT TO:<{name}>")[0] for name in (*ACCEPTED, *REFUSED)}
            client.rset()
            letter = 'From: "A. B" <A@Sender.example> (c)\r\nTo: x@ENG.univ.example\r\n\r\n\xe9 .\r\n'.encode("latin-1")
            sent = []
            for sender, recipient in (
                ("a@sender.example", "bob@eng.univ.example"),
                ("forged@sender.example", "unknown@eng.univ.example"),
                ("unknown@eng.univ.example", "unknown@x.lab.univ.example"),
            ):
                client.mail(sender)
                client.rcpt(recipient)
                sent.append(client.data(letter)[0])
            too_large = client.docmd("MAIL FROM:<a@sender.example> SIZE=200000")[0]
            greeting = client.docmd("VRFY", "root")[0]
        left = sorted(path.name for path in Path(SPOOL).iterdir())
    finally:
        daemon.terminate()
        daemon.wait(60)
    return {"replies": replies, "sent": sent, "seen": seen, "left": left, "size": too_large, "vrfy": greeting}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def debian(request: pytest.FixtureRequest) -> real_sendmail.System:
    found = real_sendmail.system(request.param)
    if found is None:
        pytest.skip(real_sendmail.REASON)
    return found


@pytest.fixture(scope="module")
def result(debian: real_sendmail.System) -> dict[str, Any]:
    # Loads what smtplib and sockets need; Python's own files are not in the system.
    "x".encode("idna")
    found: dict[str, Any] = debian.do(live, rendered(**CHANGED))
    return found


@pytest.mark.slow
class TestFront:
    def test_it_relays_for_the_domains_of_the_delivery_table_only(self, result):
        assert {name: reply // 100 for name, reply in result["replies"].items()} == {
            **dict.fromkeys(ACCEPTED, 2), **dict.fromkeys(REFUSED, 5)
        }  # fmt: skip

    def test_mail_reaches_the_gateway_as_it_was_sent(self, result):
        start = result["seen"].index(f"{HOP} RCPT To:<bob@eng.univ.example>")
        assert result["seen"][start + 1] == '"A. B" <A@Sender.example> (c)\r\nTo: x@ENG.univ.example\r\n\r\n\xe9 .\r\n'

    def test_it_accepts_unknown_recipients_and_returns_their_mail(self, result):
        assert result["sent"] == [250, 250, 250]
        assert f"{QUEUE} RCPT To:<forged@sender.example>" in result["seen"]

    def test_a_bounce_that_cannot_be_delivered_is_discarded(self, result):
        bounces = [line for line in result["seen"] if "MAIL From:<>" in line]
        assert (len(bounces), result["left"]) == (2, [])

    def test_other_limits(self, result):
        assert (result["size"], result["vrfy"]) == (552, 252)

    def test_the_configuration_of_all_settings_is_valid(self, debian):
        files = rendered(
            __gateway_front_listen=["0.0.0.0:25", "[::]:25", "[2001:db8::1]:2525"],
            __gateway_front_hop="[::1]:10026",
            __gateway_tls_files=["/etc/certificate", "/etc/key"],
            gateway_front_double_bounce_address="postmaster@eng.univ.example",
            gateway_front_greet_pause=2000,
            gateway_front_access=["Connect:192.0.2.7\tREJECT", "ClientRate:198.51.100\t0"],
            gateway_front_extra=["define(`confREFUSE_LA', `1000')dnl"],
        )
        assert debian.do(build, files) == (0, "", "")
        assert files["front.mc"].count("DAEMON_OPTIONS") == 2

    def test_a_configuration_that_sendmail_cannot_use_is_refused(self, debian):
        status, _out, errors = debian.do(build, rendered(gateway_front_extra=["LOCAL_CONFIG", "O NoSuchOption=1"]))
        assert (status, "sendmail cannot use this configuration" in errors) == (1, True)
