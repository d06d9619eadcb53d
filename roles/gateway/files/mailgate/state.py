# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases of the service's state."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def open_state(path: Path, schema: str) -> sqlite3.Connection:
    """Open a database of the service's state, made when missing; raises sqlite3.Error."""
    database = sqlite3.connect(path, timeout=2, isolation_level=None)
    # WAL: readers (the report) never hold up the service; what is written survives the process, not a power cut.
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute(schema)
    return database


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a state database that exists, to look at it; raises sqlite3.Error."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2)
