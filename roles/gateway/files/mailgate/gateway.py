# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Message pipeline (format checks, scan, delivery) and state shared by all sessions."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from mailgate import tls
from mailgate.admission import Admission
from mailgate.background import BackgroundTasks, Repeated
from mailgate.config import MAX_ANSWER_SECONDS, Config, Scan
from mailgate.content.inspection import Inspection
from mailgate.delivery.context import DELIVERED, Delivery
from mailgate.delivery.duplicates import DuplicateLog
from mailgate.delivery.shared_results import SharedResults
from mailgate.delivery.transaction import Transaction
from mailgate.delivery.unknown_recipients import UnknownRecipients
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.event_privacy import hasher
from mailgate.event_settings import EventSettings
from mailgate.event_spool import Spool
from mailgate.events import CLIENT_ANSWERS_LOST, PROCESSED, RELAY_REFUSED, RESENT, Counters, Events
from mailgate.failure_log import FailureLog
from mailgate.limits.alarm import alarm_mail
from mailgate.limits.clients import ClientLimits
from mailgate.limits.sent_mail import UNSENT_LOGGED, UNSENT_REFUSED, SentMail
from mailgate.limits.shared_sent_mail import SharedSentMail
from mailgate.message import (
    Client,
    Message,
    check_format,
    fingerprint,
    header_section,
    is_identifiable,
    message_id_of,
    received_header,
    subject_of,
)
from mailgate.removed_routes import RemovedRoutes
from mailgate.routes import Routes
from mailgate.rules.tag import with_tags, without_forged
from mailgate.scan.clamd import ScanError
from mailgate.scan.scanner import HASH_INLINE, Scanner
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import MessageVariant
from mailgate.smtp.lines import normalize
from mailgate.smtp.reply import Reply
from mailgate.state import RETRY_SECONDS
from mailgate.worker_counters import WorkerCounters

if TYPE_CHECKING:
    from mailgate.rules.message_check import MessageCheck
    from mailgate.rules.screening import Rules, Screening
    from mailgate.signing.signer import Signer
    from mailgate.spam.check import SpamCheck, SpamFilter

log = logging.getLogger("mailgate")

SCAN_UNAVAILABLE = Reply.of(451, "4.7.0 Virus scan unavailable; try again later")
UNSENT = Reply.of(550, "5.7.1 Bounce refused: the recipient has not sent such a message")
INTERNAL_ERROR = Reply.of(451, "4.3.0 Internal error; try again later")
# From the end of data to the reply, less some seconds to send the reply itself.
ANSWER_SECONDS = MAX_ANSWER_SECONDS - 5
# How often a message that is being scanned looks whether others wait for its sessions with next hops.
GIVE_WAY_SECONDS = 0.1
# How often the files of lists are looked at.
LIST_SECONDS = 5.0


class Budget:
    """Bytes of messages that all workers together may hold in memory."""

    def __init__(self, total: int, worker_counters: WorkerCounters) -> None:
        self.total = total
        self._worker_counters = worker_counters

    @property
    def used(self) -> int:
        """Bytes that are reserved."""
        return self._worker_counters.message_bytes

    def reserve(self, size: int) -> bool:
        """Reserve `size` bytes if they are free; return whether they were."""
        if self.used + size > self.total:
            return False
        self._worker_counters.add_message_bytes(size)
        return True

    def release(self, size: int) -> None:
        """Release `size` bytes."""
        self._worker_counters.add_message_bytes(-size)


class Drainable(Protocol):
    """What the gateway needs of a session."""

    def drain(self) -> None:
        """Close the connection if it is idle."""

    def give_up(self) -> None:
        """Abandon the transaction and log the end of the connection, unless a task does it."""


@dataclass(frozen=True, slots=True)
class Result:
    """The reply to a message, and the keys in the duplicate log that a positive reply acknowledges."""

    reply: Reply
    acknowledged: tuple[bytes, ...] = ()


