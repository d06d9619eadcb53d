# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the state directory, and how it is opened.

| name | content | format | owner |
|---|---|---|---|
| `events.sqlite` | event counters per minute | SQLite | `events.Counters` |
| `events/` | events, a file per hour | JSON lines | `event_spool.Spool` |
| `event_index/` | index of events, a file per day | SQLite | `event_index` |
| `event_salt` | key of hashed addresses | text | `event_privacy` |
| `recipients.sqlite` | results of recipient verification | SQLite | `delivery.verify_cache.VerificationCache` |
| `bans.sqlite` | banned clients | SQLite | `limits.local_store.LocalStore`, `limits.ban_exchange.BanExchange` |
| `greylist.sqlite` | senders that wait or have waited | SQLite | `limits.local_store.LocalStore` |
| `delivered` | duplicate-delivery log | memory-mapped table | `delivery.duplicates.DuplicateLog` |
| `known_routes`, `removed_routes` | the last delivery table, and the domains that left it | text | `removed_routes` |
| `quarantine/` | kept messages | one file per message | `content.quarantine.Quarantine` |
| `report_sent` | the latest month whose report was sent | text | `commands.report_mail` |
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

COUNTERS = "events.sqlite"
EVENTS = "events"
EVENT_INDEX = "event_index"
EVENT_SALT = "event_salt"
VERIFICATION_CACHE = "recipients.sqlite"
BANS = "bans.sqlite"
GREYLIST = "greylist.sqlite"
SENT_MAIL = "sent.sqlite"
DUPLICATE_LOG = "delivered"
KNOWN_ROUTES = "known_routes"
REMOVED_ROUTES = "removed_routes"
QUARANTINE = "quarantine"
REPORT_SENT = "report_sent"

_NO_ROOM = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL)
# Between two attempts to open a file that cannot be opened.
RETRY_SECONDS = 2.0


def open_state(path: Path, schema: str, *, busy_seconds: float = 2) -> sqlite3.Connection:
    """Open a state database and create it if it is missing; raise sqlite3.Error on failure.

    Args:
        path: The file.
        schema: Statement that creates its table.
        busy_seconds: How long a statement waits for a lock.
    """
    database = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    try:
        # WAL: readers (the report) never block the service. Commits survive a killed process, but not a power failure.
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(schema)
    except sqlite3.Error:
        database.close()
        raise
    return database


class StateFile:
    """A state database that is opened when it is needed, so that the service starts while the disk is full.

    Args:
        path: The file.
        schema: Statement that creates its table.
        prepare: Called with the database when it was opened.
        clock: Time in seconds.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        prepare: Callable[[sqlite3.Connection], object] = lambda _database: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._schema = schema
        self._prepare = prepare
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._error: sqlite3.Error | None = None
        self._retry_at = 0.0

    def use(self) -> sqlite3.Connection:
        """Return the database; raise sqlite3.Error if it cannot be opened, which is tried once in RETRY_SECONDS."""
        if self._database is None:
            if self._error and self._clock() < self._retry_at:
                raise self._error
            self._retry_at = self._clock() + RETRY_SECONDS
            try:
                database = open_state(self._path, self._schema)
                try:
                    self._prepare(database)
                except sqlite3.Error:
                    database.close()
                    raise
            except sqlite3.Error as error:
                self._error = error
                raise
            self._database, self._error = database, None
        return self._database

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
            self._database = None


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open an existing state database for reading, also on a full disk; raise sqlite3.Error on failure."""
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2)
    try:
        database.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        database.close()
        log = path.with_name(f"{path.name}-wal")
        # SQLite makes a file beside a database of this kind. If there is no room for it, and nothing to read but the
        # database itself, it can be read as a file that nobody changes.
        if error.sqlite_errorcode & 0xFF not in _NO_ROOM or (log.exists() and log.stat().st_size):
            raise
        return sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, timeout=2)
    return database


def map_table(path: Path, size: int) -> mmap.mmap:
    """Map a file of `size` bytes that all processes share, created if missing; raise OSError on failure."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        # Allocate all of it now, so that a full disk does no harm later.
        os.posix_fallocate(handle, 0, size)
        return mmap.mmap(handle, size)
    finally:
        os.close(handle)


def create_directory(path: Path) -> None:
    """Create a state directory that only the service can read, if it is missing; raise OSError on failure."""
    path.mkdir(mode=0o700, exist_ok=True)
