# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that are never banned, limited in their rate or greylisted: those of rules, and `bans.never`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mailgate.config import Config
from mailgate.rules.entries import NetworkTable, Table
from mailgate.rules.ruleset import exemptions


def exempt_tables(config: Config, lists: Mapping[str, Table]) -> list[NetworkTable]:
    """Return the tables of all exempt clients."""
    tables = [table for _reason, table in exemptions(config, lists)]
    return [*tables, *network_tables(config.bans.never, lists)]


def network_tables(entries: Iterable[str], lists: Mapping[str, Table]) -> Iterator[NetworkTable]:
    """Yield a table of the entries, and the lists that they name."""
    own = NetworkTable()
    for entry in entries:
        if not entry.startswith("@"):
            own.add(entry)
        elif isinstance(table := lists.get(entry[1:]), NetworkTable):
            yield table
    own.close()
    yield own
