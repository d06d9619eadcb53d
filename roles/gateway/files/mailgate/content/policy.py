# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content policies: the action for each kind of content that is not clean, for the campus and for single domains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

from mailgate.config import ACTIONS, ATTACHMENT_KINDS, Config, find_domain
from mailgate.scan.clamd import Finding
from mailgate.smtp.address import Mailbox

# From the action that passes everything to the one that passes nothing.
_STRICTNESS = ("allow", "deliver", "discard", "strip", "quarantine", "defer", "refuse")


@dataclass(frozen=True)
class ContentPolicy:
    """One of the actions of config.ACTIONS for each kind of content."""

    infected: str = "strip"
    encrypted: str = "strip"
    unchecked: str = "quarantine"
    over_limits: str = "quarantine"
    extension: str = "allow"
    double_extension: str = "allow"
    real_type: str = "allow"
    macro: str = "allow"
    encrypted_archive: str = "allow"

    def action_for(self, finding: Finding) -> str:
        """Return the action for a message with this finding of a scan."""
        return "deliver" if finding is Finding.CLEAN else str(getattr(self, finding.value))

    @cached_property
    def checks_attachments(self) -> bool:
        """Whether attachments are checked for more than viruses."""
        return any(getattr(self, kind) != "allow" for kind in ATTACHMENT_KINDS)


def campus_policy(config: Config) -> ContentPolicy:
    """Return the policy for domains without a policy of their own."""
    return ContentPolicy(
        infected=config.scan.infected,
        encrypted=config.scan.encrypted,
        unchecked=config.scan.unchecked,
        over_limits=config.scan.over_limits,
        **{kind: getattr(config.attachments, kind) for kind in ATTACHMENT_KINDS},
    )


def by_policy(
    campus: ContentPolicy, own: Mapping[str, Mapping[str, str]], recipients: Sequence[Mailbox]
) -> dict[ContentPolicy, list[Mailbox]]:
    """Group the recipients of a message by the policy of their domains.

    Args:
        campus: Policy of domains that are not in `own`.
        own: Actions that differ from the campus's, by domain or `*.suffix`; the longest match counts.
        recipients: Recipients of the message.
    """
    if not own:
        return {campus: list(recipients)}
    groups: dict[ContentPolicy, list[Mailbox]] = {}
    for mailbox in recipients:
        groups.setdefault(_domain_policy(campus, own, mailbox.domain), []).append(mailbox)
    return groups


def strictest(policies: Iterable[ContentPolicy]) -> ContentPolicy:
    """Return the policy with the strictest action for each kind: what it passes unchanged, all of them pass."""
    given = list(policies)
    if len(given) == 1:
        return given[0]
    return ContentPolicy(
        **{
            item.name: strictest_action(getattr(policy, item.name) for policy in given)
            for item in fields(ContentPolicy)
        }
    )


def strictest_action(actions: Iterable[str]) -> str:
    """Return the action that passes the least."""
    return max(actions, key=_STRICTNESS.index)


def _domain_policy(campus: ContentPolicy, own: Mapping[str, Mapping[str, str]], domain: str) -> ContentPolicy:
    chosen = find_domain(own, domain)
    return replace(campus, **{kind: chosen[kind] for kind in ACTIONS if kind in chosen}) if chosen else campus
