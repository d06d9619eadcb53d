# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of a message through the house: form, scan, hand-over; and what all sessions share."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mailgate import message, tls
from mailgate.config import MAX_ANSWER_SECONDS, Config, Scan
from mailgate.content.inspection import Envelope as ContentEnvelope
from mailgate.content.inspection import Inspection
from mailgate.delivery.duplicates import DuplicateLog
from mailgate.delivery.transaction import DELIVERED, Delivery, Transaction
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.events import PROCESSED, RELAY_REFUSED, RESENT, Counters, Events
from mailgate.routes import Routes
from mailgate.scan.clamd import ScanError
from mailgate.scan.scanner import Scanner
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import MessageVariant
from mailgate.smtp.reply import Reply
from mailgate.worker_counters import WorkerCounters

log = logging.getLogger("mailgate")

NOT_SCANNED = Reply.of(451, "4.7.0 Message could not be checked for viruses; try again later")
INTERNAL = Reply.of(451, "4.3.0 Internal error; try again later")
# From the final dot to the answer, with some seconds for the answer itself.
ANSWER_SECONDS = MAX_ANSWER_SECONDS - 5


@dataclass(frozen=True)
class Client:
    """Who is sending: IP address, name given in HELO or EHLO, and which of the two (protocol ESMTP or SMTP)."""

    address: str
    helo: str
    protocol: str


class Budget:
    """Octets of messages that may be in memory at a time, of all workers."""

    def __init__(self, total: int, worker_counters: WorkerCounters) -> None:
        self.total = total
        self._worker_counters = worker_counters

    @property
    def used(self) -> int:
        """Octets that are taken."""
        return self._worker_counters.message_bytes

    def take(self, octets: int) -> bool:
        """Take octets, if there are that many left."""
        if self.used + octets > self.total:
            return False
        self._worker_counters.add_message_bytes(octets)
        return True

    def give(self, octets: int) -> None:
        """Give octets back."""
        self._worker_counters.add_message_bytes(-octets)


class Drainable(Protocol):
    """What the service needs of a connection."""

    def drain(self) -> None:
        """End it if it is idle."""


