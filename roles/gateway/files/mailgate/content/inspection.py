# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content inspection: decisions by the policies of the recipients' domains; events, quarantine and notices."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from email.parser import BytesHeaderParser

from mailgate.archives.unpacker import OWN, Unpacker
from mailgate.background import BackgroundTasks
from mailgate.client.submit import QueueError, submit
from mailgate.config import Config
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy, by_policy, campus_policy, strictest
from mailgate.content.quarantine import Entry, Quarantine, QuarantineError
from mailgate.content.screen import ContentDecision, Rules, screen
from mailgate.events import VIRUS_FOUND, Events
from mailgate.message import Message
from mailgate.scan.clamd import Finding, ScanError, Verdict
from mailgate.scan.scanner import Scanner
from mailgate.smtp.envelope import MessageVariant
from mailgate.smtp.reply import Reply

PRUNE_EVERY = 3600


class Inspection:
    """Content inspection for one set of settings."""

    def __init__(self, config: Config, scanner: Scanner, events: Events, background: BackgroundTasks) -> None:
        self._config = config
        self._policy = campus_policy(config)
        self._scanner = scanner
        self._events = events
        self._unpacker = Unpacker(config.scan.unpacker) if config.scan.unpacker else OWN
        self._notice = Notice(config.language, config.hostname, config.notices.text)
        self._quarantine = Quarantine(config.state_dir, config.quarantine)
        self._pruned_at = float("-inf")
        self._background = background

    async def inspect(self, message: Message, deadline: float) -> list[MessageVariant] | Reply:
        """Return the variants to deliver, or the reply to the client if there is nothing to deliver.

        A message that passes unchanged by the policies of all recipients' domains is one variant. Otherwise there is a
        decision for the recipients under each policy; those that are to get nothing are in no variant.

        Args:
            message: The message.
            deadline: Time of the event loop at which the scans must be done.

        Raises:
            ScanError: There is no decision, or the quarantine cannot keep the message.
        """
        self._spawn_pruning()
        policies = by_policy(self._policy, self._config.domains, message.recipients)
        decision = await self._decide(message, strictest(policies), message.id, deadline)
        if decision.found.finding is Finding.CLEAN and decision.violation is None:
            return [MessageVariant([decision.content])]
        if len(policies) == 1 or decision.content is message.content:
            return await self._apply([(message, decision)])
        decisions, failed = [], None
        for position, (policy, recipients) in enumerate(policies.items()):
            # Each has its own number in the quarantine, which begins with the message's.
            number = f"{message.id}{position:x}" if position else message.id
            try:
                decision = await self._decide(message, policy, number, deadline)
            except ScanError as error:
                failed = error
            else:
                decisions.append((replace(message, id=number, recipients=tuple(recipients)), decision))
        for part, decision in decisions:
            if decision.refusal:
                # There is one reply for all recipients, and nothing has been delivered.
                return await self._apply([(message, _refuse_for_all(decision, part))])
        if failed:
            raise failed
        return await self._apply(decisions)

    async def _decide(self, message: Message, policy: ContentPolicy, number: str, deadline: float) -> ContentDecision:
        rules = Rules(
            policy, self._config.attachments, self._notice, self._config.scan.max_parts, number, self._unpacker
        )

        async def scan(pieces: Sequence[bytes]) -> Verdict:
            known = message.digest if pieces[-1] is message.content else b""
            return await self._scanner.scan(pieces, deadline, known)

        return await screen(message.content, scan, rules)

    async def _apply(self, decisions: Sequence[tuple[Message, ContentDecision]]) -> list[MessageVariant] | Reply:
        """Keep messages, emit events and send notices as decided; return what to deliver or the reply."""
        for part, decision in decisions:
            if decision.keep:
                await self._keep(part, decision)
        variants = []
        refusal = None
        for part, decision in decisions:
            if decision.found.finding is not Finding.CLEAN or decision.violation:
                self._emit_finding(part, decision)
            if decision.action == "deliver":
                own = frozenset(part.recipients) if len(decisions) > 1 else None
                variants.append(MessageVariant([decision.header, decision.content], own))
            else:
                self._send_notices(part, decision)
                refusal = decision.refusal
        return variants or refusal or Reply.of(250, "2.0.0 Message accepted")

    def _emit_finding(self, message: Message, decision: ContentDecision) -> None:
        found = decision.found
        if found.finding is Finding.INFECTED:
            self._events.count(VIRUS_FOUND)
        self._events.emit(
            "finding",
            id=message.id,
            client=message.client.address,
            sender=message.sender,
            finding=found.finding.value if found.finding is not Finding.CLEAN else "attachment",
            name=found.name or str(decision.violation),
            action="quarantine" if decision.keep else decision.action,
            removed=list(decision.removed) or None,
            reason=decision.reason or None,
            recipients=message.addresses,
        )

    async def _keep(self, message: Message, decision: ContentDecision) -> None:
        entry = Entry(
            id=message.id,
            time=self._scanner.wall_clock(),
            client=message.client.address,
            sender=str(message.sender),
            recipients=tuple(message.addresses),
            reason=decision.found.name or str(decision.violation),
            size=len(message.content),
        )
        try:
            await asyncio.to_thread(self._quarantine.put, entry, (message.content,))
        except QuarantineError as error:
            self._events.emit("not_kept", id=message.id, reason=error)
            raise ScanError(f"the quarantine cannot keep the message: {error}") from error

    def _send_notices(self, message: Message, decision: ContentDecision) -> None:
        to = self._config.notices.to
        addresses = message.addresses if to in ("recipients", "both") else []
        if to in ("postmaster", "both"):
            addresses = [*addresses, self._config.postmaster or f"postmaster@{self._config.hostname}"]
        end = message.content.find(b"\r\n\r\n")
        header = BytesHeaderParser().parsebytes(message.content[: end + 2 if end >= 0 else None])
        about = {"sender": str(message.sender), "subject": str(header.get("subject", ""))}
        for address in addresses:
            mail = self._notice.mail(decision.removal, address, message.id, about)
            self._background.spawn(self.send(mail, address))

    async def send(self, mail: bytes, address: str) -> None:
        """Submit a notice to the queue; failures are logged."""
        queue = self._config.queue
        try:
            await asyncio.to_thread(
                submit,
                mail,
                sender="",
                recipients=[address],
                queue=(queue.host, queue.port),
                hostname=self._config.hostname,
            )
        except QueueError as error:
            self._events.emit("notice_not_sent", recipient=address, reason=error)
        except asyncio.CancelledError:
            self._events.emit("notice_not_sent", recipient=address, reason="the service stopped before it was sent")
            raise

    def _spawn_pruning(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._pruned_at >= PRUNE_EVERY:
            self._pruned_at = now
            self._background.spawn(self._prune())

    async def _prune(self) -> None:
        try:
            await asyncio.to_thread(self._quarantine.prune)
        except QuarantineError as error:
            self._events.emit("not_kept", reason=error)


def _refuse_for_all(decision: ContentDecision, part: Message) -> ContentDecision:
    """Return a refusal by one domain's policy with a reply for the whole transaction."""
    assert decision.refusal
    domain = part.recipients[0].domain
    text = f"{decision.refusal.text} (policy of {domain}; refused for all recipients)"
    return replace(decision, refusal=Reply.of(decision.refusal.code, text))
