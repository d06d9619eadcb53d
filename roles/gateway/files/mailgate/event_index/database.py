# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection to the PostgreSQL of `[event_database]`; its failures are a StoreError that says what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mailgate.config import split_server
from mailgate.event_index.store import StoreError
from mailgate.event_settings import EventDatabase
from mailgate.secret_files import password_of

if TYPE_CHECKING:
    from pg8000.native import Connection

# Number of the last file in roles/event_database/files/migrations.
SCHEMA_VERSION = 1
# Plans that read an index in its order and stop at the limit. Others read all events of a term, or all terms.
_PLANNER = {
    "enable_" + name: "off" for name in ("hashjoin", "mergejoin", "seqscan", "bitmapscan", "sort", "incremental_sort")
}
_MIGRATE = "bring the schema of the event database up to date"
# By the codes of PostgreSQL's errors (appendix A of its manual).
_HINTS = {
    "28000": "check event_database.user, and pg_hba.conf on the server",
    "28P01": "check event_database.user and the password in event_database.password_file",
    "3D000": f"check event_database.name; {_MIGRATE}",
    "3F000": _MIGRATE,
    "42501": f"the user must be a member of mailgate_gateway; {_MIGRATE}",
    "42883": _MIGRATE,
    "42P01": _MIGRATE,
    "57014": "the answer took longer than event_database.timeout",
}


class Database:
    """A connection, which is opened by the first statement, and again after a failure.

    Args:
        settings: Section `[event_database]`.
        timeout: Seconds to wait for an answer; the settings' by default.
        searches: Whether it is used to search.
    """

    def __init__(self, settings: EventDatabase, *, timeout: float | None = None, searches: bool = False) -> None:
        self._settings = settings
        self._timeout = timeout or settings.timeout
        self._searches = searches
        self._connection: Connection | None = None

    def run(self, statement: str, **values: object) -> list[list[Any]]:
        """Return the rows of a statement; raise StoreError."""
        with self._guard():
            return self._connected().run(statement, **values) or []

    def copy(self, table: str, lines: Iterable[bytes]) -> None:
        """Add lines in PostgreSQL's text format to a table; raise StoreError."""
        with self._guard():
            # As one message of the protocol.
            self._connected().run(f"COPY {table} FROM STDIN", stream=[b"".join(lines)])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done within, or nothing of it."""
        self.run("START TRANSACTION")
        try:
            yield
        except BaseException:
            # Ends the transaction also where the server has not answered.
            self.close()
            raise
        self.run("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection:
            with suppress(Exception):
                connection.close()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        from pg8000.exceptions import DatabaseError, InterfaceError  # noqa: PLC0415

        try:
            yield
        except DatabaseError as error:
            self.close()
            raise self._error(*_details(error)) from error
        except StoreError:
            raise
        # Any error that a server which is not a PostgreSQL may cause in the library.
        except Exception as error:
            self.close()
            if isinstance(error, InterfaceError) and str(error) == "network error":
                raise self._error(_text(error.__cause__ or "the server closed the connection"), "") from error
            raise self._error(_text(error), "") from error

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
            self._check_version(self._connection)
        return self._connection

    def _connect(self) -> Connection:
        # Imported here because most gateways have no event database.
        from pg8000.native import Connection  # noqa: PLC0415

        settings = self._settings
        host, port = split_server(settings.server)
        context: ssl.SSLContext | bool = False
        if settings.tls:
            context = ssl.create_default_context(cafile=settings.ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Sending without delay saves 40 ms per connection: PostgreSQL's handshake has small messages in a row.
        plain = socket.create_connection((host, port), self._timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # The server gives up first, with a reason.
        seconds = max(0.5, self._timeout - 1)
        try:
            return Connection(
                settings.user,
                # The name that the certificate must have.
                host=host,
                sock=plain,
                database=settings.name,
                # Without one, the library fails where the server asks for it.
                password=password_of(settings),
                ssl_context=context,
                application_name="mailgate",
                startup_params={
                    "search_path": "mailgate",
                    # Plans are short, and the costs of what is off would have each of them compiled.
                    "jit": "off",
                    "statement_timeout": f"{seconds * 1000:.0f}",
                    **(_PLANNER if self._searches else {}),
                },
            )
        except BaseException:
            plain.close()
            raise

    def _check_version(self, connection: Connection) -> None:
        found = connection.run("SELECT coalesce(max(version), 0) FROM schema_versions")[0][0]
        if found != SCHEMA_VERSION:
            self.close()
            action = _MIGRATE if found < SCHEMA_VERSION else "update this gateway"
            raise self._error(f"the schema has version {found}, this gateway needs {SCHEMA_VERSION}; {action}", "")

    def _error(self, text: str, code: str) -> StoreError:
        hint = _HINTS.get(code, "")
        return StoreError(f"{self._settings.server}: {text}{f' ({hint})' if hint else ''}")


def _details(error: Exception) -> tuple[str, str]:
    """Return message and code of an error that the server reported."""
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return _text(fields.get("M") or error), str(fields.get("C", ""))


def _text(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return " ".join(text.split())[:300]
