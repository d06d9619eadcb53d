# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKIM signatures of a worker's outgoing mail. What cannot be signed is delivered without a signature.

A domain is signed once the record of its key has been seen in DNS, so that no signature has a key that nobody finds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mailgate.authentication.header import from_mailboxes, values_of
from mailgate.authentication.lookups import Lookup
from mailgate.config import Config, IPNetwork, among
from mailgate.events import Events
from mailgate.message import Message, trace_of
from mailgate.rule_settings import Refusal
from mailgate.rules.resolver import Resolver
from mailgate.signing.key import KeyFileError, SigningKey, load_key
from mailgate.signing.record import problem_of, record_name
from mailgate.signing.signature import parts_of, signature_field
from mailgate.smtp.envelope import MessageVariant

log = logging.getLogger("mailgate")

# Counters of events, by domain.
COUNT_SIGNED, COUNT_UNSIGNED = "signed:", "unsigned:"
# How often DNS is asked: for records that were not there, and for those that were.
RETRY_SECONDS, CHECK_SECONDS = 60.0, 3600.0
REPORT_SECONDS = 60.0
# Larger messages are signed in a thread.
INLINE_BYTES = 65_536


@dataclass(eq=False)
class DomainKey:
    """The key of a domain, and what stands against its use.

    Attributes:
        domain: The signing domain.
        selector: The selector.
        path: The file.
        previous: Whether it is used only while the domain's other key cannot be.
        key: The key; None if it cannot be used.
        problem: Why nothing is signed; empty if it is.
        checked: Whether DNS has been asked.
    """

    domain: str
    selector: str
    path: Path
    previous: bool = False
    key: SigningKey | None = None
    problem: str = "DNS has not been asked yet"
    checked: bool = False

    @property
    def name(self) -> str:
        """Name of the record of DNS."""
        return record_name(self.domain, self.selector)

    def load(self) -> None:
        """Read the file; a key that cannot be used is a problem."""
        try:
            self.key = load_key(self.path)
        except KeyFileError as error:
            self.key, self.problem, self.checked = None, str(error), True

    async def check(self, settings: Refusal) -> None:
        """Look for the record; while DNS fails, what was found before stays."""
        if self.key is None:
            return
        reasons: list[str] = []
        records = None
        try:
            resolver = Resolver(settings, failed=lambda _origin, reason: reasons.append(reason))
            records = await resolver.records(Lookup("TXT", self.name.lower()))
        except Exception as error:
            log.exception("cannot look for the record of a DKIM key")
            reasons.append(str(error))
        if records is not None:
            found = problem_of(records, self.key.public)
            self.problem = f"{self.name} {found}" if found else ""
        elif not self.checked or self.problem:
            self.problem = f"{self.name}: {reasons[0] if reasons else 'no answer'}"
        self.checked = True


def keys_of(config: Config) -> list[DomainKey]:
    """Return the keys, of each domain the previous one last; reads their files."""
    keys = []
    for domain, setting in config.dkim.items():
        keys.append(DomainKey(domain, setting.selector, setting.key_file))
        if setting.previous_selector:
            keys.append(DomainKey(domain, setting.previous_selector, Path(setting.previous_key_file), previous=True))
    for each in keys:
        each.load()
    return keys


def find_key(keys: Iterable[DomainKey], domain: str) -> DomainKey | None:
    """Return the key of a domain, or of the longest domain above it; both are aligned (RFC 7489 section 3.1).

    Of two keys it is the first that can be used, or the first.
    """
    own = [each for each in keys if domain == each.domain or domain.endswith(f".{each.domain}")]
    return max(own, key=lambda each: (len(each.domain), not each.problem), default=None)


