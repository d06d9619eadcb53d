# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of content that is not plainly clean: a word for each kind, for the campus and for single domains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from mailgate.config import ATTACHMENT_KINDS, Config
from mailgate.scan.clamd import Finding
from mailgate.smtp.address import Mailbox

# From what lets all pass to what lets nothing pass.
_STRICTNESS = ("allow", "deliver", "discard", "strip", "quarantine", "defer", "refuse")


@dataclass(frozen=True)
class ContentPolicy:
    """One word of ACTIONS for each kind of content."""

    infected: str = "strip"
    encrypted: str = "strip"
    over_limits: str = "defer"
    extension: str = "allow"
    double_extension: str = "allow"
    real_type: str = "allow"
    macro: str = "allow"
    encrypted_archive: str = "allow"

    def on(self, finding: Finding) -> str:
        """What becomes of a message of which a scan found this."""
        return "deliver" if finding is Finding.CLEAN else str(getattr(self, finding.value))

    @property
    def minds_attachments(self) -> bool:
        """Whether attachments are looked at apart from viruses."""
        return any(getattr(self, kind) != "allow" for kind in ATTACHMENT_KINDS)


def campus_policy(config: Config) -> ContentPolicy:
    """What becomes of content that is not plainly clean, where domains have not said otherwise."""
    return ContentPolicy(
        infected=config.scan.infected,
        encrypted=config.scan.encrypted,
        over_limits=config.scan.over_limits,
        **{kind: getattr(config.attachments, kind) for kind in ATTACHMENT_KINDS},
    )


def by_policy(
    campus: ContentPolicy, own: Mapping[str, Mapping[str, str]], recipients: Sequence[Mailbox]
) -> dict[ContentPolicy, list[Mailbox]]:
    """The recipients of a message by the policy of their domains.

    `own` holds what single domains (or `*.suffix`, the longest that fits) have said for themselves.
    """
    if not own:
        return {campus: list(recipients)}
    groups: dict[ContentPolicy, list[Mailbox]] = {}
    for mailbox in recipients:
        groups.setdefault(_own(campus, own, mailbox.domain), []).append(mailbox)
    return groups


def strictest(policies: Iterable[ContentPolicy]) -> ContentPolicy:
    """Word by word, the one that lets the least pass: what it lets pass unchanged, each of them does."""
    given = list(policies)
    if len(given) == 1:
        return given[0]
    return ContentPolicy(
        **{item.name: strictest_word(getattr(policy, item.name) for policy in given) for item in fields(ContentPolicy)}
    )


def strictest_word(words: Iterable[str]) -> str:
    """Of several actions, the one that lets the least pass."""
    return max(words, key=_STRICTNESS.index)


def _own(campus: ContentPolicy, own: Mapping[str, Mapping[str, str]], domain: str) -> ContentPolicy:
    name = domain
    words = own.get(name)
    while words is None and "." in name:
        name = name.partition(".")[2]
        words = own.get(f"*.{name}")
    return replace(campus, **words) if words else campus
