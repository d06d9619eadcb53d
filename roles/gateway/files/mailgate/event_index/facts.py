# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report counts of events, per hour; pure functions.

A fact is a dimension and a key with a number. Reports add facts up, so they never read the events themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from mailgate.event_index.terms import Event, recipients_of, verdict_of
from mailgate.network import network_of

# Delays are counted in buckets whose bounds grow by this factor: a percentile is exact to 10 %.
_RATIO = 1.1
_MAX_KEY = 300
# Larger numbers are not from the service.
_MAX_NUMBER = 1 << 50

Fact = tuple[str, str, int]

DIMENSIONS = (
    "bytes", "delay", "domain", "domain_delay", "domain_rule", "domain_virus", "event", "finding", "message", "network",
    "network_refused", "recipient", "rule", "virus",
)  # fmt: skip


def facts_of(event: Event) -> Iterator[Fact]:
    """Yield dimension, key and number of each fact of an event."""
    for dimension, key, number in _facts(event):
        # SQLite has no half surrogates.
        yield dimension, key[:_MAX_KEY].encode("utf-8", "replace").decode(), number


def _facts(event: Event) -> Iterator[Fact]:
    kind = str(event.get("event"))
    suppressed = _number(event.get("suppressed"))
    yield "event", kind, int(suppressed or 1)
    if suppressed:
        return
    if kind == "message":
        yield from _message(event)
    elif kind in ("relay_refused", "recipient_refused"):
        yield from _refusal(event)
    elif kind == "finding":
        yield from _finding(event)
    elif kind == "connection_refused":
        yield "network_refused", _network(event), 1


def _message(event: Event) -> Iterator[Fact]:
    verdict = verdict_of(event)
    yield "message", verdict, 1
    if size := _number(event.get("size")):
        yield "bytes", verdict, int(size)
    yield "network", _network(event), 1
    recipients = recipients_of(event)
    domains = _domains(recipients)
    for domain in domains:
        yield "domain", f"{domain} {verdict}", 1
    if verdict in ("accepted", "queued"):
        for recipient in recipients:
            yield "recipient", recipient.lower(), 1
        seconds = _number(event.get("seconds"))
        if seconds is not None:
            delay = bucket(seconds)
            yield "delay", str(delay), 1
            # Not of queued mail: most of it is for domains outside, and the queue answers at once.
            for domain in domains if verdict == "accepted" else ():
                yield "domain_delay", f"{domain} {delay}", 1


def _finding(event: Event) -> Iterator[Fact]:
    yield "finding", str(event.get("finding")), 1
    if event.get("finding") == "infected":
        name = str(event.get("name"))
        yield "virus", name, 1
        for domain in _domains(recipients_of(event)):
            yield "domain_virus", f"{domain} {name}", 1


def _refusal(event: Event) -> Iterator[Fact]:
    verdict, rule = verdict_of(event), str(event.get("rule") or event.get("event"))
    yield "rule", rule, 1
    yield "network_refused", _network(event), 1
    if event.get("event") == "recipient_refused":
        for domain in _domains(recipients_of(event)):
            yield "domain", f"{domain} {verdict}_recipients", 1
            yield "domain_rule", f"{domain} {rule}", 1


def _domains(recipients: Sequence[str]) -> set[str]:
    """Return the domains of addresses; without spaces, which separate a domain from what follows it in a key."""
    return {each.lower().rpartition("@")[2][:_MAX_KEY].replace(" ", "_") for each in recipients}


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and 0 <= value < _MAX_NUMBER else None


def _network(event: Event) -> str:
    return network_of(str(event.get("client", "")))[:_MAX_KEY]


def bucket(seconds: float) -> int:
    """Return the bucket of a delay."""
    return 0 if seconds <= 0.001 else 1 + int(math.log(seconds / 0.001, _RATIO))


def bucket_seconds(number: int) -> float:
    """Return the upper bound of a bucket in seconds."""
    return float(0.001 * _RATIO**number)


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the delay in seconds below which `share` (0 to 1) of all are, None if there are none."""
    total = sum(buckets.values())
    seen = 0
    for number in sorted(buckets):
        seen += buckets[number]
        if seen >= share * total:
            return bucket_seconds(number)
    return None
