# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchange of bans between gateways: each publishes its changes in a stream of the shared store, and follows it.

All gateways apply the same changes in the same order, so their bans become equal. A change that cannot be published
waits in the database of bans, and the position in the stream is there too, so a gateway that was stopped or had no
connection goes on where it was. A store that has lost its data has another generation; then each gateway publishes
all its bans and removals. A ban that is no newer than a removal has no effect, so their order does not matter then. A
ban that is added after a removal is published as newer, even if the clock of the gateway is behind.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mailgate.limits.local_store import (
    BAN_SCHEMA,
    BUSY_SECONDS,
    REMOVE,
    REMOVED_SCHEMA,
    UNPUBLISHED_SCHEMA,
    add_bans,
    remove_bans,
)
from mailgate.limits.remote import Remote
from mailgate.limits.scripts import BANS as STREAM
from mailgate.limits.scripts import GENERATION, PUBLISH
from mailgate.limits.store import Ban
from mailgate.rules.entries import parse_network
from mailgate.state import BANS, open_state

_PRESENT = "SELECT network, until, since FROM bans WHERE network = ?"
_REMOVED_SINCE = "SELECT 1 FROM removed WHERE network = ? AND at >= ?"
# Changes that the stream keeps, about 100 bytes each.
_MAX_ENTRIES = 200_000
_AT_ONCE = 500
# How often to look whether the store has lost its data without a lost connection.
_CHECK_SECONDS = 30.0
# Wait for changes of others, and so the delay of the own ones.
_BLOCK_MS = 200
_REMOVED_AT = "SELECT at FROM removed WHERE network = ?"
_MAX_BAN_SECONDS = 366 * 86_400
_MAX_REASON = 200
# A store that is not sound must not ban everybody.
_MIN_PREFIX = 8
# Bans last at most 24 days, as at the border, unless `bans.minutes` is more.
_REMOVAL_SECONDS = 32 * 86_400
_POSITION_SCHEMA = "CREATE TABLE IF NOT EXISTS position (generation TEXT NOT NULL, entry TEXT NOT NULL)"


