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

from mailgate.address import Mailbox
from mailgate.events import open_state
from mailgate.reply import Reply

log = logging.getLogger("mailgate")

# Rewriting the same answer more often than this would only wear the disk.
REFRESH_SECONDS = 3600
MAX_ROWS = 1_000_000

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
class Answer:
    """A remembered answer: the recipient is known, or the home server's refusal."""

    known: bool
    reply: Reply


class Recipients:
    """Answers by mailbox in `state_dir/recipients.sqlite`; a disk that fails makes every recipient unseen."""

    FILE = "recipients.sqlite"

    def __init__(
        self, state_dir: Path, *, known_seconds: int, unknown_seconds: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.known_seconds = known_seconds
        self.unknown_seconds = unknown_seconds
        self._clock = clock
        self._database = open_state(state_dir / self.FILE, _SCHEMA)
        self.prune()

    def find(self, mailbox: Mailbox) -> Answer | None:
        """The answer that still holds, or None: never seen, or too long ago."""
        try:
            row = self._database.execute(
                "SELECT known, code, text, at FROM recipients WHERE mailbox = ?", (mailbox.key,)
            ).fetchone()
        except sqlite3.Error:
            log.exception("cannot read the recipient cache")
            return None
        if row is None:
            return None
        known, code, text, at = row
        if self._clock() - at >= (self.known_seconds if known else self.unknown_seconds):
            return None
        return Answer(bool(known), Reply(code, tuple(text.split("\n"))))

    def learn(self, mailbox: Mailbox, reply: Reply) -> None:
        """Remember a home server's answer to RCPT, if it says anything about the recipient."""
        if reply.ok:
            known = True
        elif says_unknown(reply):
            known = False
        else:
            return
        now = int(self._clock())
        try:
            self._database.execute(
                "INSERT INTO recipients VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " known = excluded.known, code = excluded.code, text = excluded.text, at = excluded.at"
                " WHERE known <> excluded.known OR at < excluded.at - ?",
                (mailbox.key, known, reply.code, "\n".join(reply.lines), now, 0 if not known else REFRESH_SECONDS),
            )
        except sqlite3.Error:
            log.exception("cannot write the recipient cache")

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
            (MAX_ROWS,),
        )

    def sizes(self) -> tuple[int, int]:
        """Number of known and of unknown recipients kept."""
        counts = dict(self._database.execute("SELECT known, COUNT(*) FROM recipients GROUP BY known"))
        return int(counts.get(1, 0)), int(counts.get(0, 0))

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def says_unknown(reply: Reply) -> bool:
    """Whether a refusal at RCPT is about the recipient, not about the sender, the message or the server's state.

    With an enhanced code only X.1.x (address status, RFC 3463) counts; without one, 550, 551 and 553.
    """
    if reply.code not in (550, 551, 553):
        return False
    first = reply.text.partition(" ")[0]
    numbers = first.split(".")
    if len(numbers) == 3 and all(number.isdigit() for number in numbers):
        return numbers[0] == "5" and numbers[1] == "1"
    return True
