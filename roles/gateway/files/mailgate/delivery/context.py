# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""State that all transactions share under one set of settings."""

from __future__ import annotations

import ssl

from mailgate.background import BackgroundTasks
from mailgate.client.pool import Pool
from mailgate.client.session import ClientSession
from mailgate.config import Config
from mailgate.delivery.queue_wakeup import QueueFlushTrigger
from mailgate.delivery.shared_results import SharedResults
from mailgate.delivery.unknown_recipients import UnknownRecipients
from mailgate.delivery.verify import RecipientVerifier
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.events import Events
from mailgate.routes import NextHop
from mailgate.smtp.reply import Reply

DELIVERED = Reply.of(250, "2.0.0 Message accepted")
NOT_DELIVERED = Reply.of(451, "4.3.0 Message could not be delivered; try again later")


class Delivery:
    """Settings, verification cache, and connections to next hops and to the queue."""

    def __init__(
        self,
        config: Config,
        verification_cache: VerificationCache,
        events: Events,
        background: BackgroundTasks,
        *,
        encrypt: ssl.SSLContext | None = None,
        share: float = 1.0,
        unknown_recipients: UnknownRecipients,
        shared_results: SharedResults | None = None,
    ) -> None:
        self.config = config
        self.verification_cache = verification_cache
        self.events = events
        self.pool = Pool(config, background, encrypt=encrypt, share=share)
        self.shared_results = shared_results
        self.verifier = RecipientVerifier(
            config,
            self.pool,
            verification_cache,
            events,
            unknown_recipients,
            share=share,
            shared_results=shared_results,
        )
        self.queue_hop = NextHop(config.queue.host, config.queue.port)
        self.flush_trigger = QueueFlushTrigger(self.pool, self.queue_hop, events)

    def close(self) -> None:
        """Cancel background probes and close idle sessions; those in use are closed with their transactions."""
        self.flush_trigger.stop()
        self.verifier.stop()
        self.pool.close()


class SessionHolder:
    """Holds at most one session of the pool, for the length of a transaction."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._session: ClientSession | None = None

    def close(self) -> None:
        """Release the session; a transaction without a message is abandoned."""
        if self._session:
            self._delivery.pool.release(self._session)
            self._session = None

    def _discard(self) -> None:
        """Close the session, whose state is unknown."""
        if self._session:
            self._delivery.pool.discard(self._session)
            self._session = None
