# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of recent events, for `mailgate status`."""

from __future__ import annotations

import sqlite3
import time

from mailgate.config import Config
from mailgate.events import Counters, totals
from mailgate.state import open_read_only


def recent_counts(config: Config, seconds: float) -> dict[str, int]:
    """Return how often each event happened in the last `seconds`; nothing if the counters cannot be read."""
    now = time.time()
    try:
        database = open_read_only(config.state_dir / Counters.FILE)
        try:
            return totals(database, now - seconds, now + 60)
        finally:
            database.close()
    except sqlite3.Error:
        return {}
