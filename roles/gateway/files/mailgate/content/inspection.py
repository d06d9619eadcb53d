# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message's content judged by its recipients' policy, and all that follows: events, quarantine, notices."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from email.parser import BytesHeaderParser
from typing import Any

from mailgate.client.submit import QueueError, hand_over
from mailgate.config import Config
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy, by_policy, campus_policy, strictest
from mailgate.content.quarantine import Entry, Quarantine, QuarantineError
from mailgate.content.screen import ContentDecision, Rules, screen
from mailgate.events import VIRUS_FOUND, Events
from mailgate.scan.clamd import Finding, ScanError
from mailgate.scan.scanner import Scanner
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import MessageVariant
from mailgate.smtp.reply import Reply

PRUNE_EVERY = 3600


@dataclass(frozen=True)
class Envelope:
    """Whose message it is: its number here, the client's address, the sender, the recipients."""

    number: str
    client: str
    sender: str
    recipients: tuple[Mailbox, ...]

    @property
    def addresses(self) -> list[str]:
        """Addresses of the recipients."""
        return [str(mailbox) for mailbox in self.recipients]


class Inspection:
    """The work for one set of settings."""

    def __init__(self, config: Config, scanner: Scanner, events: Events) -> None:
        self._config = config
        self._policy = campus_policy(config)
        self._scanner = scanner
        self._events = events
        self._notice = Notice(config.language, config.hostname, config.notices.text)
        self._quarantine = Quarantine(config.state_dir, config.quarantine)
        self._pruned_at = float("-inf")
        self._background: set[asyncio.Task[None]] = set()

    async def inspect(self, content: bytes, envelope: Envelope, deadline: float) -> list[MessageVariant] | Reply:
        """What to deliver, or the answer to the sender if nothing is to be; raises ScanError.

        What passes unchanged by all policies of the recipients' domains is one share. Otherwise the recipients under
        each policy have a judgement of their own; those that are to get nothing are in no share.
        """

        async def judge(policy: ContentPolicy, number: str) -> ContentDecision:
            rules = Rules(policy, self._config.attachments, self._notice, self._config.scan.max_parts, number)
            return await screen(content, lambda pieces: self._scanner.scan(pieces, deadline), rules)

        self._spawn_pruning()
        policies = by_policy(self._policy, self._config.domains, envelope.recipients)
        judged = await judge(strictest(policies), envelope.number)
        if judged.found.finding is Finding.CLEAN and judged.violation is None:
            return [MessageVariant([judged.content])]
        if len(policies) == 1 or judged.content is content:
            return await self._carry_out(content, [(envelope, judged)])
        parts, unsure = [], None
        for at, (policy, recipients) in enumerate(policies.items()):
            # Each has a number of its own, for the quarantine, which begins with the message's.
            number = f"{envelope.number}{at:x}" if at else envelope.number
            try:
                judged = await judge(policy, number)
            except ScanError as error:
                unsure = error
            else:
                parts.append((replace(envelope, number=number, recipients=tuple(recipients)), judged))
        for part, judged in parts:
            if judged.refusal:
                # There is one answer for all, and nobody has been served.
                text = f"{judged.refusal.text} (not accepted at {part.recipients[0].domain}, so sent to nobody)"
                refused = replace(judged, refusal=Reply.of(judged.refusal.code, text))
                return await self._carry_out(content, [(envelope, refused)])
        if unsure:
            raise unsure
        return await self._carry_out(content, parts)

    async def _carry_out(
        self, content: bytes, parts: Sequence[tuple[Envelope, ContentDecision]]
    ) -> list[MessageVariant] | Reply:
        for part, judged in parts:
            if judged.keep:
                await self._keep(content, part, judged)
        variants = []
        refusal = None
        for part, judged in parts:
            if judged.found.finding is not Finding.CLEAN or judged.violation:
                self._tell(part, judged)
            if judged.action == "deliver":
                own = frozenset(part.recipients) if len(parts) > 1 else None
                variants.append(MessageVariant([judged.header, judged.content], own))
            else:
                self._send_notices(content, part, judged)
                refusal = judged.refusal
        return variants or refusal or Reply.of(250, "2.0.0 Message accepted")

    def _tell(self, envelope: Envelope, judged: ContentDecision) -> None:
        if judged.found.finding is Finding.INFECTED:
            self._events.count(VIRUS_FOUND)
        self._events.emit(
            "finding",
            id=envelope.number,
            finding=judged.found.finding.value if judged.found.finding is not Finding.CLEAN else "attachment",
            name=judged.found.name or str(judged.violation),
            action="quarantine" if judged.keep else judged.action,
            removed=list(judged.removed) or None,
            reason=judged.reason or None,
            recipients=envelope.addresses,
        )

    async def _keep(self, content: bytes, envelope: Envelope, judged: ContentDecision) -> None:
        entry = Entry(
            id=envelope.number,
            time=self._scanner.wall_clock(),
            client=envelope.client,
            sender=envelope.sender,
            recipients=tuple(envelope.addresses),
            reason=judged.found.name or str(judged.violation),
            size=len(content),
        )
        try:
            await asyncio.to_thread(self._quarantine.put, entry, (content,))
        except QuarantineError as error:
            self._events.emit("not_kept", id=envelope.number, reason=error)
            raise ScanError(f"the quarantine cannot keep it: {error}") from error

    def _send_notices(self, content: bytes, envelope: Envelope, judged: ContentDecision) -> None:
        to = self._config.notices.to
        addresses = envelope.addresses if to in ("recipients", "both") else []
        if to in ("postmaster", "both"):
            addresses = [*addresses, self._config.postmaster or f"postmaster@{self._config.hostname}"]
        end = content.find(b"\r\n\r\n")
        header = BytesHeaderParser().parsebytes(content[: end + 2 if end >= 0 else None])
        about = {"sender": envelope.sender, "subject": str(header.get("subject", ""))}
        for address in addresses:
            mail = self._notice.mail(judged.removal, address, envelope.number, about)
            self._spawn(self._send(mail, address))

    async def _send(self, mail: bytes, address: str) -> None:
        queue = self._config.queue
        try:
            await asyncio.to_thread(
                hand_over,
                mail,
                sender="",
                recipients=[address],
                queue=(queue.host, queue.port),
                hostname=self._config.hostname,
            )
        except QueueError as error:
            self._events.emit("notice_not_sent", recipient=address, reason=error)

    def _spawn_pruning(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._pruned_at >= PRUNE_EVERY:
            self._pruned_at = now
            self._spawn(self._prune())

    async def _prune(self) -> None:
        try:
            await asyncio.to_thread(self._quarantine.prune)
        except QuarantineError as error:
            self._events.emit("not_kept", reason=error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
