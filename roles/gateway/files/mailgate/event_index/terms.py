# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Terms under which an event is found; pure functions.

A term is a 48-bit hash of a role and a value, as ("to", "alice@eng.univ.example"). Addresses and domains are compared
in lower case. A domain stands for all names below it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice

from mailgate.message import ID_LENGTH
from mailgate.network import network_of

Event = Mapping[str, object]

# Terms of one event; a message to thousands of recipients has more.
MAX_TERMS = 4000
MAX_WORDS = 40
# Events with the decision on a connection, recipient or message; others belong to one of these by their id.
DECISIONS = frozenset(
    {
        "abandoned",
        "command_refused",
        "connection_closed",
        "connection_refused",
        "finding",
        "message",
        "recipient_refused",
        "relay_refused",
        "resent",
    }
)
VERDICTS = ("accepted", "queued", "refused", "deferred", "infected", "abandoned")
ANY = ("any", "")


def term(role: str, value: str) -> int:
    """Return the signed 48-bit hash of a role and a value: SQLite stores it in six bytes, and few values share one."""
    digest = blake2b(f"{role}\0{value}".encode("utf-8", "replace"), digest_size=6).digest()
    return int.from_bytes(digest, "big", signed=True)


def terms_of(event: Event) -> list[int]:
    """Return the terms of an event, without duplicates."""
    return [term(*each) for each in dict.fromkeys(islice(_terms(event), MAX_TERMS))]


def _terms(event: Event) -> Iterator[tuple[str, str]]:
    if "suppressed" in event:
        return
    for field in ("id", "session", "queue_id", "message_id"):
        if number := event.get(field):
            yield "number", str(number)
    number = str(event.get("id", ""))
    if len(number) > ID_LENGTH:
        # A message that is handled differently for several domains has numbers that begin with its own.
        yield "number", number[:ID_LENGTH]
    if event.get("event") not in DECISIONS:
        return
    yield ANY
    if verdict := verdict_of(event):
        yield "verdict", verdict
    if client := event.get("client"):
        yield "client", str(client)
        yield "network", network_of(str(client))
    for role in ("rule", "name"):
        if value := event.get(role):
            yield role, str(value).lower()
    if "sender" in event:
        yield from address_terms("from", str(event["sender"]))
    for word in words(str(event.get("subject", ""))):
        yield "word", word
    for recipient in recipients_of(event):
        yield from address_terms("to", recipient)


def recipients_of(event: Event) -> list[str]:
    """Return the recipients that an event names."""
    recipients = event.get("recipients")
    found = [str(each) for each in recipients] if isinstance(recipients, list) else []
    if recipient := event.get("recipient"):
        found.append(str(recipient))
    return found


def address_terms(role: str, address: str) -> Iterator[tuple[str, str]]:
    """Yield the terms of an address: itself, its domain and the domains above it."""
    lower = address.lower()
    yield role, lower
    domain = lower.rpartition("@")[2]
    while "." in domain:
        yield f"{role}_domain", domain
        domain = domain.partition(".")[2]


def verdict_of(event: Event) -> str:
    """Return one of VERDICTS, empty if the event has none."""
    kind = event.get("event")
    if kind == "finding":
        return "infected" if event.get("finding") == "infected" else ""
    if kind == "abandoned":
        return "abandoned"
    reply = str(event.get("reply", ""))
    if reply.startswith("2"):
        return "queued" if event.get("queued") else "accepted"
    return {"4": "deferred", "5": "refused"}.get(reply[:1], "")


def words(subject: str) -> Iterable[str]:
    """Return the words of a subject; of scripts without spaces between words, each pair of characters."""
    found: dict[str, None] = {}
    for run in re.findall(r"\w+", unicodedata.normalize("NFKC", subject).casefold()):
        if any(ord(character) >= 0x2E80 for character in run):
            pairs = [run[at : at + 2] for at in range(max(1, len(run) - 1))]
            found.update(dict.fromkeys(pairs))
        else:
            found[run] = None
        if len(found) >= MAX_WORDS:
            break
    return list(found)[:MAX_WORDS]
