# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions of rules to DNS, by dnspython: each is asked once at a time, cached, and answered within a limit of time.

A question without a usable answer in time is answered with None. After several in a row, the zone, or DNS as a whole,
is not asked for some seconds, so that mail does not wait for a server that is down.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
import dns.reversename

from mailgate.authentication.lookups import RECORD_TYPES, Lookup, Records, complete
from mailgate.config import Endpoint, dns_endpoint
from mailgate.rule_settings import Refusal
from mailgate.rules.model import Answer, Question

DNS_PORT = 53
MIN_SECONDS, MAX_SECONDS = 60, 3600
# How long a failed question is not asked again.
FAILED_SECONDS = 5
# Records of an answer that are used; nobody needs more.
MAX_RECORDS = 16
# The same for mail authentication, where a domain can have many TXT records; more are a failure.
MAX_TYPED_RECORDS, MAX_TYPED_BYTES = 100, 32768
MAX_TIMEOUTS = 5
PAUSE_SECONDS = 10.0
# RFC 5782 section 5: no list has this address. One that does has everything.
_NEVER_LISTED = "127.0.0.1"
_RESOLV_CONF = Path("/etc/resolv.conf")


class AnswerError(Exception):
    """DNS answered, but not what can be right."""


class _Outage:
    """Whether something is not worth asking, after several time-outs in a row."""

    def __init__(self) -> None:
        self.timeouts = 0
        self.until = 0.0

    def blocks(self, now: float) -> bool:
        """Return whether it is not to be asked now; after the pause, one question tries it."""
        if self.timeouts < MAX_TIMEOUTS:
            return False
        if now < self.until:
            return True
        self.until = now + PAUSE_SECONDS
        return False

    def note(self, now: float, *, answered: bool) -> None:
        """Note that a question was answered, or not in time."""
        self.timeouts = 0 if answered else self.timeouts + 1
        self.until = now + PAUSE_SECONDS


