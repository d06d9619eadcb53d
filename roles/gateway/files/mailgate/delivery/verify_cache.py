# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification cache: results of recipient verification, kept on disk across restarts and outages."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailgate.failure_log import FailureLog
from mailgate.smtp.address import Mailbox
from mailgate.state import VERIFICATION_CACHE, StateFile

# How long a known recipient is fresh: its entry is not written again.
REFRESH_SECONDS = 3600
# Entries are also held in memory, for a short time because other processes write as well.
MEMORY_SECONDS = 60
MAX_IN_MEMORY = 20_000
# A known recipient is refreshed after this part of its lifetime.
REFRESH_AFTER = 0.9

# Version 0 has refusals that were about a sender, and their text.
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS recipients (
    mailbox TEXT PRIMARY KEY,
    known INTEGER NOT NULL,
    code INTEGER NOT NULL, -- not used
    text TEXT NOT NULL, -- not used
    at INTEGER NOT NULL -- seconds since 1970
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cached result: whether the recipient is known. The text of a refusal, which was for one sender, is not kept."""

    known: bool


_KNOWN, _UNKNOWN = CacheEntry(known=True), CacheEntry(known=False)


@dataclass(frozen=True, slots=True)
class _Row:
    """A result, when it was stored, and when it was last read from the database."""

    known: bool
    stored: int
    read: float


class VerificationCache:
    """Entries by mailbox in `state_dir/recipients.sqlite`; on I/O errors every recipient is unseen.

    A catch-all domain is stored as `@domain`, in place of its recipients.
    """

    FILE = VERIFICATION_CACHE

    def __init__(
        self,
        state_dir: Path,
        *,
        known_seconds: int,
        unknown_seconds: int,
        max_rows: int = 1_000_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.known_seconds = known_seconds
        self.unknown_seconds = unknown_seconds
        self.max_rows = max_rows
        self._clock = clock
        self._memory: dict[str, _Row] = {}
        self._reading = FailureLog("cannot read the verification cache")
        self._writing = FailureLog("cannot write the verification cache")
        self._file = StateFile(state_dir / self.FILE, _SCHEMA, self._prepare)
        try:
            self._file.use()
        except sqlite3.Error as error:
            self._reading.failed(error)

    @property
    def _database(self) -> sqlite3.Connection:
        return self._file.use()

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Delete the unknown recipients of an earlier version, and what is too old or too much."""
        # Known recipients are needed during outages.
        if database.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
            database.execute("DELETE FROM recipients WHERE known = 0")
            database.execute(f"PRAGMA user_version = {_VERSION}")
        self._prune(database)

    def find(self, mailbox: Mailbox) -> CacheEntry | None:
        """Return the valid entry, or None. All recipients of a catch-all domain are known."""
        return self._find(mailbox.key) or (self._find(f"@{mailbox.domain}") if self.catches_all(mailbox) else None)

    def catches_all(self, mailbox: Mailbox) -> bool | None:
        """Return whether the mailbox's server accepts any recipient, or None if no entry is valid."""
        entry = self._find(f"@{mailbox.domain}")
        return entry.known if entry else None

    def is_fresh(self, mailbox: Mailbox) -> bool:
        """Return whether the mailbox was verified within REFRESH_SECONDS."""
        row = self._row(mailbox.key) or self._row(f"@{mailbox.domain}")
        return row is not None and row.known and self._clock() - row.stored < REFRESH_SECONDS

    def _find(self, key: str) -> CacheEntry | None:
        now = self._clock()
        row = self._row(key, now)
        if row is None or now - row.stored >= (self.known_seconds if row.known else self.unknown_seconds):
            return None
        return _KNOWN if row.known else _UNKNOWN

    def _row(self, key: str, now: float | None = None) -> _Row | None:
        """Return the entry, from memory or from the database."""
        now = self._clock() if now is None else now
        held = self._memory.get(key)
        if held and now - held.read < MEMORY_SECONDS:
            return held
        try:
            row = self._database.execute("SELECT known, at FROM recipients WHERE mailbox = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._reading.failed(error)
            return None
        self._reading.worked()
        if row is None:
            return None
        return self._hold(key, bool(row[0]), row[1])

    def _hold(self, key: str, known: bool, stored: int) -> _Row:
        if len(self._memory) >= MAX_IN_MEMORY:
            self._memory.clear()
        held = self._memory[key] = _Row(known, stored, self._clock())
        return held

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock())

    def store(self, mailbox: Mailbox, *, known: bool) -> list[str]:
        """Store whether the recipient exists; return the keys of entries that are new, changed or refreshed."""
        if not known:
            stored = self._store(mailbox.key, known=False)
            if self.catches_all(mailbox):
                # No longer a catch-all, or another server of the domain is one.
                stored += self.store_catch_all(mailbox.domain, known=False)
            return stored
        return [] if self.catches_all(mailbox) else self._store(mailbox.key, known=True)

    def adopt(self, key: str, *, known: bool, at: int) -> None:
        """Store a result that another gateway got at a time in seconds since 1970, unless a later one is here."""
        row = self._row(key)
        if row is None or row.stored < at:
            self._write(key, known=known, at=min(at, self.now))

    def store_catch_all(self, domain: str, *, known: bool) -> list[str]:
        """Store whether the domain's server accepts any recipient; return keys as `store`."""
        return self._store(f"@{domain}", known=known)

    def _store(self, key: str, *, known: bool) -> list[str]:
        now = self.now
        row = self._row(key)
        if row and known and row.known and row.stored >= now - REFRESH_SECONDS:
            return []
        self._write(key, known=known, at=now)
        return [key]

    def _write(self, key: str, *, known: bool, at: int) -> None:
        self._hold(key, known, at)
        try:
            self._database.execute(
                "INSERT INTO recipients VALUES (?, ?, ?, '', ?) ON CONFLICT DO UPDATE SET"
                " known = excluded.known, code = excluded.code, text = excluded.text, at = excluded.at",
                (key, known, 250 if known else 550, at),
            )
        except sqlite3.Error as error:
            self._writing.failed(error)
        else:
            self._writing.worked()

    def expiring(self, limit: int) -> list[str]:
        """Return known mailboxes whose entries expire soon, the oldest first, at most `limit`."""
        before = int(self._clock() - self.known_seconds * REFRESH_AFTER)
        rows = self._database.execute(
            "SELECT mailbox FROM recipients WHERE known = 1 AND at < ? AND mailbox NOT LIKE '@%' ORDER BY at LIMIT ?",
            (before, limit),
        )
        return [str(row[0]) for row in rows]

    def prune(self) -> None:
        """Delete expired entries; if there are too many, the oldest, and those of unknown recipients first."""
        self._prune(self._database)

    def _prune(self, database: sqlite3.Connection) -> None:
        now = int(self._clock())
        database.execute(
            "DELETE FROM recipients WHERE at <= CASE known WHEN 1 THEN ? ELSE ? END",
            (now - self.known_seconds, now - self.unknown_seconds),
        )
        database.execute(
            "DELETE FROM recipients WHERE mailbox IN"
            " (SELECT mailbox FROM recipients ORDER BY known DESC, at DESC LIMIT -1 OFFSET ?)",
            (self.max_rows,),
        )

    def sizes(self) -> tuple[int, int, int]:
        """Return the numbers of entries, as `count`."""
        return count(self._database)

    def close(self) -> None:
        """Close the database."""
        self._file.close()


def count(database: sqlite3.Connection) -> tuple[int, int, int]:
    """Return the number of known recipients, of unknown recipients, and of catch-all domains."""
    rows = database.execute("SELECT known, mailbox LIKE '@%', COUNT(*) FROM recipients GROUP BY 1, 2")
    numbers = {(bool(known), bool(domain)): int(number) for known, domain, number in rows}
    return numbers.get((True, False), 0), numbers.get((False, False), 0), numbers.get((True, True), 0)
