# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision on a scanned message: pure functions of the score and of what each recipient's domain has chosen.

There is one reply for all recipients: the message is refused or deferred only if this is decided for each of them.
Otherwise it is delivered to all, and those for whom it would be refused get it marked as spam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import MessageVariant
from mailgate.smtp.reply import Reply
from mailgate.spam.fields import fields, with_subject_tag
from mailgate.spam.rspamd import Score
from mailgate.spam.scanner import NotScanned
from mailgate.spam_settings import Rspamd

REFUSED = Reply.of(554, "5.7.1 Spam message rejected")
DEFERRED = Reply.of(451, "4.7.1 Spam scanner asks to try again later")
UNAVAILABLE = Reply.of(451, "4.7.1 Spam scan unavailable; try again later")
OFF = "off"


@dataclass(frozen=True)
class Mark:
    """What the message gets for some recipients: header fields, and whether it is marked as spam."""

    fields: bytes = b""
    spam: bool = False


@dataclass(frozen=True)
class Decision:
    """What is to be done with a message.

    Attributes:
        reply: The reply if it is refused or deferred.
        effect: For the log and counters: `refuse`, `defer`, `tag`, `pass`, `failed` or `too_large`.
        marks: What it gets, by recipient.
        greylisted: Recipients for whom a new sender is deferred first.
    """

    reply: Reply | None
    effect: str
    marks: Mapping[Mailbox, Mark] = field(default_factory=dict)
    greylisted: tuple[Mailbox, ...] = ()

    def applied(
        self, variants: Sequence[MessageVariant], recipients: Sequence[Mailbox], subject_tag: str
    ) -> list[MessageVariant]:
        """Return the variants of the message with its marks."""
        marked = []
        for variant in variants:
            groups: dict[Mark, list[Mailbox]] = {}
            for mailbox in variant.of(recipients):
                groups.setdefault(self.marks[mailbox], []).append(mailbox)
            for mark, group in groups.items():
                own = variant.recipients if len(groups) == 1 else frozenset(group)
                marked.append(MessageVariant(_pieces(variant.pieces, mark, subject_tag), own))
        return marked


def _pieces(pieces: list[bytes], mark: Mark, subject_tag: str) -> list[bytes]:
    if mark.spam and subject_tag:
        # The last piece is the message, those before are fields of the gateway.
        pieces = [*pieces[:-1], with_subject_tag(pieces[-1], subject_tag)]
    return [mark.fields, *pieces] if mark.fields else pieces


def thresholds(settings: Rspamd, choice: str) -> tuple[int, int]:
    """Return the scores from which a message is marked and refused for a domain with this choice; 0 for never."""
    if choice == "strict":
        return settings.strict_tag_score, settings.strict_refuse_score
    return settings.tag_score, settings.refuse_score if choice == "refuse" else 0


def action_of(result: Score | NotScanned, settings: Rspamd, choice: str, *, accepted: bool = False) -> str:
    """Return what is to be done with a message for a recipient: `refuse`, `defer`, `greylist`, `tag` or `pass`.

    Args:
        result: Result of the scan.
        settings: Settings.
        choice: What the recipient's domain has chosen.
        accepted: Whether the message must be accepted: a rule allows it, or it is for the gateway's postmaster.
    """
    if choice == OFF:
        return "pass"
    if isinstance(result, NotScanned):
        return "defer" if result.failed and settings.on_failure == "defer" and not accepted else "pass"
    tag, refuse = thresholds(settings, choice)
    refuses = choice in ("refuse", "strict") and not accepted
    # A module of rspamd has decided; no threshold counts.
    if result.forced or 0 < refuse <= result.score:
        return "refuse" if refuses else "tag"
    if refuses and result.action == "soft reject" and settings.soft_reject == "defer":
        return "defer"
    if refuses and 0 < settings.greylist_score <= result.score:
        return "greylist"
    return "tag" if 0 < tag <= result.score else "pass"


def decide(
    result: Score | NotScanned, settings: Rspamd, choices: Mapping[Mailbox, str], accepted: frozenset[Mailbox]
) -> Decision:
    """Return the decision for all recipients.

    Args:
        result: Result of the scan.
        settings: Settings.
        choices: What the domain of each recipient has chosen.
        accepted: Recipients for whom the message must be accepted.
    """
    actions = {
        mailbox: action_of(result, settings, choice, accepted=mailbox in accepted)
        for mailbox, choice in choices.items()
    }
    if all(action in ("refuse", "defer") for action in actions.values()):
        # Temporarily, if it is for one of them.
        if "defer" in actions.values():
            return Decision(UNAVAILABLE if isinstance(result, NotScanned) else DEFERRED, "defer")
        return Decision(REFUSED, "refuse")
    waiting = not {"pass", "tag", "defer"}.intersection(actions.values())
    greylisted = tuple(mailbox for mailbox, action in actions.items() if waiting and action == "greylist")
    marks = {}
    for mailbox, choice in choices.items():
        if choice == OFF:
            marks[mailbox] = Mark()
        else:
            tag = thresholds(settings, choice)[0]
            spam = isinstance(result, Score) and (actions[mailbox] in ("tag", "refuse") or 0 < tag <= result.score)
            marks[mailbox] = Mark(fields(result, tag, spam=spam), spam)
    if isinstance(result, NotScanned):
        return Decision(None, "failed" if result.failed else "too_large", marks)
    effect = "tag" if any(mark.spam for mark in marks.values()) else "pass"
    return Decision(None, effect, marks, greylisted)
