# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mailgate status` says of limits on clients: bans, rates, greylist, alarms, and the store that they need."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator

from mailgate.commands.recent_events import recent_counts
from mailgate.config import Config
from mailgate.limit_settings import SharedState
from mailgate.limits.clients import BAN_REFUSED, BANNED, RATE_EXCEEDED, RELAY_ALARM, SHARED_FAILED, STORE_FAILED
from mailgate.limits.local_store import stored_bans, stored_senders
from mailgate.limits.remote import Remote
from mailgate.limits.sent_mail import DAY, UNSENT_LOGGED, UNSENT_REFUSED, stored_times
from mailgate.limits.store import StoreError

HOURS = 24
FAILURE_MINUTES = 10


def limit_checks(config: Config) -> Iterator[tuple[str, bool, str]]:
    """Yield name, result and details of each check."""
    counts = recent_counts(config, HOURS * 3600)
    try:
        bans = len(stored_bans(config.state_dir, time.time()))
        waiting, passed = stored_senders(config.state_dir)
    except sqlite3.Error as error:
        yield "bans and greylist", False, f"{config.state_dir}: {error}; the workers use their memory"
    else:
        yield (
            "bans",
            True,
            (
                f"{bans} now; in {HOURS} hours {counts.get(BANNED, 0)} clients banned,"
                f" {counts.get(BAN_REFUSED, 0)} connections refused"
            ),
        )
        if waiting or passed:
            yield "greylist", True, f"{waiting} senders wait, {passed} have waited"
    recent = recent_counts(config, FAILURE_MINUTES * 60)
    failures = recent.get(STORE_FAILED, 0)
    if failures:
        yield (
            "store of limits",
            False,
            (
                f"failed {failures} times in {FAILURE_MINUTES} minutes; the workers use their memory (see"
                " limits_store_failed in the journal)"
            ),
        )
    if config.shared_state.server:
        yield "shared store", *asyncio.run(shared_store(config.shared_state, recent.get(SHARED_FAILED, 0)))
    if exceeded := counts.get(RATE_EXCEEDED, 0):
        yield "rates", True, f"exceeded {exceeded} times in {HOURS} hours"
    if config.bounces.unsent != "deliver":
        yield _sent_mail(config, counts)
    alarms = sorted(event.removeprefix(RELAY_ALARM) for event in counts if event.startswith(RELAY_ALARM))
    if alarms:
        # The gateway itself works.
        yield "relaying hosts", True, f"alarm: more recipients than usual in {HOURS} hours from {', '.join(alarms)}"


async def shared_store(settings: SharedState, failures: int) -> tuple[bool, str]:
    """Return whether the shared store answers now and did recently, and the details."""
    reasons: list[str] = []
    remote = Remote(settings, reasons.append)
    own = "; the gateway uses its own memory"
    try:
        if not await remote.probe():
            return False, f"{reasons[-1]}{own}"
        began = time.monotonic()
        await remote.call("PING")
        detail = f"{settings.server}: answers in {(time.monotonic() - began) * 1000:.1f} ms"
    except StoreError as error:
        return False, f"{error}{own}"
    finally:
        await remote.close()
    if failures:
        return False, (
            f"{detail}, but failed {failures} times in {FAILURE_MINUTES} minutes (see shared_state_failed in the"
            " journal)"
        )
    return True, detail


def _sent_mail(config: Config, counts: dict[str, int]) -> tuple[str, bool, str]:
    name = "memory of sent mail"
    try:
        stored = stored_times(config.state_dir)
    except sqlite3.Error as error:
        return name, False, f"{config.state_dir}: {error}; no bounce is refused"
    number, began = stored or (0, time.time())
    left = began + config.bounces.days * DAY - time.time()
    detail = f"{number} senders"
    if config.bounces.unsent == "refuse" and left > 0:
        detail += f"; refuses bounces in {int(left // DAY) + 1} days"
    detail += f"; bounces of mail that was not sent in {HOURS} hours: {counts.get(UNSENT_REFUSED, 0)} refused"
    return name, True, f"{detail}, {counts.get(UNSENT_LOGGED, 0)} delivered"
