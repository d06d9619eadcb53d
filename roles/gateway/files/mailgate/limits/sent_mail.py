# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of the senders of mail, by which bounces of mail that nobody has sent are recognized (backscatter).

The memory is that of one gateway, shared by its workers; `shared_sent_mail` has that of all gateways. What may be
missing in it never leads to a refusal: a message that has left by another gateway is recognized by its Received field,
which bounces quote; and a memory with a gap, such as a new file or a failed write, begins again.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

from mailgate.config import Config, in_domains
from mailgate.failure_log import FailureLog
from mailgate.message import header_section, trace_of
from mailgate.smtp.address import Mailbox
from mailgate.state import SENT_MAIL, open_read_only, open_state

# Counters of events.
UNSENT_REFUSED, UNSENT_LOGGED = "unsent_refused", "unsent_logged"
DAY = 86_400
# As for bans: a message waits for the lock of the database.
BUSY_SECONDS = 0.05
# Without a sign of life for this long, the memory was not kept, for example because it was switched off.
MAX_GAP = DAY
# Senders that this worker has written today.
_MAX_WRITTEN = 100_000
_DELETED_AT_ONCE = 500
# These get reports that are not about a message that they have sent.
_ROLES = frozenset({"postmaster", "abuse", "mailer-daemon", "hostmaster", "security", "noc", "dmarc", "tls-reports"})
# The header section of a message that a bounce returns.
_RETURNED = re.compile(rb"^(?:message-id|received)[ \t]*:", re.IGNORECASE | re.MULTILINE)

_SENDERS = """
CREATE TABLE IF NOT EXISTS senders (
    key BLOB PRIMARY KEY, -- hash of the address
    day INTEGER NOT NULL -- days since 1970, of the last message
) WITHOUT ROWID
"""
# `began` and `seen`: since when the memory has no gap, and when it was kept last; seconds since 1970.
_TIMES = "CREATE TABLE IF NOT EXISTS times (name TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID"


class SentMail:
    """The memory.

    Args:
        config: Settings.
        clock: Seconds since 1970.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        self._path = config.state_dir / SENT_MAIL
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._written: set[bytes] = set()
        self._day = 0
        self._gap = False
        self._log = FailureLog("cannot use the memory of sent mail")
        self.use(config)

    def use(self, config: Config) -> None:
        """Apply settings."""
        self._settings = config.bounces
        names = {config.hostname, *config.own_names}
        self._single = len(names) == 1
        self._by_gateway = trace_of(names)

    def remember(self, sender: Mailbox) -> bool:
        """Remember a sender whose message was accepted; return whether it is the first today; never raises."""
        if sender.null or not in_domains(sender.domain, self._settings.domains):
            return False
        day = int(self._clock()) // DAY
        if day != self._day or len(self._written) >= _MAX_WRITTEN:
            self._day = day
            self._written.clear()
        key = key_of(sender)
        if key in self._written:
            return False

        def write(database: sqlite3.Connection) -> bool:
            database.execute("REPLACE INTO senders VALUES (?, ?)", (key, day))
            return True

        if self._use(write, otherwise=False):
            self._written.add(key)
        else:
            # The sender is missing from now on.
            self._gap = True
        return True

    def is_unsent(self, recipients: Sequence[Mailbox], content: bytes) -> bool:
        """Return whether a message with the null sender is about nothing that its recipients sent; never raises."""
        domains = self._settings.domains
        if any(each.local.lower() in _ROLES or not in_domains(each.domain, domains) for each in recipients):
            return False
        start = len(header_section(content))
        if self._by_gateway.search(content, start) or not (self._single or _RETURNED.search(content, start)):
            return False
        oldest = int(self._clock()) // DAY - self._settings.days
        query = "SELECT 1 FROM senders WHERE key = ? AND day >= ?"

        def search(database: sqlite3.Connection) -> bool:
            return not any(database.execute(query, (key_of(each), oldest)).fetchone() for each in recipients)

        return self._use(search, otherwise=False)

    @property
    def is_complete(self) -> bool:
        """Whether the memory is old enough to refuse what it does not know."""

        def compare(database: sqlite3.Connection) -> bool:
            began = database.execute("SELECT time FROM times WHERE name = 'began'").fetchone()
            return began is not None and self._clock() - began[0] >= self._settings.days * DAY

        return self._use(compare, otherwise=False)

    def maintain(self) -> None:
        """Record that the memory is kept, and delete what has expired; called every hour by one worker in a thread."""
        now, settings = int(self._clock()), self._settings
        try:
            with contextlib.closing(self._open()) as database:
                _set_time(database, "seen", now)
                _delete(database, "day < ?", now // DAY - settings.days)
                number = int(database.execute("SELECT COUNT(*) FROM senders").fetchone()[0])
                if number > settings.max_senders:
                    excess = number - settings.max_senders
                    _delete(database, "key IN (SELECT key FROM senders ORDER BY day LIMIT ?)", excess)
                    _set_time(database, "began", now)
        except sqlite3.Error as error:
            self._log.failed(error)

    def _use(self, work: Callable[[sqlite3.Connection], bool], *, otherwise: bool) -> bool:
        """Return what `work` returns, `otherwise` if the database fails."""
        try:
            if self._database is None:
                self._database = self._open()
            if self._gap:
                _set_time(self._database, "began", int(self._clock()))
                self._gap = False
            result = work(self._database)
        except sqlite3.Error as error:
            self._log.failed(error)
            self.close()
            return otherwise
        self._log.worked()
        return result

    def _open(self) -> sqlite3.Connection:
        now = int(self._clock())
        database = open_state(self._path, _SENDERS, busy_seconds=BUSY_SECONDS)
        database.execute(_TIMES)
        seen = database.execute("SELECT time FROM times WHERE name = 'seen'").fetchone()
        if seen is None or now - seen[0] > MAX_GAP:
            _set_time(database, "began", now)
            _set_time(database, "seen", now)
        return database

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None


def key_of(mailbox: Mailbox) -> bytes:
    """Return what stands for an address: without a detail after `+`, since senders of lists number their messages."""
    local = mailbox.local.lower()
    base = local.partition("+")[0] or local
    return blake2b(f"{base}@{mailbox.domain}".encode(), digest_size=16).digest()


def stored_times(state_dir: Path) -> tuple[int, float] | None:
    """Return how many senders there are, and since when there is no gap; None without a file; raise sqlite3.Error."""
    path = state_dir / SENT_MAIL
    if not path.exists():
        return None
    database = open_read_only(path)
    try:
        number = int(database.execute("SELECT COUNT(*) FROM senders").fetchone()[0])
        began = database.execute("SELECT time FROM times WHERE name = 'began'").fetchone()
        return number, float(began[0]) if began else time.time()
    finally:
        database.close()


def _set_time(database: sqlite3.Connection, name: str, moment: int) -> None:
    database.execute("REPLACE INTO times VALUES (?, ?)", (name, moment))


def _delete(database: sqlite3.Connection, condition: str, value: int) -> None:
    """Delete senders, few at a time, so that no message waits long for the lock."""
    keys = database.execute(f"SELECT key FROM senders WHERE {condition}", (value,)).fetchall()  # noqa: S608
    for start in range(0, len(keys), _DELETED_AT_ONCE):
        database.execute("BEGIN IMMEDIATE")
        database.executemany("DELETE FROM senders WHERE key = ?", keys[start : start + _DELETED_AT_ONCE])
        database.execute("COMMIT")
