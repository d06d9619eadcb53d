# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipient verification: probes of verification servers, catch-all detection, background refresh of cached results.

A probe is a transaction that ends after RCPT. Each server receives a few probes at a time. Background probes never
delay mail: their results are for later transactions.

A refusal is cached only if it is about the recipient (smtp/refusals.py), and only after background probes with other
senders got it too: the null sender, or our own postmaster. A recipient that is known needs both, and stays known until
then. If a probe is impossible, nothing is cached and the next transaction asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace

from mailgate.background import BackgroundTasks
from mailgate.client.pool import Pool
from mailgate.client.session import NextHopError
from mailgate.config import Config
from mailgate.delivery.shared_results import SharedResults
from mailgate.delivery.unknown_recipients import UnknownRecipients
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.events import Events
from mailgate.routes import NextHop, Route
from mailgate.smtp.address import AddressError, Mailbox, parse_mailbox
from mailgate.smtp.envelope import Envelope
from mailgate.smtp.refusals import is_about_message, is_unknown_recipient
from mailgate.smtp.reply import Reply

UNVERIFIED = Reply.of(450, "4.4.1 Recipient cannot be verified: destination server unreachable")

NULL_SENDER = Envelope(Mailbox("", ""))
MAX_REFRESHED = 500
REFRESH_INTERVAL_SECONDS = 0.2
# Recipients whose refusal is being confirmed.
MAX_CONFIRMING = 100


def cached_refusal(recipient: Mailbox) -> Reply:
    """Return the reply for a recipient that is cached as unknown."""
    return Reply.of(550, f"5.1.1 <{recipient}>: Recipient address rejected: User unknown (cached)")


@dataclass
class _ProbeLimit:
    """Free probes of one group of servers, and the number of callers that wait for one."""

    free: asyncio.Semaphore
    running: int = 0
    waiting: int = 0


