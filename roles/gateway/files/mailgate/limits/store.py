# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What limits share: the interface of a store, and the guard that keeps mail going when the store fails.

The store of one gateway is in its state directory and in memory that its workers map (`local_store`). Another one may
share it between gateways: it implements `Store`, and is used through `GuardedStore` as well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mailgate.rate_buckets import RateBuckets

log = logging.getLogger("mailgate")

_T = TypeVar("_T")
# Longer than any sound call takes; a client waits for it.
CALL_SECONDS = 0.5
# A store that failed is not called for this long, so that not each message waits for it.
PAUSE_SECONDS = 5.0


class StoreError(Exception):
    """The store cannot be used now; the text says why."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A client that is refused.

    Attributes:
        network: Address or network, in the usual notation.
        until: When the ban ends, in seconds since 1970.
        since: When it began.
        reason: Why, in one line.
    """

    network: str
    until: int
    since: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BanChanges:
    """Bans that are new since the last call, or all of them (`complete`), because some were removed."""

    bans: Sequence[Ban]
    complete: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sender in the greylist.

    Attributes:
        first: Its first attempt, in seconds since 1970.
        passed: Whether it has waited.
        last: Its last attempt once it has waited.
    """

    first: int
    passed: bool
    last: int = 0


class Store(Protocol):
    """What gateways share. Each call may raise StoreError, and must end when it is cancelled."""

    async def changed_bans(self) -> BanChanges | None:
        """Return the changes since the last call, None if there are none; the first call returns all bans."""

    async def add_bans(self, bans: Iterable[Ban]) -> None:
        """Add bans, in place of those of the same network."""

    async def take_all(self, counted: Sequence[tuple[str, int]], seconds: int) -> int | None:
        """Count one event of each name, given with its limit in `seconds`, until one had its limit.

        Returns:
            The position of that name, which is not counted, nor are those after it; None if there is none.
        """

    async def network_successes(self, network: str) -> int:
        """Return how many senders of a network have waited."""

    async def attempt(self, key: bytes, network: str, now: int, expired: int) -> Attempt:
        """Return what is known of a sender; record `now` as its first attempt if that is new, or before `expired`."""

    async def succeed(self, key: bytes, network: str, now: int) -> None:
        """Record that a sender has waited, or has sent again since."""


class GuardedStore:
    """A store with a time limit on each call; a call that fails has a result that lets mail pass.

    Args:
        store: The store.
        own: Rates in the memory of the workers.
        failed: Called with the reason for each failure.
        seconds: Time limit of a call.
        clock: Time in seconds.
    """

    def __init__(
        self,
        store: Store,
        own: RateBuckets,
        failed: Callable[[str], object],
        *,
        seconds: float = CALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._own = own
        self._failed = failed
        self._seconds = seconds
        self._clock = clock
        self._paused_until = -PAUSE_SECONDS

    def use(self, store: Store, seconds: float = CALL_SECONDS) -> None:
        """Use another store, or another time limit, from now on."""
        self._store = store
        self._seconds = seconds
        self._paused_until = -PAUSE_SECONDS

    async def _call(self, call: Callable[[], Awaitable[_T]], otherwise: Callable[[], _T]) -> _T:
        if self._clock() < self._paused_until:
            return otherwise()
        reason = f"no answer within {self._seconds} s"
        try:
            async with asyncio.timeout(self._seconds):
                return await call()
        except (StoreError, TimeoutError) as error:
            reason = str(error) or reason
        except Exception as error:
            log.exception("store of limits")
            reason = str(error)
        self._paused_until = self._clock() + PAUSE_SECONDS
        self._failed(reason)
        return otherwise()

    async def changed_bans(self) -> BanChanges | None:
        """Return changes as `Store.changed_bans`, also None if the store fails."""
        return await self._call(self._store.changed_bans, lambda: None)

    async def add_bans(self, bans: Iterable[Ban]) -> bool:
        """Add bans; return whether they are stored."""

        async def add() -> bool:
            await self._store.add_bans(bans)
            return True

        return await self._call(add, lambda: False)

    async def take(self, name: str, limit: int, seconds: int) -> bool:
        """Count one event of `name`; return False, and do not count it, if there were `limit` in `seconds`."""
        return await self.take_all([(name, limit)], seconds) is None

    async def take_all(self, counted: Sequence[tuple[str, int]], seconds: int) -> int | None:
        """Count events as `Store.take_all`; by the workers' own memory if the store fails."""
        own = self._own
        return await self._call(lambda: self._store.take_all(counted, seconds), lambda: own.take_all(counted, seconds))

    async def network_successes(self, network: str) -> int | None:
        """Return how many senders of a network have waited, None if the store fails."""

        async def successes() -> int | None:
            return await self._store.network_successes(network)

        return await self._call(successes, lambda: None)

    async def attempt(self, key: bytes, network: str, now: int, expired: int) -> Attempt | None:
        """Return what is known of a sender as `Store.attempt`, None if the store fails."""

        async def attempt() -> Attempt | None:
            return await self._store.attempt(key, network, now, expired)

        return await self._call(attempt, lambda: None)

    async def succeed(self, key: bytes, network: str, now: int) -> None:
        """Record a sender as `Store.succeed`, if the store does not fail."""
        await self._call(lambda: self._store.succeed(key, network, now), lambda: None)
