# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The choice of the store of indexed events: the state directory, or the PostgreSQL of `[event_database]`."""

from __future__ import annotations

from collections.abc import Callable

from mailgate.config import Config
from mailgate.event_index.postgres import PostgresStore
from mailgate.event_index.store import DailyStore, EventStore

# Nobody waits for the indexer, and a server that is slow must have the time for a transaction.
WRITE_SECONDS = 60


def open_store(
    config: Config, note: Callable[[str], object] = lambda _line: None, *, timeout: float | None = None
) -> EventStore:
    """Return the store to read from; close it after use.

    Args:
        config: The settings.
        note: Receives a line for each day that is damaged.
        timeout: Seconds to wait for an answer of a server; the settings' by default.
    """
    if config.event_database.server:
        return PostgresStore(config.event_database, config.hostname, timeout=timeout, read_only=True)
    return DailyStore(config.state_dir, read_only=True, note=note)


def open_writable(config: Config, note: Callable[[str], object]) -> EventStore:
    """Return the store to add events to; raise StoreError. The arguments are those of `open_store`."""
    settings = config.events
    if config.event_database.server:
        database = config.event_database
        return PostgresStore(
            database, config.hostname, days=settings.days, timeout=max(database.timeout, WRITE_SECONDS)
        )
    return DailyStore(config.state_dir, days=settings.days, max_bytes=settings.index_max_bytes, note=note)
