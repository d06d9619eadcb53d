# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one gateway tells the others through the shared store, in the background and at most so much at a time."""

from __future__ import annotations

from mailgate.background import BackgroundTasks
from mailgate.limits.remote import Remote
from mailgate.limits.scripts import Script
from mailgate.limits.store import StoreError

# Facts that wait to be published; others are dropped, so each must be one that gateways can do without.
MAX_PENDING = 200


class Publisher:
    """Publishes facts.

    Args:
        remote: The shared store.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.pending = 0
        self.background = BackgroundTasks()

    def publish(self, script: Script, key: str, arguments: list[object]) -> None:
        """Run a script on one key; a fact is dropped if too many wait, or the store fails."""
        if self.pending < MAX_PENDING and self._remote.available:
            self.pending += 1
            self.background.spawn(self._publish(script, key, arguments))

    async def _publish(self, script: Script, key: str, arguments: list[object]) -> None:
        try:
            await self._remote.run_in_background(script, [key], arguments)
        except StoreError:
            # Counted already.
            pass
        finally:
            self.pending -= 1
