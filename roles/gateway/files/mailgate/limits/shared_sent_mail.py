# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Senders whose mail left by any gateway. Without the shared store, the memory of this gateway decides as before."""

from __future__ import annotations

from collections.abc import Sequence

from mailgate.limits.publisher import Publisher
from mailgate.limits.remote import Remote
from mailgate.limits.scripts import ANY_SENT, KEEP_SENT, PREFIX
from mailgate.limits.sent_mail import DAY, key_of
from mailgate.limits.store import StoreError
from mailgate.smtp.address import Mailbox


class SharedSentMail:
    """Senders of all gateways.

    Args:
        remote: The shared store.
        days: How long a sender is remembered.
    """

    def __init__(self, remote: Remote, days: int) -> None:
        self._remote = remote
        self._days = days
        self.publisher = Publisher(remote)

    def publish(self, sender: Mailbox) -> None:
        """Tell the others a sender, in the background; one that is dropped is in the memory of this gateway only."""
        self.publisher.publish(KEEP_SENT, _key(sender), [self._days * DAY])

    async def has_any(self, recipients: Sequence[Mailbox]) -> bool:
        """Return whether one of these has sent mail by any gateway, as far as the store answers."""
        try:
            found = await self._remote.run(ANY_SENT, [_key(each) for each in recipients], [])
        except StoreError:
            return False
        if found not in {0, 1}:
            self._remote.refuse("sent mail: not a valid answer")
        return bool(found == 1)


def _key(mailbox: Mailbox) -> str:
    return f"{PREFIX}sent:{key_of(mailbox).hex()}"
