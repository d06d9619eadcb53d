# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules decide on, what they ask of DNS, and what they decide."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
        kind: `listed` (an address in a zone), `reverse` (names of an address), `mail` (servers of a domain), `spf` (of
            a sender), a type of records, or for the result that a received message has: `dkim`, `dmarc` or `arc`.
        subject: The address, domain, sender or name.
        zone: Zone of a DNS list.
        client: IP address of the client (`spf`).
        helo: HELO name (`spf`).
    """

    kind: str
    subject: str
    zone: str = ""
    client: str = ""
    helo: str = ""

    @property
    def origin(self) -> str:
        """What fails when it is not answered: a zone, or all questions of a kind."""
        return self.zone or {"reverse": "client names", "mail": "sender domains"}.get(self.kind, "mail authentication")


class Answer(NamedTuple):
    """What DNS says.

    Attributes:
        codes: Addresses in the zone (`listed`).
        names: Names of the address, whether they have that address or not (`reverse`).
        verified: Those that have it.
        servers: `yes`, `none` or `null_mx` (`mail`).
        result: Of SPF, DKIM, DMARC or ARC.
        records: As text (a type of records).
    """

    codes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    servers: str = "yes"
    result: str = "none"
    records: tuple[bytes, ...] = ()


# An answer of None: DNS failed.
Answers = Mapping[Question, Answer | None]


@dataclass(slots=True)
class Facts:
    """What is known of a message.

    Attributes:
        client: IP address.
        helo: HELO or EHLO name.
        sender: Envelope sender.
        recipient: The recipient that is decided on.
        recipients: Number of the message's recipients with this one.
        id: Id of the transaction in events.
        authors: Addresses of each `From` field, once the message has been received.
        traits: How the client has spoken before its turn: `early_talker`, `pipelining`.
    """

    client: str
    helo: str = ""
    sender: Mailbox = NULL
    recipient: Mailbox = NULL
    recipients: int = 1
    id: str | None = None
    authors: Sequence[tuple[Mailbox, ...]] = ()
    traits: Collection[str] = ()
    packed: Packed = field(init=False)

    def __post_init__(self) -> None:
        self.packed = pack(self.client)

    @property
    def spf(self) -> Question:
        """The question for the result of SPF."""
        return Question("spf", str(self.sender), client=self.client, helo=self.helo)


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
        greylist: Whether a sender that is new to the recipient is deferred, if it is not refused or allowed.
    """

    action: str = ""
    rule: RuleSetting | None = None
    score: int = 0
    matches: list[Match] = field(default_factory=list)
    logged: list[Match] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    dns: bool = False
    greylist: bool = False
    reply: Reply | None = None

    @property
    def first(self) -> str | None:
        """Name of the first rule that applies, or of the one that defers because DNS failed."""
        if self.matches:
            return self.matches[0].rule.name
        return self.rule.name if self.rule else None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores from which a message is tagged, refused or greylisted; 0 for never."""

    tag: int
    refuse: int
    greylist: int = 0
