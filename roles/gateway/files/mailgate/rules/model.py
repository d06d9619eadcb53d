# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules decide on, what they ask of DNS, and what they decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mailgate.rule_settings import RuleSetting
from mailgate.rules.entries import Packed, pack
from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply

NULL = Mailbox("", "")


class Question(NamedTuple):
    """A question to DNS.

    Attributes:
        kind: `listed` (an address in a zone), `reverse` (names of an address) or `mail` (servers of a domain).
        subject: The address or domain.
        zone: Zone of a DNS list.
    """

    kind: str
    subject: str
    zone: str = ""

    @property
    def origin(self) -> str:
        """What fails when it is not answered: a zone, or all questions of a kind."""
        return self.zone or {"reverse": "client names", "mail": "sender domains"}[self.kind]


class Answer(NamedTuple):
    """What DNS says.

    Attributes:
        codes: Addresses in the zone (`listed`).
        names: Names of the address, whether they have that address or not (`reverse`).
        verified: Those that have it.
        servers: `yes`, `none` or `null_mx` (`mail`).
    """

    codes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    servers: str = "yes"


# An answer of None: DNS failed.
Answers = Mapping[Question, Answer | None]


@dataclass(slots=True)
class Facts:
    """What is known of a message before its content.

    Attributes:
        client: IP address.
        helo: HELO or EHLO name.
        sender: Envelope sender.
        recipient: The recipient that is decided on.
        recipients: Number of the message's recipients with this one.
        id: Id of the transaction in events.
    """

    client: str
    helo: str = ""
    sender: Mailbox = NULL
    recipient: Mailbox = NULL
    recipients: int = 1
    id: str | None = None
    packed: Packed = field(init=False)

    def __post_init__(self) -> None:
        self.packed = pack(self.client)


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that applies, and the points that it adds."""

    rule: RuleSetting
    points: int = 0


@dataclass(slots=True)
class Verdict:
    """What the rules decide on a recipient.

    Attributes:
        action: `allow` (a rule allows it), `refuse`, `defer`, `tag`, or empty: no rule decides.
        rule: The rule that decides; of a score, the one with most points.
        score: Sum of the points.
        matches: Rules that apply, in order.
        logged: Rules that apply but are `log_only`.
        failed: What DNS did not answer.
        dns: Whether it is deferred because DNS failed.
    """

    action: str = ""
    rule: RuleSetting | None = None
    score: int = 0
    matches: list[Match] = field(default_factory=list)
    logged: list[Match] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    dns: bool = False
    reply: Reply | None = None

    @property
    def first(self) -> str | None:
        """Name of the first rule that applies, or of the one that defers because DNS failed."""
        if self.matches:
            return self.matches[0].rule.name
        return self.rule.name if self.rule else None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores from which a message is tagged or refused; 0 for never."""

    tag: int
    refuse: int