class Signer:
    """Signs messages of hosts that may relay whose author is in a domain with a key.

    Args:
        events: Log and counters.
        announces: Whether it logs that a domain is signed from now on; one worker does.
        clock: Time in seconds.
    """

    def __init__(self, events: Events, *, announces: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._announces = announces
        self._clock = clock
        self._lock = asyncio.Lock()
        self._due = 0.0
        self._reported: dict[str, float] = {}
        self._unreported: Counter[str] = Counter()
        self.keys: list[DomainKey] = []

    def use(self, config: Config) -> None:
        """Apply settings and read the keys; what DNS has said about a key that is the same stays."""
        self._config = config
        self._by_gateway = trace_of({config.hostname, *config.own_names})
        known = {each.name: each for each in self.keys if each.key}
        self.keys = keys_of(config)
        for each in self.keys:
            old = known.get(each.name)
            if old and old.key and each.key and old.key.public == each.key.public:
                each.problem, each.checked = old.problem, old.checked
        self._due = 0.0

    async def refresh(self) -> None:
        """Read keys that could not be read, and ask DNS, if that is due."""
        async with self._lock:
            if self._clock() < self._due:
                return
            keys, refusal = self.keys, self._config.refusal
            before = {each: each.problem for each in keys}
            for each in keys:
                if each.key is None:
                    each.load()
            await asyncio.gather(*(each.check(refusal) for each in keys))
            if self.keys is keys:
                seconds = RETRY_SECONDS if any(each.problem for each in keys) else CHECK_SECONDS
                self._due = self._clock() + seconds
            for each in keys:
                if self._announces and before[each] and not each.problem:
                    self._events.emit("signing_begins", domain=each.domain, selector=each.selector)

    async def sign(
        self, message: Message, variants: list[MessageVariant]
    ) -> tuple[list[MessageVariant], dict[str, object]]:
        """Return the variants with signatures, and what the event of the message has of them; never raises."""
        domain = ""
        try:
            found = self._key_for(message)
            if found is None:
                return variants, {}
            domain = found.domain
            if not found.checked:
                await self.refresh()
                found = self._key_for(message) or found
            if found.problem or found.key is None:
                self._failed(domain, found.problem)
                return variants, {}
            signing = partial(_sign_all, variants, found, found.key.sign, int(time.time()))
            large = sum(variant.size for variant in variants) > INLINE_BYTES
            signed = await asyncio.to_thread(signing) if large else signing()
        except Exception as error:
            # Mail does not depend on signatures.
            self._failed(domain, f"{type(error).__name__}: {error}")
            return variants, {}
        if signed is None:
            self._failed(domain, "the header section of a message is malformed")
            return variants, {}
        self._events.count(COUNT_SIGNED + domain)
        return signed, {"signed": domain, "selector": found.selector}

    def _key_for(self, message: Message) -> DomainKey | None:
        """Return the key with which a message is signed, None if it is not."""
        client = message.client.address
        if not client or not self._config.may_relay(client):
            return None
        authors = from_mailboxes(message.content)
        if len(authors) != 1 or not authors[0]:
            return None
        keys = {find_key(self.keys, mailbox.domain) for mailbox in authors[0]}
        if len(keys) != 1 or (self._has_passed_gateway(message.content) and not self._is_list_server(client)):
            return None
        return keys.pop()

    def _has_passed_gateway(self, content: bytes) -> bool:
        return any(self._by_gateway.search(value) for value in values_of(content, "received"))

    def _is_list_server(self, client: str) -> bool:
        networks: tuple[IPNetwork, ...] = self._config.signing.list_servers
        return among(client, networks)

    def _failed(self, domain: str, reason: str) -> None:
        """Count a message that is not signed, and log such messages once a minute."""
        self._events.count(COUNT_UNSIGNED + domain)
        self._unreported[domain] += 1
        now = self._clock()
        if now - self._reported.get(domain, -REPORT_SECONDS) >= REPORT_SECONDS:
            self._reported[domain] = now
            self._events.emit("not_signed", domain=domain, reason=reason, number=self._unreported.pop(domain))


def _sign_all(
    variants: Sequence[MessageVariant], found: DomainKey, sign: Callable[[bytes], bytes], now: int
) -> list[MessageVariant] | None:
    """Return all variants with a signature, None if one cannot be signed."""
    signed = []
    for variant in variants:
        parts = parts_of(variant.pieces)
        if parts is None or [field.name for field in parts.fields].count("from") != 1:
            return None
        field = signature_field(parts, sign, domain=found.domain, selector=found.selector, now=now)
        if field is None:
            return None
        signed.append(MessageVariant([field, *variant.pieces], variant.recipients))
    return signed