class Gateway:
    """Settings and state of the service, and the road of a message."""

    def __init__(
        self,
        config: Config,
        routes: Routes,
        counters: Counters,
        events: Events,
        worker_counters: WorkerCounters | None = None,
    ) -> None:
        self.worker_counters = worker_counters or WorkerCounters()
        self.events = events
        self.counters = counters
        self.recipients = VerificationCache(
            config.state_dir,
            known_seconds=config.cache.known_days * 86400,
            unknown_seconds=config.cache.unknown_hours * 3600,
            max_rows=config.cache.max_recipients,
        )
        self.duplicates = DuplicateLog(config.state_dir, config.cache.resend_hours * 3600)
        self.budget = Budget(config.limits.max_bytes_in_flight, self.worker_counters)
        self.clients: Counter[str] = Counter()
        self.sessions: set[Drainable] = set()
        self.draining = False
        self._work: set[asyncio.Task[Any]] = set()
        self._delivery: Delivery | None = None
        self.scanner = Scanner(self._my_share(config.scan), events.emit)
        self.use(config, routes)

    def use(self, config: Config, routes: Routes) -> None:
        """Take new settings and routes; transactions that have begun keep those they began with."""
        encrypt = tls.server_context(config)
        self.config = config
        self.routes = routes
        self.encrypt = encrypt
        self.budget.total = config.limits.max_bytes_in_flight
        self.recipients.known_seconds = config.cache.known_days * 86400
        self.recipients.unknown_seconds = config.cache.unknown_hours * 3600
        self.scanner.use(self._my_share(config.scan))
        self.inspection = Inspection(config, self.scanner, self.events)
        self.recipients.max_rows = config.cache.max_recipients
        self.duplicates.seconds = config.cache.resend_hours * 3600
        if self._delivery:
            self._delivery.close()
        self._delivery = Delivery(
            config, self.recipients, self.events, encrypt=tls.client_context(config), share=self.worker_counters.share
        )

    def _my_share(self, scan: Scan) -> Scan:
        """The settings with this worker's part of the simultaneous scans."""
        return replace(scan, concurrency=max(1, round(scan.concurrency * self.worker_counters.share)))

    @property
    def delivery(self) -> Delivery:
        """What transactions that begin now share."""
        assert self._delivery
        return self._delivery

    def join(self, client: str) -> None:
        """Count a connection of `client`, an IP address."""
        self.clients[client] += 1
        self.worker_counters.add_connection(client)

    def leave(self, client: str) -> None:
        """Count it no more."""
        self.worker_counters.remove_connection(client)
        self.clients[client] -= 1
        if not self.clients[client]:
            del self.clients[client]

    def run(self, work: Coroutine[Any, Any, Reply]) -> asyncio.Task[Reply]:
        """Do work that goes on when the client leaves."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def finish(self, seconds: float) -> int:
        """Wait for running hand-overs; returns how many had to be given up after `seconds`."""
        self.delivery.close()
        if not self._work:
            return 0
        _done, late = await asyncio.wait(self._work, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    def confirm(self, acknowledged: list[bytes]) -> None:
        """The sender has got the answer to a message."""
        for key in acknowledged:
            self.duplicates.remove(key)

    def close(self) -> None:
        """Close what is on disk."""
        self.delivery.close()
        self.recipients.close()
        self.duplicates.close()
        self.counters.close()

    def refused_recipient(
        self, client: Client, sender: object, recipient: object, reply: Reply, *, relay: bool
    ) -> None:
        """Record a refusal at RCPT."""
        if relay:
            self.events.count(RELAY_REFUSED)
        self.events.emit(
            "relay_refused" if relay else "recipient_refused",
            client=client.address,
            helo=client.helo,
            sender=sender,
            recipient=recipient,
            reply=reply,
        )

    async def process(self, content: bytes, transaction: Transaction, client: Client) -> Reply:
        """Judge a received message and hand it over; the reply is the answer to its final dot. Never raises."""
        started = time.monotonic()
        entries: dict[Mailbox, bytes] = {}
        if self.duplicates.seconds:
            entries = self.duplicates.keys(message.fingerprint(content), transaction.sender, transaction.recipients)
        message_id = f"{int(time.time() * 1000):x}{secrets.token_hex(3)}"
        try:
            reply = await self._process(content, transaction, client, message_id, entries)
        except ScanError as error:
            self.events.emit("not_scanned", id=message_id, reason=error)
            reply = NOT_SCANNED
        except Exception:
            log.exception("message %s from %s", message_id, client.address)
            reply = INTERNAL
        finally:
            transaction.close()
        if entries:
            self._write_down(entries, transaction, reply)
        if reply.ok:
            self.events.count(PROCESSED)
            reply = Reply.of(reply.code, f"2.0.0 Message accepted as {message_id}")
        self.events.emit(
            "message",
            id=message_id,
            client=client.address,
            helo=client.helo,
            sender=transaction.sender,
            recipients=transaction.recipients,
            size=len(content),
            reply=reply,
            queued=transaction.queued or None,
            seconds=round(time.monotonic() - started, 3),
        )
        return reply

    def _write_down(self, entries: dict[Mailbox, bytes], transaction: Transaction, reply: Reply) -> None:
        """Before the sender is told: who has the message."""
        keys = [entries[recipient] for recipient in transaction.served]
        for key in keys:
            self.duplicates.add(key)
        if reply.ok:
            transaction.acknowledged = keys

    async def _leave_out(self, entries: dict[Mailbox, bytes], transaction: Transaction, message_id: str) -> bool:
        """Leave out those who got this message a while ago, when its sender was not told; whether that is all."""
        had = [recipient for recipient, key in entries.items() if self.duplicates.has(key)]
        if not had:
            return False
        self.events.count(RESENT)
        self.events.emit("resent", id=message_id, sender=transaction.sender, recipients=had)
        await transaction.leave_out(had)
        transaction.served += had
        return len(had) == len(transaction.recipients)

    async def _process(
        self,
        content: bytes,
        transaction: Transaction,
        client: Client,
        message_id: str,
        entries: dict[Mailbox, bytes],
    ) -> Reply:
        config, inspection = self.config, self.inspection
        now = asyncio.get_running_loop().time()
        if await self._leave_out(entries, transaction, message_id):
            return DELIVERED
        form = config.content
        refused = message.check_form(
            content, refuse_bare=form.bare_newlines == "refuse", max_line=form.max_line_bytes, max_hops=form.max_hops
        )
        if refused:
            return refused
        if form.bare_newlines == "normalize":
            content = message.normalize(content)
        recipients = transaction.recipients
        if transaction.served:
            recipients = [mailbox for mailbox in recipients if mailbox not in transaction.served]
        envelope = ContentEnvelope(
            number=message_id,
            client=client.address,
            sender=str(transaction.sender),
            recipients=tuple(recipients),
        )
        variants = await inspection.inspect(content, envelope, now + config.timeouts.scan)
        if isinstance(variants, Reply):
            if not variants.ok:
                self.events.count(PROCESSED)
            return variants
        if variants[0].recipients is not None:
            await transaction.leave_out(set(recipients).difference(*(share.of(recipients) for share in variants)))
        if transaction.envelope.utf8:
            transaction.envelope.text_utf8 = not bytes(message.header_section(content)).isascii()
        trace = message.received_header(
            helo=client.helo,
            client=client.address,
            hostname=config.hostname,
            protocol=client.protocol,
            message_id=message_id,
            recipient=str(transaction.recipients[0]) if len(transaction.recipients) == 1 else "",
        )
        variants = [MessageVariant([trace, *share.pieces], share.recipients) for share in variants]
        return await transaction.deliver(variants, now + ANSWER_SECONDS)