class RecipientVerifier:
    """Probe servers, with a limit of simultaneous probes for each."""

    def __init__(
        self,
        config: Config,
        pool: Pool,
        cache: VerificationCache,
        events: Events,
        unknown_recipients: UnknownRecipients,
        *,
        share: float,
        shared_results: SharedResults | None = None,
    ) -> None:
        self._config = config
        self._max_probes = max(1, round(config.limits.max_verifications_per_next_hop * share))
        self._pool = pool
        self._cache = cache
        self._events = events
        self._unknown_recipients = unknown_recipients
        self._shared_results = shared_results
        self._wait_seconds = config.timeouts.connect
        self._limits: dict[tuple[NextHop, ...], _ProbeLimit] = {}
        self._detecting: set[str] = set()
        self._confirming: set[str] = set()
        self._neutral_sender = Envelope(Mailbox("postmaster", config.hostname))
        self.background = BackgroundTasks()

    def stop(self) -> None:
        """Cancel background probes."""
        self.background.cancel()
        if self._shared_results:
            self._shared_results.publisher.background.cancel()

    @contextlib.asynccontextmanager
    async def probe_slot(self, servers: tuple[NextHop, ...], *, wait: bool = True) -> AsyncIterator[None]:
        """Limit the recipients that are verified with `servers` at a time.

        Args:
            servers: The verification servers, in order of preference.
            wait: Wait if the limit is reached; otherwise, leave the last free slot to others, too.

        Raises:
            NextHopError: Too many callers wait already, or none finished in time. Mail for other servers needs the
                connections that would wait here.
        """
        limit = self._limits.setdefault(servers, _ProbeLimit(asyncio.Semaphore(self._max_probes)))
        if not wait and limit.running >= max(1, self._max_probes - 1):
            raise NextHopError(f"{servers[0]}: verification limit reached")
        if limit.free.locked():
            await self._wait(limit, servers)
        else:
            await limit.free.acquire()
        limit.running += 1
        try:
            yield
        finally:
            limit.running -= 1
            limit.free.release()

    async def _wait(self, limit: _ProbeLimit, servers: Sequence[NextHop]) -> None:
        if limit.waiting >= self._pool.max_waiting:
            raise NextHopError(f"{servers[0]}: verification limit reached and wait queue full")
        limit.waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await limit.free.acquire()
        except TimeoutError:
            raise NextHopError(f"{servers[0]}: verification limit reached") from None
        finally:
            limit.waiting -= 1

    async def probe(
        self,
        envelope: Envelope,
        recipient: Mailbox,
        servers: tuple[NextHop, ...],
        *,
        encrypt: bool = False,
        wait: bool = True,
    ) -> tuple[list[Reply], Collection[str]]:
        """Send MAIL and RCPT in a transaction without a message; raise NextHopError.

        Returns:
            The replies to MAIL and, if that was accepted, to RCPT; and the server's extensions.
        """
        async with self.probe_slot(servers, wait=wait):
            session, replies = await self._pool.begin(envelope, [recipient], servers, encrypt=encrypt, wait=wait)
            if session is None:
                return replies, ()
            extensions = session.extensions
            self._pool.release(session)
        return replies, extensions

    async def verify(
        self, envelope: Envelope, recipient: Mailbox, servers: tuple[NextHop, ...], *, encrypt: bool, known: bool
    ) -> tuple[bool, Reply | None]:
        """Verify a recipient with the verification servers behind a hub.

        A server that refuses to talk to the gateway leaves the decision to the hub.

        Args:
            envelope: Sender and size of the message.
            recipient: The recipient.
            servers: The verification servers, in order of preference.
            encrypt: Require TLS.
            known: The cache has the recipient as known, which suffices if the servers are unavailable.

        Returns:
            Whether the recipient is known now, and the reply that refuses it.
        """
        probed = replace(envelope, eight_bit=False, dsn="", notify={})
        try:
            replies, _extensions = await self.probe(probed, recipient, servers, encrypt=encrypt)
        except NextHopError as error:
            if error.refusal is None or error.refusal.temporary:
                self._events.emit(
                    "verification_server_down", id=envelope.id, ask=servers, recipient=recipient, reason=error
                )
                return known, None if known else UNVERIFIED
            reply, at_rcpt = error.refusal, False
        else:
            reply, at_rcpt = replies[-1], len(replies) > 1
        if at_rcpt:
            self.remember(probed, recipient, reply, servers)
        if reply.ok:
            return True, None
        if reply.temporary:
            return known, None if known else reply
        if is_about_message(reply, at_rcpt=at_rcpt):
            return False, reply
        self._events.emit("verification_server_refused", id=envelope.id, ask=servers, recipient=recipient, reply=reply)
        return known, None

    def remember(self, envelope: Envelope, recipient: Mailbox, reply: Reply, servers: tuple[NextHop, ...]) -> None:
        """Cache a reply to RCPT if it shows whether the recipient exists; start to confirm a refusal.

        Args:
            envelope: The envelope that got the reply.
            recipient: The recipient.
            reply: The reply.
            servers: The servers of which one sent it.
        """
        if reply.ok:
            self._store(recipient, servers, known=True)
        elif is_unknown_recipient(reply) and len(self._confirming) < MAX_CONFIRMING:
            self._confirm(envelope.sender, recipient, servers)

    def _store(self, recipient: Mailbox, servers: tuple[NextHop, ...], *, known: bool) -> None:
        self._publish(self._cache.store(recipient, known=known), servers, known=known)

    def _publish(self, keys: Sequence[str], servers: tuple[NextHop, ...], *, known: bool) -> None:
        if shared := self._shared_results:
            for key in keys:
                shared.publish(key, servers, known=known)

    # In the background

    def _confirm(self, sender: Mailbox, recipient: Mailbox, servers: tuple[NextHop, ...]) -> None:
        """Start to find out whether a refusal of the recipient holds for other senders than `sender`."""
        # Another sender had it accepted a short while ago, or somebody guesses the domain's addresses.
        if recipient.key in self._confirming or self._cache.is_fresh(recipient):
            return
        if self._unknown_recipients.domain_exceeds(recipient.domain):
            return
        self._confirming.add(recipient.key)
        task = self.background.spawn(self._confirm_unknown(sender, recipient, servers))
        task.add_done_callback(lambda _task: self._confirming.discard(recipient.key))

    async def _confirm_unknown(self, sender: Mailbox, recipient: Mailbox, servers: tuple[NextHop, ...]) -> None:
        if await self._is_unknown_to_others(sender, recipient, servers) and not self._cache.is_fresh(recipient):
            self._store(recipient, servers, known=False)

    async def _is_unknown_to_others(self, sender: Mailbox, recipient: Mailbox, servers: tuple[NextHop, ...]) -> bool:
        """Return whether a server that refused the recipient to `sender` refuses it to other senders as well."""
        envelopes = [other for other in (NULL_SENDER, self._neutral_sender) if other.sender != sender]
        cached = self._cache.find(recipient)
        if cached is None or not cached.known:
            del envelopes[1:]
        for envelope in envelopes:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    reply = await self._background_probe(recipient, servers, envelope)
            except TimeoutError:
                return False
            if reply is None or not is_unknown_recipient(reply):
                return False
        return True

    def detect_catch_all(self, domain: str, servers: tuple[NextHop, ...]) -> None:
        """Start to find out whether the domain's server accepts any recipient."""
        if domain not in self._detecting:
            self._detecting.add(domain)
            task = self.background.spawn(self._detect_catch_all(domain, servers))
            task.add_done_callback(lambda _task: self._detecting.discard(domain))

    async def _detect_catch_all(self, domain: str, servers: tuple[NextHop, ...]) -> None:
        reply = await self._background_probe(Mailbox(f"mailgate-{secrets.token_hex(12)}", domain), servers)
        if reply and (reply.ok or is_unknown_recipient(reply)):
            self._publish(self._cache.store_catch_all(domain, known=reply.ok), servers, known=reply.ok)
            if reply.ok:
                self._events.emit("catch_all", domain=domain, next_hops=servers)

    async def refresh(self, find_route: Callable[[str], Route | None]) -> int:
        """Probe known recipients whose cache entries expire soon; return how many were refreshed."""
        try:
            expiring = self._cache.expiring(MAX_REFRESHED)
        except sqlite3.Error:
            return 0
        refreshed = 0
        for key in expiring:
            try:
                mailbox = parse_mailbox(key, utf8=True)
            except AddressError:
                continue
            route = find_route(mailbox.domain)
            if route is None:
                continue
            reply = await self._background_probe(mailbox, route.verification_servers)
            if reply and reply.ok:
                self._store(mailbox, route.verification_servers, known=True)
            elif reply and is_unknown_recipient(reply):
                await self._confirm_unknown(NULL_SENDER.sender, mailbox, route.verification_servers)
            refreshed += reply is not None
            await asyncio.sleep(REFRESH_INTERVAL_SECONDS)
        return refreshed

    async def _background_probe(
        self, mailbox: Mailbox, servers: tuple[NextHop, ...], envelope: Envelope = NULL_SENDER
    ) -> Reply | None:
        """Return a server's reply to RCPT, or None if there is none. Mail has priority."""
        if not mailbox.ascii:
            envelope = replace(envelope, utf8=True)
        encrypt = self._config.tls.required(mailbox.domain)
        try:
            replies, _extensions = await self.probe(envelope, mailbox, servers, encrypt=encrypt, wait=False)
        except NextHopError:
            return None
        return replies[1] if len(replies) > 1 else None
