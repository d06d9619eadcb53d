# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Account for each message by its number: from the events of the traffic to one row of figures for each phase."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: From the outside to the campus, between inner servers, from an inner server to the outside.
INWARD, INSIDE, OUTWARD = "inward", "inside", "outward"
FLOWS = (INWARD, INSIDE, OUTWARD)
#: Name of the mailbox of the outside.
OUTSIDE = "outside"

#: Kinds of events.
SENT, TRIED, ARRIVED, BOUNCED = "sent", "tried", "arrived", "bounced"
#: Results of an attempt. LOST_REPLY: the connection broke between the final dot and the reply.
ACCEPTED, REFUSED, DEFERRED, LOST_REPLY = "accepted", "refused", "deferred", "lost reply"


@dataclass(frozen=True)
class Phase:
    """A part of the rehearsal, between two times in seconds since the epoch."""

    name: str
    began: float
    ended: float
    #: Exit statuses of its runs, in order.
    statuses: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """Return its duration."""
        return self.ended - self.began


@dataclass
class Message:
    """One message: when and how it was sent, and where its copies are."""

    number: int
    flow: str
    sender: str
    domain: str
    sent: float
    attempts: list[tuple[float, str, str]] = field(default_factory=list)
    copies: list[tuple[float, str]] = field(default_factory=list)
    #: Text of the notice of a mail server that gave it up.
    bounce: str = ""

    @property
    def accepted(self) -> bool:
        """Whether a server has taken responsibility for it."""
        return any(result == ACCEPTED for _, result, _ in self.attempts)

    @property
    def refusal(self) -> str:
        """Return why it was refused for good; empty if it was not."""
        return next((text for _, result, text in self.attempts if result == REFUSED), self.bounce)

    @property
    def put_off(self) -> bool:
        """Whether the sender had to try again."""
        return any(result in (DEFERRED, LOST_REPLY) for _, result, _ in self.attempts)

    @property
    def reply_lost(self) -> bool:
        """Whether a sender cannot know if a server accepted it."""
        return any(result == LOST_REPLY for _, result, _ in self.attempts)

    @property
    def late(self) -> float | None:
        """Return the seconds until its first copy arrived, None if none did."""
        return max(0.0, min(time for time, _ in self.copies) - self.sent) if self.copies else None


@dataclass(frozen=True)
class Row:
    """Figures of the messages that were sent in one phase."""

    name: str
    seconds: float
    sent: int
    delivered: int
    refused: int
    put_off: int
    lost: int
    doubled: int
    #: Copies in a mailbox of another server than the home of the domain.
    astray: int
    late_p50: float | None
    late_p99: float | None

    @property
    def sound(self) -> bool:
        """Whether no message was refused for good, lost, doubled or delivered to another server."""
        return not (self.refused or self.lost or self.doubled or self.astray)


def read(events: Iterable[Mapping[str, Any]]) -> dict[int, Message]:
    """Return all messages by number. Events may come in any order but that of `sent`, which is a message's first."""
    messages: dict[int, Message] = {}
    for event in events:
        number = int(event["number"])
        if event["kind"] == SENT:
            messages[number] = Message(
                number, str(event["flow"]), str(event["sender"]), str(event["domain"]), float(event["time"])
            )
        elif number not in messages:
            continue  # of an earlier rehearsal on the same twin
        elif event["kind"] == TRIED:
            messages[number].attempts.append((float(event["time"]), str(event["result"]), str(event["text"])))
        elif event["kind"] == ARRIVED:
            messages[number].copies.append((float(event["time"]), str(event["where"])))
        elif event["kind"] == BOUNCED:
            messages[number].bounce = str(event["text"])
    return messages


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below or at which `share` of all values are (nearest rank), None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def is_lost(message: Message) -> bool:
    """Whether it is in no mailbox, and nobody was told: not refused, at the end of the rehearsal."""
    return not message.copies and not message.refusal


def astray(message: Message, homes: Mapping[str, Iterable[str]]) -> int:
    """Return how many copies are at another server than a home of the domain."""
    home = (OUTSIDE,) if message.flow == OUTWARD else tuple(homes.get(message.domain, ()))
    return sum(where not in home for _, where in message.copies)


def row(name: str, seconds: float, messages: Sequence[Message], homes: Mapping[str, Iterable[str]]) -> Row:
    """Return the figures of some messages."""
    late = [message.late for message in messages if message.late is not None]
    return Row(
        name=name,
        seconds=seconds,
        sent=len(messages),
        delivered=sum(bool(message.copies) for message in messages),
        refused=sum(bool(message.refusal) for message in messages),
        put_off=sum(message.put_off for message in messages),
        lost=sum(is_lost(message) for message in messages),
        doubled=sum(max(0, len(message.copies) - 1) for message in messages),
        astray=sum(astray(message, homes) for message in messages),
        late_p50=percentile(late, 0.5),
        late_p99=percentile(late, 0.99),
    )


def rows(
    messages: Mapping[int, Message], phases: Sequence[Phase], homes: Mapping[str, Iterable[str]]
) -> tuple[list[Row], Row]:
    """Return a row for each phase, and the sum. A message belongs to the last phase that began before it was sent."""
    by_phase: list[list[Message]] = [[] for _ in phases]
    for message in messages.values():
        begun = [number for number, phase in enumerate(phases) if phase.began <= message.sent]
        by_phase[begun[-1] if begun else 0].append(message)
    table = [row(phase.name, phase.seconds, part, homes) for phase, part in zip(phases, by_phase, strict=True)]
    seconds = phases[-1].ended - phases[0].began if phases else 0.0
    return table, row("all", seconds, list(messages.values()), homes)


def reached(messages: Mapping[int, Message], domains: Iterable[str]) -> tuple[int, int]:
    """Return of how many domains all mail from outside was delivered, and how many domains there are."""
    delivered: dict[str, bool] = dict.fromkeys(domains, False)
    seen: set[str] = set()
    for message in messages.values():
        if message.flow == INWARD and message.domain in delivered:
            whole = bool(message.copies) and not message.refusal
            delivered[message.domain] = whole and (message.domain not in seen or delivered[message.domain])
            seen.add(message.domain)
    return sum(delivered.values()), len(delivered)


def troubles(messages: Mapping[int, Message], homes: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a line for each message that was refused for good, lost, doubled or delivered to another server."""
    lines = []
    for message in messages.values():
        wrong = []
        if message.refusal:
            wrong.append(f"refused: {message.refusal}")
        if is_lost(message):
            last = message.attempts[-1] if message.attempts else (0.0, "not tried", "")
            wrong.append(f"lost; last attempt: {last[1]} {last[2]}".rstrip())
        if len(message.copies) > 1:
            note = ", the sender did not get the reply to the first copy" if message.reply_lost else ""
            wrong.append(f"{len(message.copies)} copies{note}")
        if astray(message, homes):
            wrong.append(f"in a mailbox of {', '.join(sorted({where for _, where in message.copies}))}")
        if wrong:
            way = f"{message.sender} to {message.domain}"
            lines.append(f"message {message.number} ({message.flow}, {way}): {'; '.join(wrong)}")
    return lines
