# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What home servers said about recipients (call-ahead), kept on disk so that it outlives a restart and an outage."""

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

# Rewriting the same answer more often than this would only wear the disk.
REFRESH_SECONDS = 3600
# Answers are also held in memory, for a while, since other processes store too.
MEMORY_SECONDS = 60
MAX_IN_MEMORY = 20_000
# A known recipient is asked again when this part of its time has gone by.
AGED = 0.9

_SCHEMA = """
CREATE TABLE IF NOT EXISTS recipients (
    mailbox TEXT PRIMARY KEY,
    known INTEGER NOT NULL,
    code INTEGER NOT NULL,
    text TEXT NOT NULL, -- the server's lines
    at INTEGER NOT NULL -- seconds since 1970
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class CacheEntry:
    """A remembered answer: the recipient is known, or the home server's refusal."""

    known: bool
    reply: Reply


class VerificationCache:
    """Answers by mailbox in `state_dir/recipients.sqlite`; a disk that fails makes every recipient unseen.

    A domain whose server takes any recipient (catch-all) is kept under `@domain`, in place of its recipients.
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
        self._memory: dict[str, tuple[bool, Reply, int, float]] = {}
        self._database = open_state(state_dir / self.FILE, _SCHEMA)
        self.prune()

    def find(self, mailbox: Mailbox) -> CacheEntry | None:
        """The answer that still holds, or None: never seen, or too long ago. A catch-all domain knows everybody."""
        return self._find(mailbox.key) or (self._find(f"@{mailbox.domain}") if self.catches_all(mailbox) else None)

    def catches_all(self, mailbox: Mailbox) -> bool | None:
        """Whether the mailbox's server takes any recipient; None when it has not been tried of late."""
        answer = self._find(f"@{mailbox.domain}")
        return answer.known if answer else None

    def is_fresh(self, mailbox: Mailbox) -> bool:
        """Whether the mailbox was known a short while ago."""
        row = self._row(mailbox.key) or self._row(f"@{mailbox.domain}")
        return row is not None and row[0] and self._clock() - row[2] < REFRESH_SECONDS

    def _find(self, key: str) -> CacheEntry | None:
        row = self._row(key)
        if row is None:
            return None
        known, reply, at, _seen = row
        if self._clock() - at >= (self.known_seconds if known else self.unknown_seconds):
            return None
        return CacheEntry(known, reply)

    def _row(self, key: str) -> tuple[bool, Reply, int, float] | None:
        """Known, reply, when it was given, and when it was last read from the disk."""
        now = self._clock()
        held = self._memory.get(key)
        if held and now - held[3] < MEMORY_SECONDS:
            return held
        try:
            row = self._database.execute(
                "SELECT known, code, text, at FROM recipients WHERE mailbox = ?", (key,)
            ).fetchone()
        except sqlite3.Error:
            log.exception("cannot read the recipient cache")
            return None
        if row is None:
            return None
        return self._hold(key, bool(row[0]), Reply(row[1], tuple(row[2].split("\n"))), row[3])

    def _hold(self, key: str, known: bool, reply: Reply, at: int) -> tuple[bool, Reply, int, float]:
        if len(self._memory) >= MAX_IN_MEMORY:
            self._memory.clear()
        held = self._memory[key] = (known, reply, at, self._clock())
        return held

    def store(self, mailbox: Mailbox, reply: Reply) -> None:
        """Remember a home server's answer to RCPT, if it says anything about the recipient."""
        if reply.ok:
            if not self.catches_all(mailbox):
                self._store(mailbox.key, True, reply)
        elif says_unknown(reply):
            self._store(mailbox.key, False, reply)
            if self.catches_all(mailbox):
                # Not any more, or it was not the same server that said so.
                self._store(f"@{mailbox.domain}", False, reply)

    def store_catch_all(self, domain: str, reply: Reply) -> None:
        """Remember what the server said about a random recipient of `domain`, if that says anything."""
        if reply.ok or says_unknown(reply):
            self._store(f"@{domain}", reply.ok, reply)

    def _store(self, key: str, known: bool, reply: Reply) -> None:
        now = int(self._clock())
        row = self._row(key)
        if row and known and row[0] and row[2] >= now - REFRESH_SECONDS:
            return
        self._hold(key, known, reply, now)
        try:
            self._database.execute(
                "INSERT INTO recipients VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " known = excluded.known, code = excluded.code, text = excluded.text, at = excluded.at",
                (key, known, reply.code, "\n".join(reply.lines), now),
            )
        except sqlite3.Error:
            log.exception("cannot write the recipient cache")

    def aging(self, limit: int) -> list[str]:
        """Known mailboxes whose time is nearly over, the oldest first, at most `limit`."""
        before = int(self._clock() - self.known_seconds * AGED)
        rows = self._database.execute(
            "SELECT mailbox FROM recipients WHERE known = 1 AND at < ? AND mailbox NOT LIKE '@%' ORDER BY at LIMIT ?",
            (before, limit),
        )
        return [str(row[0]) for row in rows]

    def prune(self) -> None:
        """Drop answers that no longer hold, and the oldest when there are too many."""
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
        """As `count`."""
        return count(self._database)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def count(database: sqlite3.Connection) -> tuple[int, int, int]:
    """Number of known and of unknown recipients kept, and of catch-all domains."""
    rows = database.execute("SELECT known, mailbox LIKE '@%', COUNT(*) FROM recipients GROUP BY 1, 2")
    numbers = {(bool(known), bool(domain)): int(number) for known, domain, number in rows}
    return numbers.get((True, False), 0), numbers.get((False, False), 0), numbers.get((True, True), 0)


def says_unknown(reply: Reply) -> bool:
    """Whether a refusal at RCPT is about the recipient, not about the sender, the message or the server's state.

    With an enhanced code only X.1.x (address status, RFC 3463) counts; without one, 550, 551 and 553.
    """
    if reply.code not in (550, 551, 553):
        return False
    status = _status(reply)
    return status[:2] == ("5", "1") if status else True


def says_of_mail(reply: Reply, *, at_rcpt: bool) -> bool:
    """Whether a permanent refusal would meet the mail whoever brings it, and is not about who asks.

    With an enhanced code those about an address, a mailbox, the size or the form are (X.1, X.2, X.3.4 and X.6 of
    RFC 3463); without one, 550 to 553 at RCPT.
    """
    status = _status(reply)
    if status:
        return status[1] in ("1", "2", "6") or status[1:] == ("3", "4")
    return at_rcpt and 550 <= reply.code <= 553


def _status(reply: Reply) -> tuple[str, ...]:
    """The three numbers of the enhanced status code; none if there is none."""
    numbers = tuple(reply.text.partition(" ")[0].split("."))
    return numbers if len(numbers) == 3 and all(number.isdigit() for number in numbers) else ()
