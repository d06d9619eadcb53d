# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification cache: results of recipient verification, kept on disk across restarts and outages."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply
from mailgate.state import VERIFICATION_CACHE, open_state

log = logging.getLogger("mailgate")

# How long a known recipient is fresh: its entry is not written again.
REFRESH_SECONDS = 3600
# Entries are also held in memory, for a short time because other processes write as well.
MEMORY_SECONDS = 60
MAX_IN_MEMORY = 20_000
# A known recipient is refreshed after this part of its lifetime.
REFRESH_AFTER = 0.9

_SCHEMA = """
CREATE TABLE IF NOT EXISTS recipients (
    mailbox TEXT PRIMARY KEY,
    known INTEGER NOT NULL,
    code INTEGER NOT NULL,
    text TEXT NOT NULL, -- lines of the server's reply
    at INTEGER NOT NULL -- seconds since 1970
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cached result: whether the recipient is known, and the server's reply."""

    known: bool
    reply: Reply


@dataclass(frozen=True, slots=True)
class _Row:
    """A result, when it was stored, and when it was last read from the database."""

    known: bool
    reply: Reply
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
        self._database = open_state(state_dir / self.FILE, _SCHEMA)
        self.prune()

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
        row = self._row(key)
        if row is None:
            return None
        if self._clock() - row.stored >= (self.known_seconds if row.known else self.unknown_seconds):
            return None
        return CacheEntry(row.known, row.reply)

    def _row(self, key: str) -> _Row | None:
        """Return the entry, from memory or from the database."""
        now = self._clock()
        held = self._memory.get(key)
        if held and now - held.read < MEMORY_SECONDS:
            return held
        try:
            row = self._database.execute(
                "SELECT known, code, text, at FROM recipients WHERE mailbox = ?", (key,)
            ).fetchone()
        except sqlite3.Error:
            log.exception("cannot read the verification cache")
            return None
        if row is None:
            return None
        return self._hold(key, bool(row[0]), Reply(row[1], tuple(row[2].split("\n"))), row[3])

    def _hold(self, key: str, known: bool, reply: Reply, stored: int) -> _Row:
        if len(self._memory) >= MAX_IN_MEMORY:
            self._memory.clear()
        held = self._memory[key] = _Row(known, reply, stored, self._clock())
        return held

    def store(self, mailbox: Mailbox, reply: Reply) -> None:
        """Store a reply to RCPT if it shows whether the recipient exists."""
        if reply.ok:
            if not self.catches_all(mailbox):
                self._store(mailbox.key, True, reply)
        elif is_unknown_recipient(reply):
            self._store(mailbox.key, False, reply)
            if self.catches_all(mailbox):
                # No longer a catch-all, or another server of the domain is one.
                self._store(f"@{mailbox.domain}", False, reply)

    def store_catch_all(self, domain: str, reply: Reply) -> None:
        """Store the reply to a random recipient of `domain` if it shows whether the domain is a catch-all."""
        if reply.ok or is_unknown_recipient(reply):
            self._store(f"@{domain}", reply.ok, reply)

    def _store(self, key: str, known: bool, reply: Reply) -> None:
        now = int(self._clock())
        row = self._row(key)
        if row and known and row.known and row.stored >= now - REFRESH_SECONDS:
            return
        self._hold(key, known, reply, now)
        try:
            self._database.execute(
                "INSERT INTO recipients VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " known = excluded.known, code = excluded.code, text = excluded.text, at = excluded.at",
                (key, known, reply.code, "\n".join(reply.lines), now),
            )
        except sqlite3.Error:
            log.exception("cannot write the verification cache")

    def expiring(self, limit: int) -> list[str]:
        """Return known mailboxes whose entries expire soon, the oldest first, at most `limit`."""
        before = int(self._clock() - self.known_seconds * REFRESH_AFTER)
        rows = self._database.execute(
            "SELECT mailbox FROM recipients WHERE known = 1 AND at < ? AND mailbox NOT LIKE '@%' ORDER BY at LIMIT ?",
            (before, limit),
        )
        return [str(row[0]) for row in rows]

    def prune(self) -> None:
        """Delete expired entries, and the oldest if there are too many."""
        now = int(self._clock())
        self._database.execute(
            "DELETE FROM recipients WHERE at <= CASE known WHEN 1 THEN ? ELSE ? END",
            (now - self.known_seconds, now - self.unknown_seconds),
        )
        self._database.execute(
            "DELETE FROM recipients WHERE mailbox IN"
            " (SELECT mailbox FROM recipients ORDER BY at DESC LIMIT -1 OFFSET ?)",
            (self.max_rows,),
        )

    def sizes(self) -> tuple[int, int, int]:
        """Return the numbers of entries, as `count`."""
        return count(self._database)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def count(database: sqlite3.Connection) -> tuple[int, int, int]:
    """Return the number of known recipients, of unknown recipients, and of catch-all domains."""
    rows = database.execute("SELECT known, mailbox LIKE '@%', COUNT(*) FROM recipients GROUP BY 1, 2")
    numbers = {(bool(known), bool(domain)): int(number) for known, domain, number in rows}
    return numbers.get((True, False), 0), numbers.get((False, False), 0), numbers.get((True, True), 0)


def is_unknown_recipient(reply: Reply) -> bool:
    """Return whether a refusal at RCPT means that the recipient does not exist.

    Refusals because of the sender, the message or the server's state do not count. An enhanced status code must be
    X.1.x (address status, RFC 3463); without one, 550, 551 and 553 count.
    """
    if reply.code not in (550, 551, 553):
        return False
    status = _status(reply)
    return status[:2] == ("5", "1") if status else True


def is_about_message(reply: Reply, *, at_rcpt: bool) -> bool:
    """Return whether a permanent refusal is about the message, and not about the client that delivers it.

    Enhanced status codes about an address, a mailbox, the size or the format count (X.1, X.2, X.3.4 and X.6, RFC 3463);
    without one, 550 to 553 at RCPT count.
    """
    status = _status(reply)
    if status:
        return status[1] in ("1", "2", "6") or status[1:] == ("3", "4")
    return at_rcpt and 550 <= reply.code <= 553


def _status(reply: Reply) -> tuple[str, ...]:
    """Return the three numbers of the enhanced status code, or an empty tuple."""
    numbers = tuple(reply.text.partition(" ")[0].split("."))
    return numbers if len(numbers) == 3 and all(number.isdigit() for number in numbers) else ()
