# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipients whose domains have chosen differently: they cannot all get what they chose by one reply to the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailgate.config import Config
from mailgate.content.policy import by_policy, campus_policy
from mailgate.smtp.address import Mailbox

if TYPE_CHECKING:
    from mailgate.rules.screening import Screening


def must_separate(config: Config, screening: Screening, first: Mailbox, recipient: Mailbox) -> bool:
    """Return whether two recipients need messages of their own, since one may refuse what the other accepts."""
    return _choices(config, screening, first) != _choices(config, screening, recipient)


def _choices(config: Config, screening: Screening, recipient: Mailbox) -> tuple[object, ...]:
    """Return what may decide on the received message for a recipient."""
    ruleset = screening.rules.ruleset
    return (
        *by_policy(campus_policy(config), config.domains, (recipient,)),
        ruleset.mode(recipient) if ruleset.message_rules else "",
        ruleset.dmarc(recipient) if ruleset.identifier else "",
        config.choice(recipient.domain, "spam", config.rspamd.spam) if config.rspamd.socket else "",
        recipient in screening.for_postmaster,
    )
