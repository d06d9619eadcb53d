# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of Debian's PostgreSQL: its place, statements as the superuser, and whether its TLS works."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Run = Callable[[Sequence[str], str], "tuple[int, str, str]"]
"""Runs a command with a text as input; returns its exit status, standard output and standard error."""

_CLUSTERS = "/usr/bin/pg_lsclusters"
SETTINGS = Path("/etc/postgresql")
# The protocol's request for TLS: length and code.
_TLS_REQUEST = struct.pack("!II", 8, 80877103)
_TLS_SECONDS = 10
OLDEST = 15


class DatabaseError(Exception):
    """The database cannot be set up; the message has the cause and the fix."""


@dataclass(frozen=True)
class Cluster:
    """A cluster, as pg_lsclusters lists it."""

    version: str
    name: str
    port: int
    online: bool

    @property
    def title(self) -> str:
        """Return its name with the version, as Debian's tools write it."""
        return f"{self.version}/{self.name}"

    @property
    def unit(self) -> str:
        """Return its unit of systemd."""
        return f"postgresql@{self.version}-{self.name}.service"

    @property
    def directory(self) -> Path:
        """Return the directory of its settings."""
        return SETTINGS / self.version / self.name


def parse_clusters(text: str) -> list[Cluster]:
    """Return the clusters that `pg_lsclusters --no-header` prints."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 4 and words[2].isdigit():
            found.append(Cluster(words[0], words[1], int(words[2]), words[3].startswith("online")))
    return found


def is_installed() -> bool:
    """Return whether Debian's PostgreSQL is on this host."""
    return Path(_CLUSTERS).exists()


def clusters(run: Run) -> list[Cluster]:
    """Return the clusters of this host; none without PostgreSQL."""
    if not is_installed():
        return []
    status, output, errors = run([_CLUSTERS, "--no-header"], "")
    if status:
        raise DatabaseError(f"pg_lsclusters: {errors.strip() or output.strip()}")
    return parse_clusters(output)


class Server:
    """A running cluster."""

    def __init__(self, run: Run, cluster: Cluster) -> None:
        """Use a cluster."""
        self._run, self.cluster = run, cluster

    def rows(self, statement: str, database: str = "postgres") -> list[list[Any]]:
        """Return the rows of a query; raise DatabaseError."""
        text = self.execute([f"SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM ({statement}) AS r"], database)  # noqa: S608
        return [list(row.values()) for row in json.loads(text or "[]")]

    def execute(self, statements: Sequence[str], database: str = "postgres") -> str:
        """Run statements one after the other, and return their output; raise DatabaseError for the first that fails."""
        text = "".join(f"{statement};\n" for statement in statements)
        command = [*self._psql(), "--dbname", database]
        status, output, errors = self._run(command, "SET client_min_messages = warning;\n" + text)
        if status:
            raise DatabaseError(f"PostgreSQL {self.cluster.title}: {errors.strip() or output.strip()}")
        return output.strip()

    def migrate(self, script: Path, database: str) -> list[str]:
        """Bring the schema up to date; return what was applied."""
        words = ["sh", str(script), database, str(script.parent / "migrations")]
        status, output, errors = self._run([*self._as_superuser(), *words], "")
        if status:
            raise DatabaseError(f"migrate: {errors.strip() or output.strip()}")
        return output.split("\n")[:-1]

    def is_ready(self) -> bool:
        """Return whether it answers statements."""
        return self._run([*self._psql(), "--dbname", "postgres"], "SELECT 1;\n")[0] == 0

    def _as_superuser(self) -> list[str]:
        place = ["PGHOST=/var/run/postgresql", f"PGPORT={self.cluster.port}", "PGUSER=postgres", "LC_ALL=C.UTF-8"]
        return ["/usr/sbin/runuser", "-u", "postgres", "--", "/usr/bin/env", "-C", "/", *place]

    def _psql(self) -> list[str]:
        options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1"]
        return [*self._as_superuser(), "/usr/bin/psql", *options]


def tls_problem(address: str, port: int, ca_file: str) -> str:
    """Return why a gateway could not connect to the server, as far as TLS and certificate; "" if it could."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
        with socket.create_connection((address, port), _TLS_SECONDS) as plain:
            plain.sendall(_TLS_REQUEST)
            if plain.recv(1) != b"S":
                return "the server offers no TLS"
            with context.wrap_socket(plain, server_hostname=address):
                return ""
    except OSError as error:
        return str(error)
