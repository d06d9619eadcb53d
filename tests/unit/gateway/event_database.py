# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server on loopback, with TLS, passwords and the schema as the role sets them up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from service_process import free_port

from mailgate.event_settings import EventDatabase

MIGRATIONS = Path(__file__).parents[3] / "roles" / "event_database" / "files"
MISSING = "postgresql is not installed (make setup-tests)"
PASSWORD = "a password"
# initdb refuses to run as root.
USER = "nobody" if os.geteuid() == 0 else None
# As the tests need it, and not safe: it starts in less time, and nothing is left at its end.
FAST = """
fsync = off
full_page_writes = off
autovacuum = off
max_connections = 30
shared_buffers = 16MB
timezone = 'Asia/Tokyo'
"""


def programs() -> Path | None:
    """Return the directory of Debian's newest server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


class DatabaseServer:
    """The server; it can be stopped, continued, ended and started again, on the same port and with its data.

    Args:
        directory: A directory that the user of the server can reach.
        certificate: Files of a certificate for 127.0.0.1 and its key.
        settings: Lines of postgresql.conf.
    """

    def __init__(self, directory: Path, certificate: tuple[str, str], settings: str = FAST) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.password_file = directory / "password"
        self.password_file.write_text(f"{PASSWORD}\n")
        self.ca_file = directory / "ca.pem"
        shutil.copy(certificate[0], self.ca_file)
        self._number = 0
        self._initialize(certificate, settings)

    def _initialize(self, certificate: tuple[str, str], settings: str) -> None:
        if USER:
            shutil.chown(self.directory, USER)
        bin_directory = programs()
        assert bin_directory
        self._bin = bin_directory
        subprocess.run(
            [bin_directory / "initdb", "--pgdata", self.data, "--username", "postgres", "--no-sync",
             "--encoding", "UTF8", "--locale", "C", "--auth", "trust"],
            user=USER, check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        for source, name in zip(certificate, ("server.crt", "server.key"), strict=True):
            shutil.copy(source, self.data / name)
            (self.data / name).chmod(0o600)
            if USER:
                shutil.chown(self.data / name, USER)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(
                f"{settings}\nlisten_addresses = '127.0.0.1'\nport = {self.port}\nssl = on\n"
                f"unix_socket_directories = '{self.directory}'\n"
            )
        (self.data / "pg_hba.conf").write_text(
            "local all postgres trust\nhostssl all mailgate_gw1,mailgate_gw2 127.0.0.1/32 scram-sha-256\n"
        )

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self._bin / "postgres", "-D", self.data], user=USER, cwd="/",
            stdout=subprocess.DEVNULL, stderr=(self.directory / "log").open("ab"),
        )  # fmt: skip
        deadline = time.monotonic() + 30
        ready = [self._bin / "pg_isready", "-q", "-h", self.directory, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < deadline and self.process.poll() is None, (self.directory / "log").read_text()
            time.sleep(0.01)

    def prepare(self) -> None:
        """Make users and the template of databases."""
        self.sql("postgres", "CREATE DATABASE template")
        self.migrate("template")
        for name in ("mailgate_gw1", "mailgate_gw2"):
            self.sql("postgres", f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' IN ROLE mailgate_gateway")

    def migrate(self, database: str, directory: Path = MIGRATIONS / "migrations") -> str:
        """Bring the schema up to date as the role does; return what was applied."""
        environment = {**os.environ, "PGHOST": str(self.directory), "PGPORT": str(self.port), "PGUSER": "postgres"}
        return subprocess.run(
            [MIGRATIONS / "migrate", database, directory], env=environment, check=True, capture_output=True, text=True
        ).stdout  # fmt: skip

    def sql(self, database: str, *statements: str) -> str:
        """Run statements as the superuser; return their rows."""
        words = [word for each in statements for word in ("--command", each)]
        return subprocess.run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.directory, "-p", str(self.port), "-U", "postgres",
             database, *words],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    def empty(self) -> EventDatabase:
        """Return the settings of a new database without events; start the server if a test has ended it."""
        if not self.process:
            self.start()
        self._number += 1
        name = f"events{self._number}"
        self.sql("postgres", f"CREATE DATABASE {name} TEMPLATE template")
        return EventDatabase(
            server=f"127.0.0.1:{self.port}",
            name=name,
            user="mailgate_gw1",
            password_file=str(self.password_file),
            ca_file=str(self.ca_file),
        )

    def pause(self) -> None:
        """Let connections open but nothing be answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for process in (self.process.pid, *map(int, children.split())):
            os.kill(process, number)

    def crash(self) -> None:
        """End the server at once: what is not in its log is lost."""
        if self.process:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None


def settings_text(settings: EventDatabase) -> str:
    """Return the section of the settings file."""
    return (
        f'[event_database]\nserver = "{settings.server}"\nname = "{settings.name}"\nuser = "{settings.user}"\n'
        f'password_file = "{settings.password_file}"\nca_file = "{settings.ca_file}"\n'
    )
