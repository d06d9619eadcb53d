# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How evaluations, which do not wait, get records of DNS: one that needs a record ends, and is repeated with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

T = TypeVar("T")
RECORD_TYPES = ("TXT", "A", "AAAA", "MX", "PTR")


class Lookup(NamedTuple):
    """Records to look up: one of RECORD_TYPES, and a name without the final dot."""

    type: str
    name: str


# Of TXT, the text of each record; of MX, `PREFERENCE NAME`; of the others, address or name. None: DNS failed.
Records = tuple[bytes, ...]
Found = Mapping[Lookup, Records | None]


class NeededError(Exception):
    """An evaluation needs these records."""

    def __init__(self, lookup: Lookup) -> None:
        super().__init__(f"{lookup.type} {lookup.name}")
        self.lookup = lookup


class FailedError(Exception):
    """DNS failed."""


def records_of(found: Found, lookup: Lookup) -> Records:
    """Return records that have been looked up.

    Raises:
        NeededError: They have not.
        FailedError: DNS failed.
    """
    try:
        records = found[lookup]
    except KeyError:
        raise NeededError(lookup) from None
    if records is None:
        raise FailedError(f"{lookup.type} {lookup.name}")
    return records


async def complete(
    evaluate: Callable[[Found], T],
    ask: Callable[[Lookup], Awaitable[Records | None]],
    most: int,
    *,
    threaded: bool = False,
) -> T | None:
    """Return the result of an evaluation, repeated until it has the records that it needs.

    Args:
        evaluate: A pure function of records.
        ask: Looks records up.
        most: Look-ups after which it is given up with None.
        threaded: Whether it takes long and runs in a thread.
    """
    found: dict[Lookup, Records | None] = {}
    while True:
        try:
            return await asyncio.to_thread(evaluate, found) if threaded else evaluate(found)
        except NeededError as needed:
            if len(found) >= most:
                return None
            found[needed.lookup] = await ask(needed.lookup)
