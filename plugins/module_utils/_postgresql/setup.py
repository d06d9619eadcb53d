# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set up the database of the gateways' events in a cluster, or take it back; nothing of the admin's is changed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._keep import blocks, kept
from .._keep.store import STORE
from .._keep.text import content, decode, diff, encode, read
from .._replace import make_directory, replace_all
from . import files, scram
from .files import Gateway, Line, quoted
from .server import OLDEST, Cluster, DatabaseError, Run, Server, clusters, tls_problem

ROLE = "event_database"
_UNITS = Path("/etc/systemd/system")
_MARK = "campus.mailgate: events of the gateways"
# Of the cluster, as long as connections by TLS fail after a change.
_READY_SECONDS = 60
_PAUSE_SECONDS = 0.1
_ROLES = ("mailgate_gateway", "mailgate_owner")
_USERS = "mailgate\\_%"


@dataclass(frozen=True)
class Wanted:
    """What is to be set up.

    Attributes:
        address: Address on which the gateways find the server.
        port: Port of the cluster.
        database: Name of the database.
        directory: Directory with ca.pem, cert.pem and key.pem, and with the program migrate in schema.
        gateways: The gateways.
        memory_high: Memory above which the kernel reclaims that of a cluster which the role has made; "" for no limit.
    """

    address: str
    port: int
    database: str
    directory: Path
    gateways: tuple[Gateway, ...] = ()
    memory_high: str = ""


@dataclass
class Outcome:
    """What was changed, or would be in check mode; what stays, each with the reason; and differences for Ansible.

    `empty`: whether the cluster has no database of anybody, so that its packages can be removed.
    """

    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    empty: bool = True


