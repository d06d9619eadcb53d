# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event database in a real PostgreSQL: set up, beside what an admin has, and taken back."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._postgresql import server, setup
from ansible_collections.campus.mailgate.plugins.module_utils._postgresql.files import Gateway
from ansible_collections.campus.mailgate.plugins.module_utils._postgresql.server import DatabaseError, tls_problem
from ansible_collections.campus.mailgate.plugins.module_utils._postgresql.setup import EventDatabase, Outcome, Wanted

ROLE = Path(__file__).parents[3] / "roles" / "event_database" / "files"
PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
# initdb refuses to run as root.
USER = "nobody" if os.geteuid() == 0 else None
PATIENCE = 60
GATEWAYS = (
    Gateway("gw1", "mailgate_gw1", ("127.0.0.1",), "1" * 64),
    Gateway("gw2", "mailgate_gw2", ("127.0.0.1",), "2" * 64),
)

pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="postgresql is not installed (make setup-tests)")


class Machine:
    """A server with files as Debian has them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "etc" / "15" / "main"
        (self.config / "conf.d").mkdir(parents=True)
        self.directory = path / "own"
        (self.directory / "schema").mkdir(parents=True)
        shutil.copy(ROLE / "migrate", self.directory / "schema")
        shutil.copytree(ROLE / "migrations", self.directory / "schema" / "migrations")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self._certificate()
        for each in (path, self.config, self.config / "conf.d", self.directory):
            each.chmod(0o755)
        data = path / "data"
        data.mkdir()
        if USER:
            shutil.chown(data, USER)
        assert PROGRAMS
        words = [PROGRAMS, "--pgdata", data, "--username", "postgres", "--no-sync", "--locale", "C", "--auth", "trust"]
        subprocess.run(words, user=USER, check=True, capture_output=True, cwd="/")
        (data / "postgresql.conf").unlink()
        self.hba = self.config / "pg_hba.conf"
        self.hba.write_text("# the admin's\nlocal all postgres trust\nhost all all 0.0.0.0/0 reject\n")
        self.conf = self.config / "postgresql.conf"
        self.conf.write_text(
            f"data_directory = '{data}'\nhba_file = '{self.hba}'\nident_file = '{data}/pg_ident.conf'\n"
            f"port = {self.port}\nfsync = off\n"
            f"unix_socket_directories = '{path / 'data'}'\nlisten_addresses = ''\ninclude_dir = 'conf.d'\n"
        )
        self.start()

    def _certificate(self) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        subprocess.run(
            ["openssl", "req", "-x509", *key, "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", self.directory / "key.pem", "-out", self.directory / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        shutil.copy(self.directory / "cert.pem", self.directory / "ca.pem")
        if USER:
            shutil.chown(self.directory / "key.pem", USER)

    def start(self) -> None:
        assert PROGRAMS
        self.process = subprocess.Popen(
            [PROGRAMS.parent / "postgres", f"--config-file={self.conf}"], user=USER, cwd="/", stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while self.sql("SELECT 1", may_fail=True) != "1":
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def sql(self, *statements: str, database: str = "postgres", may_fail: bool = False) -> str:
        words = [word for each in statements for word in ("-c", each)]
        done = subprocess.run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.path / "data", "-p", str(self.port), "-U", "postgres",
             database, *words],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert may_fail or not done.returncode, done.stderr
        return done.stdout.strip()

    def run(self, command: Sequence[str], text: str) -> tuple[int, str, str]:
        """Run what the module runs, but as the user of this server; its unit is the process."""
        words = [str(each) for each in command]
        if words[0].endswith("pg_lsclusters"):
            return 0, f"15 main {self.port} {'online' if self.process else 'down'} postgres /d /l\n", ""
        if words[0] == "systemctl":
            if words[1] in {"restart", "start"}:
                self.restarts += words[1] == "restart"
                self.stop()
                self.start()
            return 0, "", ""
        words = words[words.index("--") + 1 :]
        words = [f"PGHOST={self.path / 'data'}" if each.startswith("PGHOST=") else each for each in words]
        done = subprocess.run(words, input=text, check=False, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    @property
    def wanted(self) -> Wanted:
        return Wanted("127.0.0.1", self.port, "mailgate", self.directory, GATEWAYS)

    def database(self, *, wanted: Wanted | None = None, check_only: bool = False) -> EventDatabase:
        return EventDatabase(self.run, wanted or self.wanted, self.path / "store", check_only=check_only)

    def made(self) -> None:
        """Let the packages be recorded as the role's."""
        store = self.path / "store"
        store.mkdir(mode=0o700)
        installed = {"postgresql-15": {"by": "event_database", "kept": "", "purge": True}}
        (store / "packages.json").write_text(json.dumps({"installed": installed}))

    def apply(self) -> Outcome:
        return self.database().present()

    def login(self, user: str, password: str) -> str:
        """Return what a gateway gets from the server."""
        place = f"host=127.0.0.1 port={self.port} user={user} dbname=mailgate sslmode=verify-full"
        done = subprocess.run(
            ["psql", "-XqAt", f"{place} sslrootcert={self.directory / 'ca.pem'}", "-c",
             "SELECT max(version) FROM mailgate.schema_versions"],
            env={**os.environ, "PGPASSWORD": password}, check=False, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip() or done.stderr


@pytest.fixture
def machine(monkeypatch) -> Iterator[Machine]:
    # Directories of pytest cannot be reached by another user; a name that begins with mailgate is the collection's own.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as directory:
        path = Path(directory)
        monkeypatch.setattr(server, "SETTINGS", path / "etc")
        monkeypatch.setattr(server, "is_installed", lambda: True)
        monkeypatch.setattr(setup, "_UNITS", path / "units")
        made = Machine(path)
        yield made
        made.stop()


def test_the_role_copies_all_of_the_schema():
    tasks = (ROLE.parent / "tasks" / "present.yml").read_text()
    for path in (ROLE / "migrations").iterdir():
        assert f"schema/migrations/{path.name}" in tasks


def test_a_server_of_the_admins(machine):
    machine.sql("CREATE DATABASE papers", "CREATE ROLE librarian LOGIN PASSWORD 'x'")
    before = machine.hba.read_bytes()
    wanted = machine.database(check_only=True).present()
    assert wanted.changed
    assert machine.hba.read_bytes() == before
    assert machine.sql("SELECT count(*) FROM pg_database WHERE datname = 'mailgate'") == "0"

    machine.apply()
    assert (machine.restarts, machine.login("mailgate_gw1", "1" * 64)) == (1, "1")
    assert "password authentication failed" in machine.login("mailgate_gw1", "2" * 64)
    assert "rejects connection" in machine.login("librarian", "x") or "no pg_hba.conf entry" in machine.login(
        "librarian", "x"
    )
    again = machine.apply()
    assert (again.changed, machine.restarts) == ([], 1)

    outcome = machine.database().absent(remove=False)
    assert any("database mailgate stays" in each for each in outcome.left)
    assert not outcome.empty
    assert machine.hba.read_bytes() == before
    assert [*(machine.config / "conf.d").iterdir()] == []
    assert machine.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'mailgate\\_gw%'") == ""
    assert tls_problem("127.0.0.1", machine.port, str(machine.directory / "ca.pem"))
    assert machine.sql("SELECT count(*) FROM mailgate.events", database="mailgate") == "0"

    machine.database().absent(remove=True)
    assert machine.sql("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1") == "papers\npostgres"
    assert machine.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'mailgate%'") == ""


def test_the_admins_later_lines_stay(machine):
    machine.apply()
    machine.hba.write_text(machine.hba.read_text() + "host papers librarian 10.0.0.0/8 scram-sha-256\n")
    outcome = machine.database().absent(remove=True)
    assert machine.hba.read_text().splitlines()[-2:] == [
        "host all all 0.0.0.0/0 reject",
        "host papers librarian 10.0.0.0/8 scram-sha-256",
    ]
    assert "mailgate" not in machine.hba.read_text()
    assert outcome.left == [each for each in outcome.left if "edited since" in each] != []
    assert machine.database().absent(remove=True).changed == []


def test_a_gateway_is_added_one_leaves_and_one_gets_a_new_password(machine):
    machine.apply()
    other = Gateway("gw3", "mailgate_gw3", ("127.0.0.1",), "3" * 64)
    changed = replace(GATEWAYS[0], password="4" * 64)
    machine.database(wanted=replace(machine.wanted, gateways=(changed, other))).present()
    assert machine.login("mailgate_gw1", "4" * 64) == machine.login("mailgate_gw3", "3" * 64) == "1"
    assert machine.login("mailgate_gw2", "2" * 64) != "1"
    assert machine.restarts == 1


def test_a_run_that_was_interrupted_before_the_restart(machine):
    machine.apply()
    machine.stop()
    machine.conf.write_text(machine.conf.read_text().replace("include_dir", "#include_dir"))
    machine.start()
    machine.conf.write_text(machine.conf.read_text().replace("#include_dir", "include_dir"))
    assert tls_problem("127.0.0.1", machine.port, str(machine.directory / "ca.pem"))
    machine.apply()
    assert machine.login("mailgate_gw1", "1" * 64) == "1"


def test_a_server_that_does_not_run_keeps_its_users_but_no_file_that_names_the_certificate(machine):
    before = machine.hba.read_bytes()
    machine.apply()
    machine.stop()
    outcome = machine.database().absent(remove=True)
    assert (outcome.empty, len(outcome.left)) == (False, 1)
    assert (machine.hba.read_bytes(), [*(machine.config / "conf.d").iterdir()]) == (before, [])
    machine.start()


def test_a_server_that_the_role_has_made_is_started(machine):
    machine.made()
    machine.stop()
    assert machine.database(check_only=True).present().changed == ["start of postgresql@15-main.service"]
    machine.apply()
    assert machine.login("mailgate_gw1", "1" * 64) == "1"
    unit = machine.path / "units" / "postgresql@15-main.service.d" / "mailgate.conf"
    assert "Restart=on-failure" in unit.read_text()
    machine.database().absent(remove=True)
    assert not unit.parent.exists()


class TestConflicts:
    def refused(self, machine: Machine) -> str:
        """Return why nothing was changed."""
        before = machine.hba.read_bytes(), machine.sql("SELECT datname, rolname FROM pg_database, pg_roles")
        with pytest.raises(DatabaseError, match="nothing was changed") as error:
            machine.apply()
        assert (machine.hba.read_bytes(), machine.sql("SELECT datname, rolname FROM pg_database, pg_roles")) == before
        assert [*(machine.config / "conf.d").iterdir()] == []
        return str(error.value)

    def test_a_database_of_the_name(self, machine):
        machine.sql("CREATE DATABASE mailgate")
        assert "the database mailgate exists" in self.refused(machine)

    def test_its_hint_lets_the_role_have_it(self, machine):
        machine.sql("CREATE DATABASE mailgate TEMPLATE template0 ENCODING 'UTF8'")
        statement = self.refused(machine).partition("-c '")[2].rpartition("'")[0].replace("'\\''", "'")
        machine.sql(statement)
        machine.apply()
        assert machine.login("mailgate_gw1", "1" * 64) == "1"

    def test_a_user_of_the_name(self, machine):
        machine.sql("CREATE ROLE mailgate_gw2 LOGIN")
        assert "the user mailgate_gw2 exists" in self.refused(machine)

    def test_a_certificate(self, machine):
        machine.conf.write_text(f"ssl_cert_file = '/etc/ssl/db.pem'\n{machine.conf.read_text()}")
        assert "has a certificate already" in self.refused(machine)

    def test_a_file_that_is_not_valid(self, machine):
        machine.hba.write_text(machine.hba.read_text() + "host nonsense\n")
        assert "pg_hba.conf, line 4" in self.refused(machine)

    def test_a_server_that_does_not_run(self, machine):
        machine.stop()
        found = machine.database().conflicts()
        machine.start()
        assert ["does not run" in each for each in found] == [True]

    def test_another_port(self, machine):
        other = replace(machine.wanted, port=machine.port + 1)
        found = machine.database(wanted=other).conflicts()
        assert [f"but 15/main on {machine.port}" in each for each in found] == [True]


def test_what_comes_later_is_found_after_writing_and_all_is_put_back(machine):
    machine.conf.write_text(machine.conf.read_text() + "ssl = off\n")
    before = machine.hba.read_bytes()
    with pytest.raises(DatabaseError, match="put back"):
        machine.apply()
    assert machine.hba.read_bytes() == before
    assert [*(machine.config / "conf.d").iterdir()] == []


def test_files_without_conf_d(machine):
    machine.conf.write_text(machine.conf.read_text().replace("include_dir = 'conf.d'\n", ""))
    with pytest.raises(DatabaseError, match="include_dir"):
        machine.apply()
    assert [*(machine.config / "conf.d").iterdir()] == []