class Gateway:
    """State shared by all sessions of a worker, and the message pipeline."""

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
        self.verification_cache = VerificationCache(
            config.state_dir,
            known_seconds=config.cache.known_days * 86400,
            unknown_seconds=config.cache.unknown_hours * 3600,
            max_rows=config.cache.max_recipients,
        )
        self.duplicates = DuplicateLog(config.state_dir, config.cache.resend_hours * 3600)
        self.budget = Budget(config.limits.max_bytes_in_flight, self.worker_counters)
        self.client_limits = ClientLimits(config, self.worker_counters, events, alarm=self._send_alarm)
        loop = asyncio.get_running_loop()
        self.unknown_recipients = UnknownRecipients(
            config.limits, self.worker_counters, events, later=loop.call_later, ban=self.client_limits.ban
        )
        self.admission = Admission(
            config,
            self.worker_counters,
            clock=time.monotonic,
            later=loop.call_later,
            contended=lambda: self.delivery.pool.contended,
        )
        self.sessions: set[Drainable] = set()
        self.draining = False
        # Messages and notices, which a stop waits for, and the closing of connections, which may be cut short.
        self.tasks = BackgroundTasks()
        # None without rules.
        self.rules: Rules | None = None
        # None without rspamd.
        self.spam: SpamFilter | None = None
        # None unless bounces of mail that was not sent are looked for.
        self.sent_mail: SentMail | None = None
        # None unless gateways share it.
        self.shared_sent_mail: SharedSentMail | None = None
        # None without keys.
        self.signer: Signer | None = None
        self._giving_way = Repeated(GIVE_WAY_SECONDS)
        self._closing = BackgroundTasks()
        self._delivery: Delivery | None = None
        self.scanner = Scanner(self._worker_scan(config.scan), events.emit)
        self._event_settings: EventSettings | None = None
        self._no_key = FailureLog("events: no key for hashed addresses, so there are no events")
        self._key_retry: asyncio.TimerHandle | None = None
        self.use(config, routes)

    def use(self, config: Config, routes: Routes) -> None:
        """Apply settings and routes; open transactions keep those that they began with."""
        encrypt = tls.server_context(config)
        self.config = config
        self.routes = routes
        self.removed_routes = RemovedRoutes.load(config.state_dir, config.cache.removed_route_hours * 3600, routes)
        self.encrypt = encrypt
        self._use_events()
        self._use_metrics()
        self._use_rules()
        self._use_spam()
        self._use_signer()
        self.client_limits.use(config)
        self._use_sent_mail()
        self.unknown_recipients.limits = config.limits
        self.unknown_recipients.ban_limit = config.bans.unknown_recipients
        open_files, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.admission.use(config, None if open_files == resource.RLIM_INFINITY else open_files)
        self.budget.total = config.limits.max_bytes_in_flight
        self.verification_cache.known_seconds = config.cache.known_days * 86400
        self.verification_cache.unknown_seconds = config.cache.unknown_hours * 3600
        self.verification_cache.max_rows = config.cache.max_recipients
        self.duplicates.seconds = config.cache.resend_hours * 3600
        self.scanner.use(self._worker_scan(config.scan))
        self.inspection = Inspection(config, self.scanner, self.events, self.tasks)
        if self._delivery:
            self._delivery.close()
        remote = self.client_limits.remote
        self._delivery = Delivery(
            config,
            self.verification_cache,
            self.events,
            self._closing,
            encrypt=tls.client_context(config),
            share=self.worker_counters.share,
            unknown_recipients=self.unknown_recipients,
            shared_results=SharedResults(self.verification_cache, remote) if remote else None,
        )

    def _use_events(self) -> None:
        settings, state_dir = self.config.events, self.config.state_dir
        if settings == self._event_settings:
            return
        try:
            hashes = hasher(settings, state_dir)
        except OSError as error:
            # Rather no events than plain addresses.
            self._no_key.failed(error)
            self.events.mute()
            # A reload tries it too, and must not add another series of attempts.
            if self._key_retry:
                self._key_retry.cancel()
            self._key_retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._use_events)
            return
        self._no_key.worked()
        self._event_settings = settings
        spool = Spool(state_dir, settings.max_bytes, settings.days) if settings.max_bytes else None
        self.events.keep_in(spool, hashes, addresses_in_journal=settings.journal == "all")

    def _use_metrics(self) -> None:
        if not self.config.metrics.listen:
            self.events.metrics = None
        elif self.events.metrics is None:
            self.events.metrics = self.worker_counters.recorder()

    def _use_rules(self) -> None:
        config = self.config
        # The spam scan needs the names of clients, and which clients are exempt; the latter separate recipients too.
        if not (
            config.rules or config.authentication.evaluate or config.rspamd.socket or config.refusal.separate_choices
        ):
            self.rules = None
            return
        if self.rules is None:
            # Imported here because dnspython costs every worker 5 MB, and most gateways may have no rules.
            from mailgate.rules.screening import Rules  # noqa: PLC0415

            self.rules = Rules(self.events, time.monotonic, self.client_limits.greylist_seconds)
        self.rules.use(config, self.routes)

    def _use_spam(self) -> None:
        if not self.config.rspamd.socket:
            self.spam = None
        elif self.spam:
            self.spam.use(self.config, self.worker_counters.share)
        else:
            # Imported here because only this needs a library for HTTP.
            from mailgate.spam.check import SpamFilter  # noqa: PLC0415

            self.spam = SpamFilter(self.config, self.events, self.worker_counters.share)

    def spam_check(self, client: Client, screening: Screening | None) -> SpamCheck | None:
        """Return the spam check of a message, or None if it is not scanned for spam."""
        return self.spam.check(client, screening) if self.spam else None

    def _use_sent_mail(self) -> None:
        if self.config.bounces.unsent == "deliver":
            if self.sent_mail:
                self.sent_mail.close()
            self.sent_mail = None
        elif self.sent_mail:
            self.sent_mail.use(self.config)
        else:
            self.sent_mail = SentMail(self.config)
        remote = self.client_limits.remote if self.sent_mail else None
        self.shared_sent_mail = SharedSentMail(remote, self.config.bounces.days) if remote else None

    def _use_signer(self) -> None:
        if not self.config.dkim:
            self.signer = None
            return
        if self.signer is None:
            # Imported here because most gateways sign nothing.
            from mailgate.signing.signer import Signer  # noqa: PLC0415

            self.signer = Signer(self.events, announces=self.worker_counters.number == 0)
        self.signer.use(self.config)

    async def watch_keys(self) -> None:
        """Look for the records of keys in DNS, for as long as the worker runs."""
        while True:
            try:
                if self.signer:
                    await self.signer.refresh()
            except Exception:
                log.exception("cannot check the keys of DKIM")
            await asyncio.sleep(LIST_SECONDS)

    async def watch_lists(self) -> None:
        """Load changed lists of rules, for as long as the worker runs."""
        while True:
            await asyncio.sleep(LIST_SECONDS)
            try:
                if self.rules:
                    await self.rules.refresh()
                await self.client_limits.refresh()
            except Exception:
                log.exception("cannot load the lists of rules")

    def _worker_scan(self, scan: Scan) -> Scan:
        """Return the settings with this worker's share of the simultaneous scans."""
        return replace(scan, concurrency=max(1, round(scan.concurrency * self.worker_counters.share)))

    @property
    def delivery(self) -> Delivery:
        """State shared by transactions that begin now."""
        assert self._delivery
        return self._delivery

    def run(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Start work that continues when the client disconnects."""
        return self.tasks.spawn(work)

    async def finish(self, seconds: float) -> int:
        """Wait for messages and notices in progress; return how many were cancelled after `seconds`."""
        self.delivery.close()
        cancelled = await self.tasks.finish(seconds)
        await self.client_limits.bans.sync()
        return cancelled

    async def close_connections(self, seconds: float) -> None:
        """Wait until connections to next hops are closed, for at most `seconds`."""
        await self._closing.finish(seconds)

    def close(self) -> None:
        """Close the files and databases."""
        self.delivery.close()
        self.scanner.close()
        self.verification_cache.close()
        self.duplicates.close()
        self.client_limits.close()
        if self.sent_mail:
            self.sent_mail.close()
        self.unknown_recipients.report()
        self.events.close()
        self.counters.close()

    def reply_received(self, acknowledged: tuple[bytes, ...]) -> None:
        """Clear these entries of the duplicate log: the client has received the reply, or may have."""
        for key in acknowledged:
            self.duplicates.clear(key)

    def reply_lost(self, acknowledged: tuple[bytes, ...]) -> None:
        """Mark these entries of the duplicate log: the client has not received the reply, and sends again."""
        self.events.count(CLIENT_ANSWERS_LOST)
        for key in acknowledged:
            self.duplicates.mark(key)

    def unanswered(self, task: asyncio.Task[Result]) -> None:
        """Call `reply_lost` for a message whose connection was lost before its reply could be sent."""
        self.reply_lost(() if task.cancelled() else task.result().acknowledged)

    def _send_alarm(self, client: str) -> None:
        """Send a message about a host that relays more mail than usual, if somebody is to get it."""
        if address := self.config.rates.alarm_to:
            self.tasks.spawn(self.inspection.send(alarm_mail(self.config, client), address))

    def refuse_connection(self, address: str) -> Reply | None:
        """Return the reply that refuses a client's connection before any other work, or None.

        The address of a load balancer stands for all clients behind it, and is not checked.
        """
        if self.config.is_proxy(address):
            return None
        return self.client_limits.refuse_connection(address) or self.admission.check_client(address)

    def refused_recipient(
        self,
        client: Client,
        sender: object,
        recipient: object,
        reply: Reply,
        *,
        relay: bool,
        rule: str | None = None,
        score: int | None = None,
    ) -> None:
        """Record a refusal at RCPT, with the first rule that applies and the score if rules refuse it."""
        if relay:
            self.events.count(RELAY_REFUSED)
        self.events.emit(
            "relay_refused" if relay else "recipient_refused",
            id=client.transaction or client.session,
            session=client.session,
            client=client.address,
            helo=client.helo,
            sender=sender,
            recipient=recipient,
            reply=reply,
            rule=rule,
            score=score,
        )

    def refused_message(self, client: Client, transaction: Transaction, reply: Reply) -> None:
        """Record a message that was refused while it was received."""
        self.events.emit(
            "message",
            id=transaction.id,
            client=client.address,
            helo=client.helo,
            session=client.session,
            sender=transaction.sender,
            recipients=transaction.recipients,
            reply=reply,
            seconds=0,
        )

    # The message pipeline

    async def process(
        self,
        message: Message,
        transaction: Transaction,
        check: MessageCheck | None = None,
        spam: SpamCheck | None = None,
        answer: asyncio.Future[Result] | None = None,
    ) -> Result:
        """Check, scan and deliver a message; return the reply to its end of data. Never raises.

        Closes the transaction.

        Args:
            message: The message.
            transaction: Its transaction.
            check: What rules and mail authentication decide on it; None if they need nothing of it.
            spam: What the spam scan decides on it; None if it is not scanned for spam.
            answer: Gets the result. A task that waits for it is woken earlier than by the end of this one.
        """
        started = time.monotonic()
        keys: dict[Mailbox, bytes] = {}
        signed: dict[str, object] = {}
        try:
            message = await self._fingerprinted(message)
            keys = self._duplicate_keys(message)
            reply = await self._process(message, transaction, keys, check, spam, signed=signed)
        except ScanError as error:
            self.events.emit("not_scanned", id=message.id, reason=error)
            reply = SCAN_UNAVAILABLE
        except Exception:
            log.exception("message %s from %s", message.id, message.client.address)
            reply = INTERNAL_ERROR
        finally:
            transaction.close()
            if spam:
                spam.cancel()
        # Before the reply is sent, which the client may not receive. After a negative reply it sends again anyway.
        delivered = tuple(keys[recipient] for recipient in transaction.delivered) if keys else ()
        for key in delivered:
            self.duplicates.mark(key, pending=reply.ok)
        if reply.ok:
            self.events.count(PROCESSED)
            client = message.client.address
            if self.sent_mail and client and self.config.may_relay(client):
                first = self.sent_mail.remember(message.sender)
                if first and self.shared_sent_mail:
                    self.shared_sent_mail.publish(message.sender)
            reply = Reply.of(reply.code, f"2.0.0 Message accepted as {message.id}")
        self.events.emit(
            "message",
            id=message.id,
            client=message.client.address,
            helo=message.client.helo,
            session=message.client.session,
            sender=message.sender,
            recipients=message.recipients,
            size=len(message.content),
            message_id=message_id_of(message.content),
            subject=subject_of(message.content) if self.config.events.subject else None,
            reply=reply,
            delivered=len(transaction.delivered) or None,
            queued=transaction.queued or None,
            seconds=round(time.monotonic() - started, 3),
            **signed,
            **((check.noted if check else message.noted) or {}),
            **(spam.noted if spam else {}),
        )
        result = Result(reply, delivered if reply.ok else ())
        if answer and not answer.done():
            answer.set_result(result)
        return result

    async def _fingerprinted(self, message: Message) -> Message:
        """Return the message with its digest, but none if a message like this may be another message."""
        content = message.content
        if not self.duplicates.seconds or not is_identifiable(content):
            return message
        large = len(content) > HASH_INLINE
        return replace(message, digest=await asyncio.to_thread(fingerprint, content) if large else fingerprint(content))

    def _duplicate_keys(self, message: Message) -> dict[Mailbox, bytes]:
        """Return the key in the duplicate log by recipient; none without a digest."""
        if not message.digest:
            return {}
        return self.duplicates.keys(message.digest, message.client.address, message.sender, message.recipients)

    async def _process(
        self,
        message: Message,
        transaction: Transaction,
        keys: dict[Mailbox, bytes],
        check: MessageCheck | None,
        spam: SpamCheck | None,
        *,
        signed: dict[str, object],
    ) -> Reply:
        config, inspection = self.config, self.inspection
        began = asyncio.get_running_loop().time()
        trace_recipient = str(message.recipients[0]) if len(message.recipients) == 1 else ""
        if await self._exclude_delivered(message, transaction, keys):
            return DELIVERED
        form = config.content
        refusal = check_format(
            message.content,
            reject_bare_newlines=form.bare_newlines == "refuse",
            max_line=form.max_line_bytes,
            max_hops=form.max_hops,
        ) or await self._refuse_bounce(message)
        if refusal:
            return refusal
        if form.bare_newlines == "normalize":
            message = replace(message, content=normalize(message.content), digest=b"")
        if delivered := transaction.delivered:
            message = replace(message, recipients=tuple(m for m in message.recipients if m not in delivered))
        results = b""
        if check:
            with self._giving_way.during(transaction.give_way):
                outcome = await check.decide(message)
            if outcome.reply:
                return outcome.reply
            results = outcome.results
            message = _with_content(replace(message, tags=outcome.tags), outcome.content)
        if message.tags is not None:
            message = _with_content(message, without_forged(message.content))
        with self._giving_way.during(transaction.give_way):
            variants = await self._scan(inspection, message, config.timeouts.scan, spam)
        if isinstance(variants, Reply):
            if not variants.ok:
                self.events.count(PROCESSED)
            return variants
        if variants[0].recipients is not None:
            served = (variant.of(message.recipients) for variant in variants)
            await transaction.exclude(set(message.recipients).difference(*served))
        needs_utf8 = transaction.envelope.utf8 and not bytes(header_section(message.content)).isascii()
        if message.tags:
            variants = with_tags(variants, message.recipients, message.tags)
        # RFC 8601 section 4: results are above the trace field of the host that they are from.
        trace = results + received_header(message, hostname=config.hostname, recipient=trace_recipient)
        variants = [MessageVariant([trace, *variant.pieces], variant.recipients) for variant in variants]
        if self.signer:
            # Last, since it is about the bytes that are delivered.
            with self._giving_way.during(transaction.give_way):
                variants, noted = await self.signer.sign(message, variants)
            signed |= noted
        return await transaction.deliver(variants, began + ANSWER_SECONDS, needs_utf8=needs_utf8)

    async def _scan(
        self, inspection: Inspection, message: Message, seconds: float, spam: SpamCheck | None
    ) -> list[MessageVariant] | Reply:
        """Scan a message for viruses and spam, for at most `seconds`; return what to deliver, or the reply."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await _inspect(inspection, message, began + seconds, spam)
        if self.events.metrics:
            self.events.metrics.observe("scan", loop.time() - began)
        return found

    async def _refuse_bounce(self, message: Message) -> Reply | None:
        """Return the reply that refuses a bounce of a message that its recipients have not sent, or None."""
        memory, client = self.sent_mail, message.client.address
        if memory is None or not message.sender.null or self.client_limits.is_exempt(client):
            return None
        if not memory.is_unsent(message.recipients, message.content):
            return None
        if self.shared_sent_mail and await self.shared_sent_mail.has_any(message.recipients):
            return None
        refuses = self.config.bounces.unsent == "refuse" and memory.is_complete
        self.events.count(UNSENT_REFUSED if refuses else UNSENT_LOGGED)
        self.events.emit(
            "unsent_bounce",
            id=message.id,
            client=client,
            recipients=message.recipients,
            action="refuse" if refuses else "deliver",
        )
        return UNSENT if refuses else None

    async def _exclude_delivered(self, message: Message, transaction: Transaction, keys: dict[Mailbox, bytes]) -> bool:
        """Exclude recipients that have received this message although its client did not see our reply.

        Returns:
            Whether these are all recipients.
        """
        delivered = [recipient for recipient, key in keys.items() if self.duplicates.contains(key)]
        if not delivered:
            return False
        self.events.count(RESENT)
        self.events.emit("resent", id=message.id, sender=message.sender, recipients=delivered)
        await transaction.exclude(delivered, delivered=True)
        return len(delivered) == len(message.recipients)


async def _inspect(
    inspection: Inspection, message: Message, deadline: float, spam: SpamCheck | None
) -> list[MessageVariant] | Reply:
    """Scan a message for viruses and spam at the same time; return what to deliver, or the reply."""
    if spam is None:
        return await inspection.inspect(message, deadline)
    message = _with_content(message, spam.begin(message, deadline))
    variants = await inspection.inspect(message, deadline)
    # What the virus scan stops is stopped with any score.
    return variants if isinstance(variants, Reply) else await spam.apply(variants)


def _with_content(message: Message, content: bytes) -> Message:
    """Return a message with another content; the digest is that of the received one."""
    return message if content is message.content else replace(message, content=content, digest=b"")
