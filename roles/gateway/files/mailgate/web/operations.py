# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the web page may ask for and have done; each operation returns an object of JSON.

An operation gets what the user may do, and asks for nothing else: what is not the user's never leaves this process.
"""

from __future__ import annotations

import argparse
import ipaddress
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

from mailgate import __version__
from mailgate.client.submit import submit
from mailgate.commands.event_options import EventReader, address_terms, key_of
from mailgate.commands.mail_queue import QueuedMessage, QueueUnreadableError, waiting
from mailgate.commands.queue import by_domain
from mailgate.commands.recent_events import recent_counts
from mailgate.commands.report_data import LISTS, as_json, collect
from mailgate.commands.status import Check, run_checks
from mailgate.commands.trace import traces
from mailgate.config import LANGUAGES, Config
from mailgate.content.quarantine import Entry, Quarantine, QuarantineError
from mailgate.event_index.query import Query
from mailgate.event_index.store import EventStore, StoreError
from mailgate.event_index.stores import open_store
from mailgate.event_index.terms import VERDICTS as ALL_VERDICTS
from mailgate.period_report.sums import VERDICTS
from mailgate.routes import Routes
from mailgate.translation import translator
from mailgate.web.access import Access, domain_terms, visible, visible_counts, visible_events, visible_queue

Answer = dict[str, Any]
# Rows that an answer has at most, and entries of each list of the report.
MAX_ROWS = 200
TOP = 20
CHECK_SECONDS = 20
# Waiting for the list of the queue.
QUEUE_SECONDS = 15
MAX_TEXT = 400
# Events that the index does not have yet; a parsed event takes ten times its size, and several users may ask.
UNINDEXED_BYTES = 4 * 1024 * 1024
# Entries of a list that are read of each day for the report, of which it shows `TOP`.
DAY_KEYS = 1000
# Longest period of a report.
MAX_DAYS = 800


class Refused(Exception):
    """The operation is not done; `reason` is one of `forbidden`, `not_found`, `invalid` and `failed`."""

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(text or reason)
        self.reason = reason


class Operations:
    """The operations on one gateway.

    Args:
        config: Settings.
        routes: Delivery table.
        clock: Time in seconds since 1970.
    """

    def __init__(self, config: Config, routes: Routes, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self._routes = routes
        self._clock = clock
        self._checks: tuple[float, list[Check]] = (0.0, [])
        self._checking = threading.Lock()

    def run(self, name: str, access: Access, given: Mapping[str, object]) -> Answer:
        """Run an operation.

        Raises:
            Refused: It does not exist, the arguments are invalid, or the user may not.
        """
        work = _OPERATIONS.get(name)
        if work is None:
            raise Refused("invalid", f"no operation {name!r}")
        return work(self, access, given)

    # Reading

    def now(self, access: Access, given: Mapping[str, object]) -> Answer:
        """Return the state of the gateway, and the messages of the last 24 hours."""
        notes: list[str] = []
        now = self._clock()
        hours: dict[int, Counter[str]] = {}
        try:
            with closing(self._store(notes)) as store:
                for hour, verdict, number in _messages(store, access, now - 86400, now + 60):
                    hours.setdefault(hour, Counter())[verdict] += number
        except StoreError as error:
            # The checks are needed most when something is down.
            notes.append(str(error))
        checks = self._checked()
        queued = self._queued(access)
        answer: Answer = {
            "version": __version__,
            "time": now,
            "hours": {str(hour): dict(numbers) for hour, numbers in sorted(hours.items())},
            "ok": all(check.ok for check in checks),
            "notes": notes,
            "queue": {"problem": queued} if isinstance(queued, str) else _summary(queued),
        }
        if access.domains is None:
            translate = translator(self._language(given))
            shown = [{"name": each.name, "ok": each.ok, "detail": each.detail.translated(translate)} for each in checks]
            answer |= {"checks": shown, "counts": recent_counts(self.config, 3600)}
        return answer

    def _language(self, given: Mapping[str, object]) -> str:
        language = _text(given, "language")
        return language if language in LANGUAGES else self.config.language

    def _checked(self) -> list[Check]:
        """Return the checks of `mailgate status`, not more often than every few seconds."""
        with self._checking:
            made, found = self._checks
            if not found or abs(self._clock() - made) > CHECK_SECONDS:
                found = run_checks(self.config, self._routes)
                self._checks = (self._clock(), found)
            return found

    def queue(self, access: Access, _given: Mapping[str, object]) -> Answer:
        """Return what waits in the queue, the oldest first."""
        found = self._queued(access)
        if isinstance(found, str):
            return {"problem": found, "messages": []}
        rows = sorted(found, key=lambda message: message.since)[:MAX_ROWS]
        return {**_summary(found), "messages": [asdict(each) for each in rows]}

    def _queued(self, access: Access) -> list[QueuedMessage] | str:
        """Return what the user sees of the queue, or why it cannot be listed."""
        try:
            return visible_queue(waiting(QUEUE_SECONDS), access)
        except QueueUnreadableError as error:
            return str(error)

    def search(self, access: Access, given: Mapping[str, object]) -> Answer:
        """Return the newest events that meet the criteria, newest first."""
        notes: list[str] = []
        limit = _number(given, "limit", 50, MAX_ROWS)
        own = domain_terms(access)
        terms = [*_criteria(self.config, given), *([own] if own else [])]
        wanted = Query(
            terms=tuple(terms),
            since=_time(given, "since", 0.0),
            until=_time(given, "until", float("inf")),
            limit=limit if access.domains is None else limit * 4,
        )
        with closing(EventReader(self.config, notes.append, UNINDEXED_BYTES)) as reader:
            events = reader.find(wanted)
        shown = [seen for event in events if (seen := visible(event, access, self.config.may_relay)) is not None]
        return {"events": shown[:limit], "notes": notes}

    def trace(self, access: Access, given: Mapping[str, object]) -> Answer:
        """Return events, log and queue of one mail, for `commands.trace`."""
        number = _text(given, "id")
        if not number or "@" in number:
            raise Refused("invalid", "id")
        options = argparse.Namespace(subject=number, since=None, until=None, limit=1)
        with closing(EventReader(self.config, lambda _note: None, UNINDEXED_BYTES)) as reader:
            mails = traces(self.config, options, reader)
        for found in mails:
            events = visible_events(found.events, access, self.config.may_relay)
            if not events:
                continue
            if access.domains is not None:
                return {"id": found.id, "events": events, "log": [], "queue": None}
            queue = None if found.queued is None else [asdict(each) for each in found.queued]
            return {"id": found.id, "events": events, "log": [asdict(each) for each in found.log], "queue": queue}
        raise Refused("not_found", number)

    def report(self, access: Access, given: Mapping[str, object]) -> Answer:
        """Return the report of a period, as `mailgate report --json` has it."""
        notes: list[str] = []
        until = _time(given, "until", self._clock())
        since = _time(given, "since", until - 7 * 86400)
        if not 0 <= until - since <= MAX_DAYS * 86400:
            raise Refused("invalid", "period")
        with closing(self._store(notes)) as store:
            return {**self._report(store, access, since, until), "notes": notes}

    def _report(self, store: EventStore, access: Access, since: float, until: float) -> Answer:
        if access.domains is None:
            start, end = (datetime.fromtimestamp(each).astimezone() for each in (since, until))
            return as_json(collect(self.config, store, start, end, keys=DAY_KEYS), TOP)
        days: dict[str, Counter[str]] = {}
        for hour, verdict, number in _messages(store, access, since, until):
            day = datetime.fromtimestamp(hour * 3600).astimezone().strftime("%Y-%m-%d")
            days.setdefault(day, Counter())[verdict] += number
        domains: dict[str, Counter[str]] = {}
        for key, number in store.sums("domain", since, until).items():
            domain, _space, column = key.rpartition(" ")
            if access.sees(domain):
                domains.setdefault(domain, Counter())[column] += number
        recipients = Counter(visible_counts(store.sums(LISTS["recipients"], since, until), access))
        return {
            "days": {day: dict(numbers) for day, numbers in sorted(days.items())},
            "domains": {domain: dict(numbers) for domain, numbers in sorted(domains.items())},
            "recipients": dict(recipients.most_common(TOP)),
        }

    def routes(self, access: Access, _given: Mapping[str, object]) -> Answer:
        """Return the delivery table."""
        rows = [
            [route.pattern, [str(hop) for hop in route.next_hops], [str(hop) for hop in route.verify_at]]
            for route in self._routes
            if access.sees_pattern(route.pattern)
        ]
        return {"routes": sorted(rows)}

    def address(self, access: Access, given: Mapping[str, object]) -> Answer:
        """Return what would happen to a message, in words."""
        # Imported here because it imports dnspython and the server.
        from mailgate.commands import explain  # noqa: PLC0415

        recipient = _text(given, "recipient").strip("<> ")
        try:
            client = str(ipaddress.ip_address(_text(given, "client").strip()))
        except ValueError:
            raise Refused("invalid", "client") from None
        if not recipient:
            raise Refused("invalid", "recipient")
        if not access.sees(recipient):
            raise Refused("forbidden", recipient)
        language = self._language(given)
        found = explain.explain(
            self.config,
            self._routes,
            client=client,
            helo=_text(given, "helo").strip() or "unknown",
            sender=_text(given, "sender").strip(),
            recipient=recipient,
            language=language,
        )
        route = self._routes.find(recipient.rpartition("@")[2].lower())
        return {
            "result": found.result,
            "text": explain.render(found, style="text", language=language),
            "next_hops": [str(hop) for hop in route.next_hops] if route else [],
        }

    # The quarantine

    def quarantine(self, access: Access, given: Mapping[str, object]) -> Answer:
        """Return the entries of the quarantine, newest first, or the one with a number."""
        number = _text(given, "number")
        notes: list[str] = []
        entries = []
        for entry in self._entries(notes):
            if (shown := _shown(entry, access)) is not None and number in ("", entry.id):
                entries.append(shown)
        if number and not entries:
            raise Refused("not_found", number)
        return {"entries": entries[::-1][:MAX_ROWS], "total": len(entries), "notes": notes}

    def _entries(self, notes: list[str]) -> Iterator[Entry]:
        try:
            yield from self._quarantine().entries(notes.append)
        except QuarantineError as error:
            notes.append(str(error))

    def release(self, access: Access, given: Mapping[str, object]) -> Answer:
        """Give a message to the queue for its recipients, then delete it."""
        number = self._allowed(access, given)
        entry, content = self._quarantine().read(number)
        queue = (self.config.queue.host, self.config.queue.port)
        submit(content, sender=entry.sender, recipients=entry.recipients, queue=queue, hostname=self.config.hostname)
        self._quarantine().delete(number)
        return {"number": number, "recipients": list(entry.recipients)}

    def delete(self, access: Access, given: Mapping[str, object]) -> Answer:
        """Delete a message."""
        number = self._allowed(access, given)
        self._quarantine().delete(number)
        return {"number": number}

    def _allowed(self, access: Access, given: Mapping[str, object]) -> str:
        if not access.changes:
            raise Refused("forbidden")
        number = _text(given, "number")
        if not number:
            raise Refused("invalid", "number")
        return number

    def _quarantine(self) -> Quarantine:
        return Quarantine(self.config.state_dir, self.config.quarantine)

    def _store(self, notes: list[str]) -> EventStore:
        return open_store(self.config, notes.append)


_OPERATIONS: Mapping[str, Callable[[Operations, Access, Mapping[str, object]], Answer]] = {
    each.__name__: each
    for each in (
        Operations.now,
        Operations.queue,
        Operations.search,
        Operations.trace,
        Operations.report,
        Operations.routes,
        Operations.address,
        Operations.quarantine,
        Operations.release,
        Operations.delete,
    )
}


def _messages(store: EventStore, access: Access, since: float, until: float) -> Iterator[tuple[int, str, int]]:
    """Yield hour, verdict and number of messages; for a faculty, once for each of its domains."""
    if access.domains is None:
        yield from store.hourly("message", since, until)
        return
    for hour, key, number in store.hourly("domain", since, until):
        domain, _space, verdict = key.rpartition(" ")
        if verdict in VERDICTS and access.sees(domain):
            yield hour, verdict, number


def _summary(found: Sequence[QueuedMessage]) -> Answer:
    """Return number and time of the oldest message of a queue, None without messages, in all and by domain."""
    domains = [[domain, len(own), min(each.since for each in own)] for domain, own in by_domain(found)]
    return {"number": len(found), "oldest": min((each.since for each in found), default=None), "domains": domains[:TOP]}


def _shown(entry: Entry, access: Access) -> dict[str, object] | None:
    recipients = [each for each in entry.recipients if access.sees(each)]
    if not recipients and access.domains is not None:
        return None
    return {**asdict(entry), "recipients": recipients}


def _criteria(config: Config, given: Mapping[str, object]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yield the criteria of a search, each with its alternatives."""
    hashes = key_of(config)
    text = _text(given, "text").strip()
    if "@" in text:
        plain = text.strip("<>")
        names = [*address_terms("from", plain, hashes), *address_terms("to", plain, hashes)]
        yield (*names, ("number", f"<{plain}>"))
    elif text:
        domain = text.lower().removeprefix("*.").rstrip(".")
        found = [("number", text), ("from_domain", domain), ("to_domain", domain), ("name", text.lower())]
        with suppress(ValueError):
            found = [("client", str(ipaddress.ip_address(text)))]
        yield tuple(found)
    verdict = _text(given, "verdict")
    if verdict in ALL_VERDICTS:
        yield (("verdict", verdict),)


def _text(given: Mapping[str, object], name: str) -> str:
    """Return a text, without half surrogates, which neither SQLite nor UTF-8 has."""
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise Refused("invalid", name)
    return value.encode("utf-8", "replace").decode().replace("\0", "")


def _number(given: Mapping[str, object], name: str, default: int, maximum: int) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused("invalid", name)
    return max(1, min(value, maximum))


def _time(given: Mapping[str, object], name: str, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value == default or 0 <= value < 4e9):
        raise Refused("invalid", name)
    return float(value)