class Resolver:
    """Cached answers to questions.

    Args:
        settings: The DNS servers, none for those of /etc/resolv.conf, and the limits.
        failed: Called with the origin of a question that was not answered, and the reason.
        answered: Called with the seconds that a question took, in DNS.
        clock: Time in seconds.
    """

    def __init__(
        self,
        settings: Refusal,
        *,
        failed: Callable[[str, str], object],
        answered: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = settings.dns_seconds
        self._max_queries = settings.dns_queries
        self._max_entries = settings.dns_cache
        self._failed = failed
        self._answered = answered
        self._clock = clock
        self._cache: OrderedDict[Question, tuple[float, Answer | None]] = OrderedDict()
        self._asked: dict[Question, asyncio.Task[Answer | None]] = {}
        # Evaluations of SPF, which wait for questions that have tasks of their own.
        self._evaluations = 0
        self._zones: dict[str, _Outage] = {}
        self._all = _Outage()
        self._problem = ""
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._configure([dns_endpoint(text) for text in settings.dns_servers])

    def _configure(self, servers: Sequence[Endpoint]) -> None:
        resolver = self._resolver
        if servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(each.host, each.port) for each in servers]
        else:
            try:
                resolver.read_resolv_conf(str(_RESOLV_CONF))
            except (dns.exception.DNSException, OSError, ValueError) as error:
                self._problem = str(error) or type(error).__name__
        # A second try, and another server, must fit into the time.
        resolver.timeout = max(0.5, self._seconds / 3)
        resolver.lifetime = self._seconds
        resolver.search = []
        # Larger answers in one datagram, of a size that is not fragmented (the DNS flag day of 2020).
        resolver.use_edns(0, 0, 1232)

    def cached(self, question: Question) -> tuple[bool, Answer | None]:
        """Return whether the answer is known, and the answer."""
        entry = self._cache.get(question)
        if entry is None or entry[0] <= self._clock():
            return False, None
        self._cache.move_to_end(question)
        return True, entry[1]

    def ask(self, question: Question) -> asyncio.Task[Answer | None] | None:
        """Ask DNS; return None if the question cannot be asked now, and its answer is a failure."""
        task = self._asked.get(question)
        if task is not None:
            return task
        reason = self._refusal(question)
        if reason:
            self._failed(question.origin, reason)
            return None
        task = asyncio.get_running_loop().create_task(self._answer(question))
        self._asked[question] = task
        self._evaluations += question.kind == "spf"
        return task

    def _refusal(self, question: Question) -> str:
        now = self._clock()
        if self._problem:
            return self._problem
        evaluates = question.kind == "spf"
        running = self._evaluations if evaluates else len(self._asked) - self._evaluations
        if running >= self._max_queries:
            return "too many simultaneous look-ups"
        if self._zone(question).blocks(now) or self._all.blocks(now):
            return "no answer in time"
        return ""

    def _zone(self, question: Question) -> _Outage:
        # Only zones: for client names and sender domains, a client could choose names that are never answered.
        return self._zones.setdefault(question.zone, _Outage()) if question.zone else self._all

    async def _answer(self, question: Question) -> Answer | None:
        """Return the answer, or None; never raises."""
        answer, seconds, reason, in_time = None, float(FAILED_SECONDS), "", True
        began = self._clock()
        try:
            async with asyncio.timeout(self._seconds):
                answer, seconds = await self._ask(question)
        except (TimeoutError, dns.exception.Timeout):
            reason, in_time = "no answer in time", False
        except Exception as error:
            # A reply that dnspython cannot read may raise anything, and must not stop mail.
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        now = self._clock()
        if self._answered:
            self._answered(now - began)
        # Senders choose the names of mail authentication, and may choose some that are never answered.
        if in_time or question.kind not in (*RECORD_TYPES, "spf"):
            for outage in dict.fromkeys((self._zone(question), self._all)):
                outage.note(now, answered=in_time)
        self._asked.pop(question, None)
        self._evaluations -= question.kind == "spf"
        self._cache[question] = now + seconds, answer
        self._cache.move_to_end(question)
        while len(self._cache) > self._max_entries:
            self._cache.popitem(last=False)
        if reason:
            self._failed(question.origin, reason[:200])
        return answer

    async def _ask(self, question: Question) -> tuple[Answer | None, float]:
        if question.kind == "listed":
            return await self._listed(question)
        if question.kind == "spf":
            return await self._spf(question), MIN_SECONDS
        if question.kind in RECORD_TYPES:
            return await self._typed(question)
        return await (self._reverse(question.subject) if question.kind == "reverse" else self._mail(question.subject))

    async def _listed(self, question: Question) -> tuple[Answer, float]:
        codes, seconds = await self._records(_listed_name(question.subject, question.zone), "A")
        if not codes:
            return Answer(), seconds
        for code in codes:
            if not code.startswith("127.") or code.startswith("127.255.255."):
                # The latter is how lists say that they refuse to answer this resolver.
                raise AnswerError(f"{question.zone} answered {code}, which is not a valid reply of a list")
        if question.subject != _NEVER_LISTED:
            test = Question("listed", _NEVER_LISTED, question.zone)
            known, answer = self.cached(test)
            if not known:
                answer, kept = await self._listed(test)
                self._cache[test] = self._clock() + kept, answer
            if answer is None or answer.codes:
                raise AnswerError(f"{question.zone} lists 127.0.0.1, so it lists every address")
        return Answer(codes=tuple(codes)), seconds

    async def _reverse(self, address: str) -> tuple[Answer, float]:
        found, seconds = await self._records(dns.reversename.from_address(address), "PTR")
        names = tuple(name.rstrip(".").lower() for name in found)
        verified = []
        for name in names[:3]:
            addresses, kept = await self._records(dns.name.from_text(name), "AAAA" if ":" in address else "A")
            seconds = min(seconds, kept)
            if any(ipaddress.ip_address(each) == ipaddress.ip_address(address) for each in addresses):
                verified.append(name)
        return Answer(names=names, verified=tuple(verified)), seconds

    async def _mail(self, domain: str) -> tuple[Answer, float]:
        try:
            name = dns.name.from_text(domain)
        except (dns.exception.DNSException, UnicodeError):
            # A name that cannot exist.
            return Answer(servers="none"), MAX_SECONDS
        shortest = float(MAX_SECONDS)
        for kind in ("MX", "A", "AAAA"):
            records, seconds = await self._records(name, kind)
            shortest = min(shortest, seconds)
            if records:
                null = kind == "MX" and all(record.endswith(" .") for record in records)
                return Answer(servers="null_mx" if null else "yes"), seconds
        return Answer(servers="none"), shortest

    async def _spf(self, question: Question) -> Answer | None:
        """Return the result of SPF; None if a look-up failed, which has been reported."""
        # Imported here because only this needs pyspf.
        from mailgate.authentication import spf  # noqa: PLC0415

        client, helo, sender = question.client, question.helo, question.subject
        result = await complete(lambda found: spf.evaluate(client, helo, sender, found), self.records, spf.MAX_LOOKUPS)
        return None if result == "temperror" else Answer(result=result or "permerror")

    async def records(self, lookup: Lookup) -> Records | None:
        """Return records for mail authentication, or None if DNS failed."""
        question = Question(lookup.type, lookup.name)
        known, answer = self.cached(question)
        if not known:
            task = self.ask(question)
            answer = await asyncio.shield(task) if task else None
        return answer.records if answer else None

    async def _typed(self, question: Question) -> tuple[Answer, float]:
        try:
            name = dns.name.from_text(question.subject)
        except (dns.exception.DNSException, UnicodeError):
            # A name that cannot exist.
            return Answer(), MAX_SECONDS
        found, seconds = await self._resolve(name, question.kind)
        texts = tuple(_text_of(record) for record in found)
        if len(texts) > MAX_TYPED_RECORDS or sum(map(len, texts)) > MAX_TYPED_BYTES:
            raise AnswerError(f"{question.kind} records of {question.subject} are too large")
        return Answer(records=texts), seconds

    async def _records(self, name: dns.name.Name, kind: str) -> tuple[list[str], float]:
        """Return the records of a name as text, none if there is none, and the seconds for which that is valid."""
        found, seconds = await self._resolve(name, kind)
        return sorted(record.to_text() for record in found)[:MAX_RECORDS], seconds

    async def _resolve(self, name: dns.name.Name, kind: str) -> tuple[list[dns.rdata.Rdata], float]:
        """Return the records of a name, none if there is none, and the seconds for which that is valid."""
        try:
            found = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as error:
            responses = error.kwargs.get("responses") or {}
            kept = [response.resolve_chaining().minimum_ttl for response in responses.values()]
            return [], _bounded(min(kept, default=MIN_SECONDS))
        return list(found.rrset or ()), _bounded(found.chaining_result.minimum_ttl)


def _text_of(record: dns.rdata.Rdata) -> bytes:
    """Return a record as mail authentication uses it; names without the final dot."""
    strings = getattr(record, "strings", None)
    return b"".join(strings) if strings is not None else record.to_text().removesuffix(".").encode()


def system_servers() -> bytes:
    """Return what the system's resolver is configured with, to notice a change."""
    try:
        return _RESOLV_CONF.read_bytes()
    except OSError:
        return b""


def _bounded(seconds: float) -> float:
    return max(MIN_SECONDS, min(MAX_SECONDS, seconds))


def _listed_name(address: str, zone: str) -> dns.name.Name:
    """Return the name of an address in the zone of a list (RFC 5782 sections 2.1 and 2.4)."""
    # Without in-addr.arpa or ip6.arpa.
    labels = dns.reversename.from_address(address).labels[:-3]
    return dns.name.Name((*labels, *dns.name.from_text(zone).labels))
