# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spam scan of each message: whether it is scanned, what rspamd gets to know, and the decision."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence

from mailgate.config import Config
from mailgate.events import Events
from mailgate.message import Client, Message
from mailgate.rules.model import Question
from mailgate.rules.replies import greylist_reply
from mailgate.rules.screening import COUNT_GREYLISTED, Screening
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import MessageVariant
from mailgate.smtp.reply import Reply
from mailgate.spam.decision import OFF, decide
from mailgate.spam.fields import without_forged
from mailgate.spam.rspamd import Score
from mailgate.spam.scanner import FAILED, NotScanned, SpamScanner

log = logging.getLogger("mailgate")

# How long a scan waits for the name of the client, which has been looked up since MAIL.
NAME_SECONDS = 2.0
# Counters of events, by effect.
COUNT_SPAM = "spam:"


class SpamFilter:
    """The spam scan of a worker."""

    def __init__(self, config: Config, events: Events, share: float = 1.0) -> None:
        self.events = events
        self.scanner = SpamScanner(config.rspamd, events, share)
        self.use(config, share)

    def use(self, config: Config, share: float = 1.0) -> None:
        """Apply new settings."""
        self.config = config
        self.scanner.use(config.rspamd, share)

    def check(self, client: Client, screening: Screening | None) -> SpamCheck | None:
        """Return the check of a message of a client, or None if its mail is not scanned."""
        if screening:
            return SpamCheck(self, screening)
        if self.config.rspamd.relayed != OFF and self.config.may_relay(client.address):
            return SpamCheck(self, None)
        return None


class SpamCheck:
    """The check of one message, which runs beside its virus scan.

    Args:
        spam_filter: The spam scan.
        screening: The screening of its connection; None for a host that may relay.
    """

    def __init__(self, spam_filter: SpamFilter, screening: Screening | None) -> None:
        self._filter = spam_filter
        self._screening = screening
        # Both grow while the message is received.
        self._accepted = (screening.allowed, screening.for_postmaster) if screening else ()
        self._choices: Mapping[Mailbox, str] = {}
        self._task: asyncio.Task[Score | NotScanned] | None = None
        #: Results for the log.
        self.noted: dict[str, object] = {}

    def begin(self, message: Message, deadline: float) -> bytes:
        """Begin to scan a message; return its content without forged results.

        Args:
            message: The message.
            deadline: Time of the event loop at which all scans must be done.
        """
        config = self._filter.config
        self._choices = choices(config, message.recipients, relayed=not self._screening)
        if all(choice == OFF for choice in self._choices.values()):
            return message.content
        content = without_forged(message.content)
        deadline = min(deadline, asyncio.get_running_loop().time() + config.rspamd.seconds)
        self._task = asyncio.get_running_loop().create_task(self._scan(message, content, deadline))
        return content

    async def _scan(self, message: Message, content: bytes, deadline: float) -> Score | NotScanned:
        try:
            return await self._score(message, content, deadline)
        except Exception:
            # An error of a library must not stop mail.
            log.exception("spam scan failed")
            return FAILED

    async def _score(self, message: Message, content: bytes, deadline: float) -> Score | NotScanned:
        name = await self._client_name(message.client.address) if self._screening else ""
        headers = list(request_headers(self._filter.config, message, name, relayed=not self._screening))
        return await self._filter.scanner.scan(content, headers, deadline)

    async def _client_name(self, address: str) -> str:
        """Return the name of a client that DNS confirms, or an empty string.

        rspamd counts a client without a name as suspicious, and not all of its modules look it up.
        """
        assert self._screening
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NAME_SECONDS):
                answer = await self._screening.answer(Question("reverse", address))
                return answer.verified[0] if answer and answer.verified else ""
        return ""

    async def apply(self, variants: Sequence[MessageVariant]) -> list[MessageVariant] | Reply:
        """Return the variants of the message with its marks, or the reply that refuses or defers it."""
        if self._task is None:
            # No domain of its recipients wants it scanned.
            return list(variants)
        result = await self._task
        config = self._filter.config
        decided = decide(result, config.rspamd, self._choices, frozenset().union(*self._accepted))
        reply = decided.reply or await self._greylist(decided.greylisted)
        effect = decided.effect if reply == decided.reply else "greylist"
        self._filter.events.count(COUNT_SPAM + effect)
        self.noted = {"spam": effect}
        if isinstance(result, Score):
            self.noted |= {"spam_score": round(result.score, 2), "spam_symbols": list(result.symbols)}
        return reply or decided.applied(variants, tuple(self._choices), config.rspamd.subject_tag)

    async def _greylist(self, recipients: Sequence[Mailbox]) -> Reply | None:
        """Return the reply that defers a new sender, or None."""
        if not (recipients and self._screening):
            return None
        rules, facts = self._screening.rules, self._screening.facts
        seconds = [await rules.greylister(facts.client, facts.sender, recipient) for recipient in recipients]
        if not max(seconds):
            return None
        rules.count(COUNT_GREYLISTED)
        return greylist_reply(max(seconds))

    def cancel(self) -> None:
        """End the scan if it still runs."""
        if self._task:
            self._task.cancel()


def choices(config: Config, recipients: Collection[Mailbox], *, relayed: bool = False) -> Mapping[Mailbox, str]:
    """Return what is done with spam for each recipient; for mail of hosts that may relay, the same for all."""
    if relayed:
        return dict.fromkeys(recipients, config.rspamd.relayed)
    return {mailbox: config.choice(mailbox.domain, "spam", config.rspamd.spam) for mailbox in recipients}


def request_headers(config: Config, message: Message, name: str, *, relayed: bool) -> Iterator[tuple[str, str]]:
    """Yield what rspamd gets to know of a message's transaction.

    Args:
        config: Settings.
        message: The message.
        name: Name of the client that DNS confirms, or empty.
        relayed: Whether the client may relay: as after SMTP AUTH, checks of strangers do not apply to it.
    """
    client = message.client
    yield "Queue-Id", message.id
    yield "MTA-Name", config.hostname
    yield "IP", client.address
    yield "Helo", client.helo
    if name:
        yield "Hostname", name
    if relayed:
        yield "User", client.address
    yield "From", f"<{message.sender}>"
    for recipient in message.recipients:
        yield "Rcpt", f"<{recipient}>"
