# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Valkey or Redis server on loopback, with TLS and password as the role sets it up."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

from gateway_doubles import PATIENCE
from service_process import free_port

from mailgate.limit_settings import SharedState

# Debian's packages of tools have the server in this program, which goes by the name that it is called by.
PROGRAMS = {"/usr/bin/valkey-check-rdb": "valkey-server", "/usr/bin/redis-check-rdb": "redis-server"}
MISSING = "neither valkey-tools nor redis-tools is installed (make setup-tests)"
PASSWORD = "a password"


def program() -> tuple[str, str] | None:
    """Return the server's file, and the name to call it by."""
    return next(((path, name) for path, name in PROGRAMS.items() if shutil.which(path)), None)


class SharedServer:
    """The server; it can be stopped, continued, ended and started again, on the same port and without data."""

    def __init__(self, directory: Path, certificate: tuple[str, str]) -> None:
        self.directory = directory
        self.certificate, self.key = certificate
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.password_file = directory / "store_password"
        self.password_file.write_text(f"{PASSWORD}\n")

    @property
    def settings(self) -> SharedState:
        return SharedState(
            server=f"127.0.0.1:{self.port}",
            password_file=str(self.password_file),
            ca_file=self.certificate,
            timeout_ms=1000 * PATIENCE,
        )

    def start(self) -> None:
        found = program()
        assert found
        path, name = found
        (self.directory / "store.conf").write_text(
            f'bind 127.0.0.1\nport 0\ntls-port {self.port}\nsave ""\nappendonly no\nrequirepass "{PASSWORD}"\n'
            f"tls-cert-file {self.certificate}\ntls-key-file {self.key}\ntls-auth-clients no\ndir {self.directory}\n"
        )
        self.process = subprocess.Popen(
            [name, str(self.directory / "store.conf")], executable=path, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline and self.process.poll() is None, "the server does not start"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def command(self, *words: str) -> str:
        """Return the reply to a command, a line or a string."""
        context = ssl.create_default_context(cafile=self.certificate)
        with (
            socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            replies = connection.makefile("rb")
            for each in (("AUTH", PASSWORD), words):
                parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in each)
                connection.sendall(f"*{len(each)}\r\n{parts}".encode())
                reply = replies.readline().decode().strip()
            return replies.read(int(reply[1:])).decode() if reply[:1] == "$" and reply != "$-1" else reply

    def pause(self) -> None:
        """Let connections open but nothing be answered."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
