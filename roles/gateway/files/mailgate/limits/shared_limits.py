# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared store of one worker: which one the settings name, and what keeps it in use."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

from mailgate.config import Config
from mailgate.limit_settings import SharedState
from mailgate.limits.ban_exchange import BanExchange
from mailgate.limits.local_store import LocalStore
from mailgate.limits.remote import Remote
from mailgate.limits.shared_store import SharedStore
from mailgate.limits.store import Store, StoreError
from mailgate.rate_buckets import RateBuckets

log = logging.getLogger("mailgate")

KEEP_SECONDS = 0.2


class SharedLimits:
    """The shared store, if there is one.

    Args:
        local: Store of this gateway.
        own: Rates of this gateway.
        failed: Called with the reason for each failure.
    """

    def __init__(self, local: LocalStore, own: RateBuckets, failed: Callable[[str], object]) -> None:
        self._local = local
        self._own = own
        self._failed = failed
        self._settings = SharedState()
        self._remote: Remote | None = None
        self._replaced: list[Remote] = []
        self._exchange: BanExchange | None = None
        #: None without a shared store.
        self.store: SharedStore | None = None

    def use(self, config: Config) -> Store:
        """Apply settings; return the store to use."""
        if config.shared_state != self._settings:
            self._settings = config.shared_state
            if self._remote:
                self._replaced.append(self._remote)
            self._remote = self._exchange = self.store = None
            if self._settings.server:
                self._remote = Remote(self._settings, self._failed)
                self._exchange = BanExchange(config.state_dir, self._remote)
                self.store = SharedStore(self._local, self._own, self._remote)
        if self.store:
            self.store.greylist = config.greylist
        return self.store or self._local

    @property
    def remote(self) -> Remote | None:
        """The shared store itself; None if there is none."""
        return self._remote

    async def keep(self, *, exchange: bool) -> None:
        """Keep the connection, and exchange bans if `exchange`, until cancelled."""
        try:
            while True:
                try:
                    await self._step(exchange=exchange)
                except StoreError:
                    # Counted already.
                    await asyncio.sleep(KEEP_SECONDS)
                except sqlite3.Error as error:
                    self._failed(f"bans cannot be exchanged: {error}")
                    await asyncio.sleep(1)
                except Exception:
                    log.exception("cannot keep the shared store")
                    await asyncio.sleep(1)
        finally:
            if self._remote:
                await self._remote.close()

    async def _step(self, *, exchange: bool) -> None:
        while self._replaced:
            await self._replaced.pop().close()
        if self._remote and self._exchange and await self._remote.probe() and exchange:
            # Waits for changes.
            await self._exchange.step()
        else:
            await asyncio.sleep(KEEP_SECONDS)