class EventDatabase:
    """The event database of a host."""

    def __init__(self, run: Run, wanted: Wanted, store: Path = STORE, *, check_only: bool = False) -> None:
        """Use the host."""
        self._run, self._wanted, self._store, self._check_only = run, wanted, store, check_only

    # What there is

    def conflicts(self) -> list[str]:
        """Return what of the admin's stands in the way; read only. Empty without PostgreSQL: then the role makes it."""
        cluster, problem = self._cluster()
        if problem or not cluster or not cluster.online:
            return [problem] if problem else []
        server = Server(self._run, cluster)
        found = files.conflicts(self._lines(server), str(_settings_file(cluster)), self._wanted.address)
        try:
            own = files.own_lines(read(_access_file(cluster)) or "")
        except blocks.BlockError as error:
            return [*found, f"{_access_file(cluster)}: {error}"]
        # An interrupted run may have left lines that are valid only with its settings.
        return found + self._file_problems(server, cluster, own) + self._foreign(server)

    def _cluster(self) -> tuple[Cluster | None, str]:
        """Return the cluster of the port, and why it cannot be used; neither without PostgreSQL."""
        there = clusters(self._run)
        if not there:
            return None, ""
        found = next((each for each in there if each.port == self._wanted.port), None)
        listed = ", ".join(f"{each.title} on {each.port}" for each in there)
        if found is None:
            hint = "set the port in mailgate_event_database"
            return None, f"no cluster of PostgreSQL has port {self._wanted.port}, but {listed}: {hint}"
        if not found.version.isdigit() or int(found.version) < OLDEST:
            return None, f"the cluster {found.title} is older than {OLDEST}: upgrade it, or use another one ({listed})"
        if not found.online and not self._is_made():
            return None, f"the cluster {found.title} does not run: start it, or use another one ({listed})"
        return found, ""

    def _lines(self, server: Server) -> list[Line]:
        rows = server.rows(
            "SELECT name, coalesce(setting, '') AS value, sourcefile FROM pg_file_settings WHERE name IS NOT NULL"
            " ORDER BY seqno"
        )
        return [Line(str(name), str(value), str(file)) for name, value, file in rows]

    def _file_problems(self, server: Server, cluster: Cluster, without: range = range(0)) -> list[str]:
        """Return the errors in the present files, loaded or not, but for some lines of pg_hba.conf."""
        found = [
            f"{cluster.directory}/pg_hba.conf, line {number}: {error}"
            for number, error in server.rows(
                "SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL ORDER BY line_number"
            )
            if number not in without
        ]
        # Those that a restart applies have a text there, too.
        return found + [
            f"{file}, line {number}: {error}"
            for file, number, error in server.rows(
                "SELECT f.sourcefile, f.sourceline, f.error FROM pg_file_settings f LEFT JOIN pg_settings s"
                " ON s.name = lower(f.name) WHERE f.error IS NOT NULL AND s.context IS DISTINCT FROM 'postmaster'"
                " ORDER BY f.seqno"
            )
        ]

    def _database(self, server: Server) -> str | None:
        """Return the comment on the database, None without a database."""
        rows = server.rows(
            "SELECT coalesce(shobj_description(oid, 'pg_database'), '') AS mark FROM pg_database"  # noqa: S608
            f" WHERE datname = {_literal(self._wanted.database)}"
        )
        return str(rows[0][0]) if rows else None

    def _users(self, server: Server) -> dict[str, tuple[str, str, bool]]:
        """Return comment, verifier, and whether it can use the database, of each user with a name of the role."""
        rows = server.rows(
            "SELECT a.rolname, coalesce(shobj_description(a.oid, 'pg_authid'), '') AS mark,"  # noqa: S608
            " coalesce(a.rolpassword, '') AS verifier, a.rolcanlogin AND EXISTS (SELECT 1 FROM pg_auth_members m"
            " JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = a.oid AND g.rolname = 'mailgate_gateway') AS member"
            f" FROM pg_authid a WHERE a.rolname LIKE '{_USERS}'"
        )
        return {str(name): (str(mark), str(stored), bool(member)) for name, mark, stored, member in rows}

    def _foreign(self, server: Server) -> list[str]:
        """Return the database and the users that have the role's names, but that it has not made."""
        found = []
        mark, name = self._database(server), self._wanted.database
        if mark is not None and mark != _MARK:
            command = f"COMMENT ON DATABASE {quoted(name)} IS {_literal(_MARK)}"
            found.append(
                f"the database {name} exists, and the role has not made it. If it is that of the gateways' events, made"
                f" by hand, let the role have it: sudo -u postgres psql -c {_shell(command)}"
            )
        users = self._users(server)
        for gateway in self._wanted.gateways:
            if gateway.user in users and users[gateway.user][0] != _MARK:
                found.append(f"the user {gateway.user} exists, and the role has not made it: rename or remove it")
        return found

    # Setting it up

    def present(self) -> Outcome:
        """Set up the database, its users and the files; a second time, change nothing.

        Raises:
            DatabaseError: Something stands in the way, or the files are not valid; then they are as before.
        """
        outcome = Outcome()
        self._start(outcome)
        cluster, _problem = self._cluster()
        if found := self.conflicts():
            raise DatabaseError("nothing was changed: " + "; ".join(found))
        if cluster is None:
            if not self._check_only:
                raise DatabaseError("PostgreSQL has no cluster: make one by pg_createcluster VERSION main --start")
            outcome.changed.append("PostgreSQL is not installed yet")
            return outcome
        if not cluster.online:
            return outcome
        server = Server(self._run, cluster)
        self._set_up_database(server, outcome)
        self._set_up_users(server, outcome)
        self._write_files(server, cluster, outcome)
        if not self._check_only:
            self._require_tls(server)
        return outcome

    def _start(self, outcome: Outcome) -> None:
        """Start a cluster that the role has made."""
        cluster, _problem = self._cluster()
        if cluster is None or cluster.online:
            return
        outcome.changed.append(f"start of {cluster.unit}")
        if not self._check_only:
            self._do("systemctl", "start", cluster.unit)
            self._wait(Server(self._run, cluster).is_ready, f"{cluster.unit} does not answer; see its log")

    def _set_up_database(self, server: Server, outcome: Outcome) -> None:
        name = self._wanted.database
        if self._database(server) is None:
            outcome.changed.append(f"database {name}")
            if self._check_only:
                return
            create = f"CREATE DATABASE {quoted(name)} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
            mark = f"COMMENT ON DATABASE {quoted(name)} IS {_literal(_MARK)}"
            server.execute([create, mark, f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC"])
        if self._check_only:
            return
        outcome.changed += server.migrate(self._wanted.directory / "schema" / "migrate", name)
        server.execute([f"GRANT CONNECT ON DATABASE {quoted(name)} TO mailgate_gateway"])

    def _set_up_users(self, server: Server, outcome: Outcome) -> None:
        there = self._users(server)
        for gateway in self._wanted.gateways:
            mark, stored, member = there.get(gateway.user, ("", "", False))
            user, statements = quoted(gateway.user), []
            if not mark:
                statements += [f"CREATE ROLE {user} LOGIN", f"COMMENT ON ROLE {user} IS {_literal(_MARK)}"]
            if gateway.password and not scram.fits(stored, gateway.password):
                statements.append(f"ALTER ROLE {user} LOGIN PASSWORD {_literal(scram.verifier(gateway.password))}")
            if not member:
                statements.append(f"GRANT mailgate_gateway TO {user}")
            if statements:
                outcome.changed.append(f"user {gateway.user}")
                if not self._check_only:
                    server.execute(["BEGIN", *statements, "COMMIT"])
        self._drop_users(server, outcome, {gateway.user for gateway in self._wanted.gateways})

    def _drop_users(self, server: Server, outcome: Outcome, keep: set[str]) -> None:
        """Remove our users except these."""
        going = [name for name, (mark, *_verifier) in self._users(server).items() if mark == _MARK and name not in keep]
        outcome.changed += [f"user {name}" for name in going]
        if going and not self._check_only:
            server.execute([f"DROP ROLE {quoted(name)}" for name in going])

    def _write_files(self, server: Server, cluster: Cluster, outcome: Outcome) -> None:
        access, own, unit = _access_file(cluster), _settings_file(cluster), _unit_file(cluster)
        wanted, directory = self._wanted, self._wanted.directory
        certificate, key = str(directory / "cert.pem"), str(directory / "key.pem")
        lines = self._lines(server)
        settings = {own: encode(files.settings_text(lines, str(own), wanted.address, certificate, key))}
        if self._is_made():
            settings[unit] = _unit_text(wanted.memory_high).encode()
        accesses = files.access_lines(wanted.database, wanted.gateways)
        new = settings | {access: encode(files.with_access(read(access) or "", accesses))}
        before = {path: content(path) for path in new}
        todo = {path: data for path, data in new.items() if before[path] != data}
        self._note(before, todo, outcome)
        if self._check_only:
            return
        for path in todo:
            make_directory(path.parent)
        try:
            # Lines with hostssl are valid only when TLS is on.
            self._replace(server, cluster, {path: data for path, data in todo.items() if path != access})
            self._load(server, cluster, settings[own], outcome)
            self._replace(server, cluster, {path: data for path, data in todo.items() if path == access})
            if access in todo:
                server.execute(["SELECT pg_reload_conf()"])
        except (DatabaseError, OSError):
            present = {path: content(path) for path in todo}
            replace_all(present, {path: before[path] for path in todo if before[path] != present[path]})
            self._do("systemctl", "daemon-reload", may_fail=True)
            if server.is_ready():
                server.execute(["SELECT pg_reload_conf()"])
            else:
                self._do("systemctl", "restart", cluster.unit, may_fail=True)
            raise

    def _replace(self, server: Server, cluster: Cluster, new: dict[Path, bytes]) -> None:
        """Replace files, which the server then reads without using them; raise DatabaseError if it refuses them."""
        if not new:
            return
        kept.write_kept(new, ROLE, self._store)
        own, lines = str(_settings_file(cluster)), self._lines(server)
        problems = self._file_problems(server, cluster) + files.conflicts(lines, own, self._wanted.address)
        if not any(line.file == own for line in lines):
            problems.append(f"{cluster.directory}/postgresql.conf has no line: include_dir = 'conf.d'")
        if problems:
            raise DatabaseError(
                "the new files are not valid, and those of before were put back: " + "; ".join(problems)
            )

    def _load(self, server: Server, cluster: Cluster, settings: bytes, outcome: Outcome) -> None:
        """Let the server use its settings, also those of an interrupted run; restart it only if it must."""
        if "listen_addresses" in decode(settings) and not files.listens(
            server.execute(["SHOW listen_addresses"]), self._wanted.address
        ):
            outcome.changed.append(f"restart of {cluster.unit}")
            self._do("systemctl", "daemon-reload")
            self._restart(server, cluster)
        elif not self._has_loaded(server):
            server.execute(["SELECT pg_reload_conf()"])
            self._wait(lambda: self._has_loaded(server), f"{cluster.unit} does not load its settings; see its log")

    def _has_loaded(self, server: Server) -> bool:
        rows = server.rows("SELECT setting FROM pg_settings WHERE name IN ('ssl', 'ssl_cert_file') ORDER BY name")
        return [str(value) for (value,) in rows] == ["on", str(self._wanted.directory / "cert.pem")]

    def _wait(self, ready: Callable[[], bool], problem: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                raise DatabaseError(problem)
            time.sleep(_PAUSE_SECONDS)

    def _restart(self, server: Server, cluster: Cluster) -> None:
        self._do("systemctl", "restart", cluster.unit)
        self._wait(server.is_ready, f"{cluster.unit} does not answer after a restart; see journalctl -u {cluster.unit}")

    def _require_tls(self, server: Server) -> None:
        """Require that a gateway can connect; load the certificate again if it is a new one."""
        wanted, problem = self._wanted, ""

        def works() -> bool:
            nonlocal problem
            problem = tls_problem(wanted.address, wanted.port, str(wanted.directory / "ca.pem"))
            return not problem

        if works():
            return
        server.execute(["SELECT pg_reload_conf()"])
        try:
            self._wait(works, "")
        except DatabaseError:
            raise DatabaseError(
                f"the server does not answer on {wanted.address}:{wanted.port} as gateways need it: {problem}."
                " See its log in /var/log/postgresql"
            ) from None

    # Taking it back

    def absent(self, *, remove: bool) -> Outcome:
        """Remove our lines and users; the database only if `remove` is set.

        Raises:
            DatabaseError: A file or a statement failed; a further run completes it.
        """
        outcome = Outcome()
        there = clusters(self._run)
        if not there:
            return outcome
        cluster = next((each for each in there if each.port == self._wanted.port), None)
        if cluster is None or not cluster.online:
            outcome.empty = False
            outcome.left.append(
                f"no cluster of PostgreSQL runs on port {self._wanted.port}: the gateways' users and database stay"
            )
            if cluster:
                self._restore_files(Server(self._run, cluster), cluster, outcome)
            return outcome
        server = Server(self._run, cluster)
        self._drop_users(server, outcome, set())
        self._restore_files(server, cluster, outcome)
        self._drop_database(server, outcome, remove=remove)
        others = server.rows(
            "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY datname"
        )
        kept_names = [str(name) for (name,) in others if name != self._wanted.database or not remove]
        outcome.empty = not kept_names and len(there) == 1
        if kept_names and self._is_made():
            outcome.left.append(f"the packages of PostgreSQL stay: it has the databases {', '.join(kept_names)}")
        return outcome

    def _drop_database(self, server: Server, outcome: Outcome, *, remove: bool) -> None:
        name = self._wanted.database
        if self._database(server) != _MARK:
            return
        if not remove:
            outcome.left.append(
                f"the database {name} stays, with the events of the gateways;"
                " -e event_database_remove_data=true removes it"
            )
            return
        outcome.changed.append(f"database {name}")
        if not self._check_only:
            server.execute(
                [f"DROP DATABASE {quoted(name)} WITH (FORCE)", *(f"DROP ROLE IF EXISTS {role}" for role in _ROLES)]
            )

    def _restore_files(self, server: Server, cluster: Cluster, outcome: Outcome) -> None:
        access, own = _access_file(cluster), _settings_file(cluster)
        listened = "listen_addresses" in (read(own) or "")
        try:
            planned = kept.plan_restore(
                [access], self._store, lambda _path, data: encode(files.without_access(decode(data)))
            )
            planned += kept.plan_restore([own, _unit_file(cluster)], self._store)
        except (kept.KeptError, blocks.BlockError) as error:
            raise DatabaseError(f"the files of before cannot be restored: {error}") from error
        before = {each.path: content(each.path) for each in planned}
        todo = {each.path: each.content for each in planned if before[each.path] != each.content}
        self._note(before, todo, outcome)
        outcome.left += [each.told for each in planned if each.told]
        if self._check_only or not planned:
            return
        kept.restore(planned, self._store)
        with contextlib.suppress(OSError):
            _unit_file(cluster).parent.rmdir()
        for each in planned:
            if not each.exact:
                kept.set_aside(each.path, self._store)
        if not todo:
            return
        self._do("systemctl", "daemon-reload")
        if not cluster.online:
            return
        if listened:
            self._restart(server, cluster)
        else:
            server.execute(["SELECT pg_reload_conf()"])

    # Both

    def _is_made(self) -> bool:
        """Return whether the role has installed PostgreSQL, so that the cluster has no other use."""
        try:
            data: dict[str, Any] = json.loads(read(self._store / "packages.json") or "{}")
        except ValueError:
            return False
        return any(
            name.startswith("postgresql-1") and each.get("by") == ROLE
            for name, each in data.get("installed", {}).items()
        )

    def _note(
        self, before: dict[Path, bytes | None], todo: dict[Path, bytes | None] | dict[Path, bytes], outcome: Outcome
    ) -> None:
        for path, data in todo.items():
            old = before[path]
            outcome.changed.append(str(path))
            outcome.diff.append(
                diff(path, None if old is None else decode(old), None if data is None else decode(data))
            )

    def _do(self, *command: str, may_fail: bool = False) -> None:
        status, output, errors = self._run(command, "")
        if status and not may_fail:
            raise DatabaseError(f"{' '.join(command)}: {errors.strip() or output.strip()}")


def gateways(given: Sequence[dict[str, Any]], directory: Path) -> tuple[Gateway, ...]:
    """Return the gateways of the module's option, with their passwords in the directory, if these were made."""
    return tuple(
        Gateway(
            each["host"],
            each["user"],
            tuple(each["addresses"]),
            (read(directory / "passwords" / each["host"]) or "").strip(),
        )
        for each in given
    )


def _access_file(cluster: Cluster) -> Path:
    return Path(os.path.realpath(cluster.directory / "pg_hba.conf"))


def _settings_file(cluster: Cluster) -> Path:
    return cluster.directory / "conf.d" / "mailgate.conf"


def _unit_file(cluster: Cluster) -> Path:
    return _UNITS / f"{cluster.unit}.d" / "mailgate.conf"


def _unit_text(memory_high: str) -> str:
    limit = f"MemoryHigh={memory_high}\n" if memory_high else ""
    return (
        "# Written by the role event_database of campus.mailgate; a change is overwritten.\n"
        "[Unit]\n"
        "# Without its address, the server would listen on the others only.\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        "\n"
        "[Service]\n"
        f"CPUWeight=50\n{limit}"
        "Restart=on-failure\n"
        "RestartSec=5\n"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _shell(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