class BanExchange:
    """Keeps the bans of this gateway equal to those of the others; one worker does.

    Args:
        state_dir: The state directory.
        remote: The shared store.
        clock: Seconds since 1970.
    """

    def __init__(self, state_dir: Path, remote: Remote, clock: Callable[[], float] = time.time) -> None:
        self._path = state_dir / BANS
        self._remote = remote
        self._clock = clock
        self._connected = -1
        self._check_at = 0.0

    async def step(self) -> None:
        """Publish the changes of this gateway, and apply those of others; wait a moment for the latter.

        Raises:
            StoreError: The shared store fails.
            sqlite3.Error: The database of bans fails.
        """
        with closing(self._open()) as database:
            if self._remote.connected != self._connected or time.monotonic() >= self._check_at:
                self._connected, self._check_at = self._remote.connected, time.monotonic() + _CHECK_SECONDS
                await self._check(database)
            await self._publish(database)
            await self._follow(database)

    def _open(self) -> sqlite3.Connection:
        database = open_state(self._path, BAN_SCHEMA, busy_seconds=BUSY_SECONDS)
        database.execute(UNPUBLISHED_SCHEMA)
        database.execute(REMOVED_SCHEMA)
        database.execute(_POSITION_SCHEMA)
        return database

    async def _check(self, database: sqlite3.Connection) -> None:
        """Begin again with a store that has other data than before."""
        await self._remote.call("SET", GENERATION, os.urandom(16).hex(), "NX")
        found = await self._remote.call("GET", GENERATION)
        if not isinstance(found, bytes):
            raise self._remote.refuse("generation: not a valid answer")
        generation = found.hex()
        if database.execute("SELECT 1 FROM position WHERE generation = ?", (generation,)).fetchone():
            return
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM position")
        database.execute("INSERT INTO position VALUES (?, '0-0')", (generation,))
        database.execute("DELETE FROM unpublished WHERE until > 0")
        database.execute("DELETE FROM removed WHERE at < ?", (int(self._clock()) - _REMOVAL_SECONDS,))
        database.execute(
            "INSERT INTO unpublished (network, until, since, reason) SELECT network, 0, at, '' FROM removed"
        )
        database.execute(
            "INSERT INTO unpublished (network, until, since, reason)"
            " SELECT network, until, since, reason FROM bans WHERE until > ? ORDER BY number",
            (int(self._clock()),),
        )
        database.execute("COMMIT")

    async def _publish(self, database: sqlite3.Connection) -> None:
        while rows := database.execute(
            "SELECT number, network, until, since, reason FROM unpublished ORDER BY number LIMIT ?", (_AT_ONCE,)
        ).fetchall():
            changes: list[object] = [
                json.dumps([network, until, self._order(database, network, until, since), reason], ensure_ascii=False)
                for _number, network, until, since, reason in rows
            ]
            await self._remote.run_in_background(PUBLISH, [STREAM], [_MAX_ENTRIES, *changes])
            # Published twice if this fails, which does no harm.
            database.execute("DELETE FROM unpublished WHERE number <= ?", (rows[-1][0],))

    def _order(self, database: sqlite3.Connection, network: str, until: int, since: int) -> int:
        """Return the time of a change, for a ban later than that of a removal which is known here."""
        if not until:
            return since
        row = database.execute(_REMOVED_AT, (network,)).fetchone()
        return max(since, row[0] + 1) if row else since

    async def _follow(self, database: sqlite3.Connection) -> None:
        row = database.execute("SELECT entry FROM position").fetchone()
        entry = row[0] if row else "0-0"
        while True:
            found = await self._remote.call("XREAD", "COUNT", _AT_ONCE, "BLOCK", _BLOCK_MS, "STREAMS", STREAM, entry)
            if not found:
                return
            try:
                entries = [(each[0].decode("ascii"), each[1]) for each in found[0][1]]
                entry = entries[-1][0]
            except (AttributeError, IndexError, KeyError, TypeError, UnicodeError):
                raise self._remote.refuse("bans: not a valid answer") from None
            self._apply(database, [fields for _entry, fields in entries], entry)
            if len(entries) < _AT_ONCE:
                return

    def _apply(self, database: sqlite3.Connection, entries: list[object], position: str) -> None:
        now = int(self._clock())
        changes: dict[str, Ban] = {}
        for change in filter(None, (_change_in(fields, now) for fields in entries)):
            if not change.until:
                database.execute(REMOVE, (change.network, change.since))
                if (other := changes.get(change.network)) and other.since > change.since:
                    continue
            elif database.execute(_REMOVED_SINCE, (change.network, change.since)).fetchone():
                continue
            changes[change.network] = change
        present = {row[0]: row[1:] for network in changes if (row := database.execute(_PRESENT, (network,)).fetchone())}
        removed = [
            network
            for network, ban in changes.items()
            if not ban.until and network in present and present[network][1] <= ban.since
        ]
        added = [
            ban for ban in changes.values() if ban.until > now and present.get(ban.network) != (ban.until, ban.since)
        ]
        if removed:
            remove_bans(database, removed)
        if added:
            add_bans(database, added, now)
        # After the changes: those that are applied again do no harm.
        database.execute("UPDATE position SET entry = ?", (position,))


def _change_in(fields: object, now: int) -> Ban | None:
    """Return the change in an entry of the stream, with `until` 0 for a removal; None if it is not valid."""
    if not isinstance(fields, list) or len(fields) != 2:
        return None
    try:
        network, until, since, reason = json.loads(fields[1])
        _six, _number, length = parse_network(network)
    except (AttributeError, RecursionError, TypeError, ValueError):
        return None
    latest = now + _MAX_BAN_SECONDS
    if not all(isinstance(each, int) and 0 <= each <= latest for each in (until, since)) or length < _MIN_PREFIX:
        return None
    return Ban(network, until, since, "".join(each for each in str(reason) if each.isprintable())[:_MAX_REASON])
