# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of one gateway: bans and greylist in the state directory, rates in memory that its workers map.

Calls do not wait for anything but the lock of a database, for at most BUSY_SECONDS. A database that fails is closed and
opened again with the next call, so that the service recovers once its file is repaired or removed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mailgate.limits.store import Attempt, Ban, BanChanges, StoreError
from mailgate.rate_buckets import RateBuckets
from mailgate.state import BANS, GREYLIST, open_read_only, open_state

BUSY_SECONDS = 0.05
# Senders that are deleted in one transaction, so that no other process waits long for the lock.
_DELETED_AT_ONCE = 500

BAN_SCHEMA = """
CREATE TABLE IF NOT EXISTS bans (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- grows with each ban, so that new ones are found
    network TEXT NOT NULL UNIQUE, -- address or network
    until INTEGER NOT NULL, -- seconds since 1970
    since INTEGER NOT NULL,
    reason TEXT NOT NULL
)
"""
# Changes that `ban_exchange` has not yet published; for a removal, `until` is 0 and `since` its time.
UNPUBLISHED_SCHEMA = """
CREATE TABLE IF NOT EXISTS unpublished (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL,
    until INTEGER NOT NULL,
    since INTEGER NOT NULL,
    reason TEXT NOT NULL
)
"""
# Removals that are known here, by which older bans of other gateways have no effect.
REMOVED_SCHEMA = "CREATE TABLE IF NOT EXISTS removed (network TEXT PRIMARY KEY, at INTEGER NOT NULL)"
REMOVE = "INSERT INTO removed VALUES (?, ?) ON CONFLICT (network) DO UPDATE SET at = excluded.at WHERE excluded.at > at"
# Not before the ban, which a gateway whose clock is ahead may have added.
_REMOVAL_TIME = "SELECT MAX(?, CAST(TOTAL(since) AS INTEGER)) FROM bans WHERE network = ?"
_ADD_UNPUBLISHED = "INSERT INTO unpublished (network, until, since, reason) VALUES (?, ?, ?, ?)"
GREYLIST_SCHEMA = """
CREATE TABLE IF NOT EXISTS senders (
    network TEXT NOT NULL, -- of the client
    key BLOB NOT NULL, -- hash of network, sender and recipient
    first INTEGER NOT NULL, -- seconds since 1970
    last INTEGER NOT NULL,
    passed INTEGER NOT NULL, -- whether it has waited
    PRIMARY KEY (network, key)
) WITHOUT ROWID
"""
# A network may have many senders that wait.
GREYLIST_INDEX = "CREATE INDEX IF NOT EXISTS passed_senders ON senders (network) WHERE passed = 1"
_ADD_BAN = "REPLACE INTO bans (network, until, since, reason) VALUES (?, ?, ?, ?)"


