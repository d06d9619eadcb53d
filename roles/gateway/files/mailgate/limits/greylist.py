# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Greylisting (RFC 6647): a sender that is new to a recipient is deferred once; one that tries again later is known."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from hashlib import blake2b

from mailgate.limit_settings import Greylist
from mailgate.limits.store import GuardedStore
from mailgate.network import client_key, network_of
from mailgate.smtp.address import Mailbox

_DIGITS = re.compile(r"\d+")


class Greylisting:
    """Decides which senders wait; without the store, nobody does.

    Args:
        store: What all workers share.
        clock: Seconds since 1970.
    """

    def __init__(self, store: GuardedStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self.settings = Greylist()

    async def wait_seconds(self, client: str, sender: Mailbox, recipient: Mailbox) -> int:
        """Return how long the sender must still wait, 0 if it need not."""
        settings, now = self.settings, int(self._clock())
        network = network_of(client) if ":" not in client else client_key(client)
        enough = settings.network_successes
        if enough:
            successes = await self._store.network_successes(network)
            if successes is None or successes >= enough:
                return 0
        key = sender_key(sender, recipient)
        attempt = await self._store.attempt(key, network, now, now - settings.window_hours * 3600)
        if attempt is None:
            return 0
        left = 0 if attempt.passed else attempt.first + settings.delay - now
        if left > 0:
            return left
        await self._store.succeed(key, network, now)
        return 0


def sender_key(sender: Mailbox, recipient: Mailbox) -> bytes:
    """Return what identifies a sender to a recipient; senders of a mailing list that number each message are one."""
    local = _DIGITS.sub("#", sender.local.lower())
    return blake2b(f"{local}@{sender.domain}\0{recipient.key}".encode(), digest_size=16).digest()