class _File:
    """A database that is opened when it is needed."""

    def __init__(self, path: Path, schema: str, index: str = "") -> None:
        self._path = path
        self._schema = schema
        self._index = index
        self._database: sqlite3.Connection | None = None
        #: How often it was opened.
        self.opened = 0

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Yield the database; raise StoreError for its errors."""
        try:
            if self._database is None:
                self.opened += 1
                self._database = open_state(self._path, self._schema, busy_seconds=BUSY_SECONDS)
                self._database.execute(self._index)
            yield self._database
        except sqlite3.Error as error:
            self.close()
            raise StoreError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close it; the next use opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None


class LocalStore:
    """Bans in `state_dir/bans.sqlite`, greylist in `state_dir/greylist.sqlite`.

    Args:
        state_dir: The state directory.
        rates: Rates of all workers.
        clock: Seconds since 1970.
    """

    def __init__(self, state_dir: Path, rates: RateBuckets, clock: Callable[[], float] = time.time) -> None:
        self._rates = rates
        self._clock = clock
        self._bans = _File(state_dir / BANS, BAN_SCHEMA)
        self._greylist_path = state_dir / GREYLIST
        self._greylist = _File(self._greylist_path, GREYLIST_SCHEMA, GREYLIST_INDEX)
        # Of the bans that were read: the database and its version, the number of removals, and the newest ban.
        self._version: tuple[int, int] | None = None
        self._removals: tuple[int, int] | None = None
        self._newest = 0
        self._banned = 0
        #: Bound of the bans.
        self.max_bans = 50_000
        #: Whether other gateways are told of bans.
        self.publishes = False
        #: Bounds of the greylist: entries, and seconds for which senders that have not or have waited are kept.
        self.max_senders = 500_000
        self.window = 172_800
        self.lifetime = 3_110_400

    # Bans

    async def changed_bans(self) -> BanChanges | None:
        """Return the changes since the last call, None if there are none; the first call returns all bans."""
        with self._bans.use() as database:
            # Changes with each commit of another connection, and costs some microseconds.
            version = (self._bans.opened, int(database.execute("PRAGMA data_version").fetchone()[0]))
            if version == self._version:
                return None
            removals = (self._bans.opened, int(database.execute("PRAGMA user_version").fetchone()[0]))
            complete = removals != self._removals
            rows = database.execute(
                "SELECT number, network, until, since, reason FROM bans WHERE number > ? AND until > ? ORDER BY number",
                (0 if complete else self._newest, int(self._clock())),
            ).fetchall()
            if rows:
                self._newest = rows[-1][0]
            self._version, self._removals = version, removals
            return BanChanges([Ban(*row[1:]) for row in rows], complete)

    async def add_bans(self, bans: Iterable[Ban]) -> None:
        """Add bans, and remove those that have ended."""
        added = list(bans)
        with self._bans.use() as database:
            add_bans(database, added, self._clock(), publish=self.publishes)
            self._banned += len(added)
            if self._banned > self.max_bans // 10:
                self._banned = 0
                database.execute(
                    "DELETE FROM bans WHERE number IN (SELECT number FROM bans ORDER BY until DESC LIMIT -1 OFFSET ?)",
                    (self.max_bans,),
                )

    # Rates

    async def take_all(self, counted: Sequence[tuple[str, int]], seconds: int) -> int | None:
        """Count one event of each name until one had its limit; return the position of that one, or None."""
        return self._rates.take_all(counted, seconds)

    # Greylist

    async def network_successes(self, network: str) -> int:
        """Return how many senders of a network have waited."""
        with self._greylist.use() as database:
            row = database.execute(
                "SELECT COUNT(*) FROM senders INDEXED BY passed_senders WHERE network = ? AND passed = 1", (network,)
            ).fetchone()
            return int(row[0])

    async def attempt(self, key: bytes, network: str, now: int, expired: int) -> Attempt:
        """Return what is known of a sender; record `now` as its first attempt if that is new, or before `expired`."""
        with self._greylist.use() as database:
            row = database.execute(
                "SELECT first, passed, last FROM senders WHERE network = ? AND key = ?", (network, key)
            ).fetchone()
            if row and (now - row[2] < self.lifetime if row[1] else row[0] >= expired):
                return Attempt(row[0], bool(row[1]), row[2])
            database.execute("REPLACE INTO senders VALUES (?, ?, ?, ?, 0)", (network, key, now, now))
            return Attempt(now, passed=False)

    async def succeed(self, key: bytes, network: str, now: int) -> None:
        """Record that a sender has waited, or has sent again since."""
        with self._greylist.use() as database:
            database.execute(
                "UPDATE senders SET passed = 1, last = ? WHERE network = ? AND key = ?", (now, network, key)
            )

    def prune(self) -> None:
        """Delete senders that have expired, and the oldest beyond the maximum, those that have not waited first.

        To be called in a thread; raises sqlite3.Error.
        """
        if self._greylist_path.exists():
            database = open_state(self._greylist_path, GREYLIST_SCHEMA)
            try:
                _prune_senders(database, int(self._clock()), self.window, self.lifetime, self.max_senders)
            finally:
                database.close()

    def close(self) -> None:
        """Close the databases."""
        self._bans.close()
        self._greylist.close()


def _prune_senders(database: sqlite3.Connection, now: int, window: int, lifetime: int, maximum: int) -> None:
    expired = database.execute(
        "SELECT network, key FROM senders WHERE last <= CASE passed WHEN 1 THEN ? ELSE ? END",
        (now - lifetime, now - window),
    ).fetchall()
    number = int(database.execute("SELECT COUNT(*) FROM senders").fetchone()[0]) - len(expired)
    if number > maximum:
        expired += database.execute(
            "SELECT network, key FROM senders ORDER BY passed, last LIMIT ?", (number - maximum,)
        ).fetchall()
    for start in range(0, len(expired), _DELETED_AT_ONCE):
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "DELETE FROM senders WHERE network = ? AND key = ?", expired[start : start + _DELETED_AT_ONCE]
        )
        database.execute("COMMIT")


def list_bans(database: sqlite3.Connection, now: float) -> list[Ban]:
    """Return the bans that have not ended, those that end last first."""
    rows = database.execute(
        "SELECT network, until, since, reason FROM bans WHERE until > ? ORDER BY until DESC", (int(now),)
    )
    return [Ban(*row) for row in rows]


def add_bans(database: sqlite3.Connection, bans: Iterable[Ban], now: float, *, publish: bool = False) -> None:
    """Add bans, remove those that have ended, and record the new ones for other gateways if `publish`."""
    rows = [(ban.network, ban.until, ban.since, ban.reason) for ban in bans]
    database.execute("BEGIN IMMEDIATE")
    try:
        database.execute("DELETE FROM bans WHERE until <= ?", (int(now),))
        database.executemany(_ADD_BAN, rows)
        if publish:
            database.execute(UNPUBLISHED_SCHEMA)
            database.executemany(_ADD_UNPUBLISHED, rows)
        database.execute("COMMIT")
    except sqlite3.Error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def remove_bans(database: sqlite3.Connection, networks: Iterable[str], *, publish: bool = False) -> None:
    """Remove bans, so that workers read all of them again; record that for other gateways if `publish`."""
    rows = [(network,) for network in networks]
    database.execute("BEGIN IMMEDIATE")
    if publish:
        database.execute(UNPUBLISHED_SCHEMA)
        database.execute(REMOVED_SCHEMA)
        now = int(time.time())
        for (network,) in rows:
            at = database.execute(_REMOVAL_TIME, (now, network)).fetchone()[0]
            database.execute(REMOVE, (network, at))
            database.execute(_ADD_UNPUBLISHED, (network, 0, at, ""))
    database.executemany("DELETE FROM bans WHERE network = ?", rows)
    removals = int(database.execute("PRAGMA user_version").fetchone()[0]) + 1
    database.execute(f"PRAGMA user_version = {removals % (1 << 31)}")
    database.execute("COMMIT")


def stored_bans(state_dir: Path, now: float) -> list[Ban]:
    """Return the bans in a state directory; raise sqlite3.Error."""
    path = state_dir / BANS
    if not path.exists():
        return []
    database = open_read_only(path)
    try:
        return list_bans(database, now)
    finally:
        database.close()


def stored_senders(state_dir: Path) -> tuple[int, int]:
    """Return how many senders wait in the greylist, and how many have waited; raise sqlite3.Error."""
    path = state_dir / GREYLIST
    if not path.exists():
        return 0, 0
    database = open_read_only(path)
    try:
        row = database.execute("SELECT COUNT(*), TOTAL(passed) FROM senders").fetchone()
        return int(row[0] - row[1]), int(row[1])
    finally:
        database.close()
