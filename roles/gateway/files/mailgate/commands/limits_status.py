# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mailgate status` says of limits on clients: bans, rates, greylist, alarms, and the store that they need."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator

from mailgate.commands.phrases import Phrase, joined, phrase, quoted
from mailgate.commands.recent_events import recent_counts
from mailgate.config import Config
from mailgate.limit_settings import SharedState
from mailgate.limits.clients import BAN_REFUSED, BANNED, RATE_EXCEEDED, RELAY_ALARM, SHARED_FAILED, STORE_FAILED
from mailgate.limits.local_store import stored_bans, stored_senders
from mailgate.limits.remote import Remote
from mailgate.limits.sent_mail import DAY, UNSENT_LOGGED, UNSENT_REFUSED, stored_times
from mailgate.limits.store import StoreError
from mailgate.translation import N_

HOURS = 24
FAILURE_MINUTES = 10


def limit_checks(config: Config) -> Iterator[tuple[str, bool, Phrase]]:
    """Yield name, result and details of each check."""
    counts = recent_counts(config, HOURS * 3600)
    try:
        bans = len(stored_bans(config.state_dir, time.time()))
        waiting, passed = stored_senders(config.state_dir)
    except sqlite3.Error as error:
        reason = quoted(f"{config.state_dir}: {error}")
        yield "bans and greylist", False, joined([reason, phrase(N_("the workers use their memory"))])
    else:
        text = N_("{number} now; in {hours} hours {banned} clients banned, {refused} connections refused")
        found = {"banned": counts.get(BANNED, 0), "refused": counts.get(BAN_REFUSED, 0)}
        yield "bans", True, phrase(text, number=bans, hours=HOURS, **found)
        if waiting or passed:
            text = N_("{waiting} senders wait, {passed} have waited")
            yield "greylist", True, phrase(text, waiting=waiting, passed=passed)
    recent = recent_counts(config, FAILURE_MINUTES * 60)
    failures = recent.get(STORE_FAILED, 0)
    if failures:
        text = N_(
            "failed {number} times in {minutes} minutes; the workers use their memory (see limits_store_failed in the"
            " journal)"
        )
        yield "store of limits", False, phrase(text, number=failures, minutes=FAILURE_MINUTES)
    if config.shared_state.server:
        yield "shared store", *asyncio.run(shared_store(config.shared_state, recent.get(SHARED_FAILED, 0)))
    if exceeded := counts.get(RATE_EXCEEDED, 0):
        yield "rates", True, phrase(N_("exceeded {number} times in {hours} hours"), number=exceeded, hours=HOURS)
    if config.bounces.unsent != "deliver":
        yield _sent_mail(config, counts)
    alarms = sorted(event.removeprefix(RELAY_ALARM) for event in counts if event.startswith(RELAY_ALARM))
    if alarms:
        # The gateway itself works.
        text = N_("alarm: more recipients than usual in {hours} hours from {hosts}")
        yield "relaying hosts", True, phrase(text, hours=HOURS, hosts=", ".join(alarms))


async def shared_store(settings: SharedState, failures: int) -> tuple[bool, Phrase]:
    """Return whether the shared store answers now and did recently, and the details."""
    reasons: list[str] = []
    remote = Remote(settings, reasons.append)
    own = phrase(N_("the gateway uses its own memory"))
    try:
        if not await remote.probe():
            return False, joined([reasons[-1], own])
        began = time.monotonic()
        await remote.call("PING")
        milliseconds = f"{(time.monotonic() - began) * 1000:.1f}"
        detail = phrase(N_("{server}: answers in {milliseconds} ms"), server=settings.server, milliseconds=milliseconds)
    except StoreError as error:
        return False, joined([str(error), own])
    finally:
        await remote.close()
    if failures:
        text = N_("{answers}, but failed {number} times in {minutes} minutes (see shared_state_failed in the journal)")
        return False, phrase(text, answers=detail, number=failures, minutes=FAILURE_MINUTES)
    return True, detail


def _sent_mail(config: Config, counts: dict[str, int]) -> tuple[str, bool, Phrase]:
    name = "memory of sent mail"
    try:
        stored = stored_times(config.state_dir)
    except sqlite3.Error as error:
        return name, False, joined([f"{config.state_dir}: {error}", phrase(N_("no bounce is refused"))])
    number, began = stored or (0, time.time())
    left = began + config.bounces.days * DAY - time.time()
    details = [phrase(N_("{number} senders"), number=number)]
    if config.bounces.unsent == "refuse" and left > 0:
        details.append(phrase(N_("refuses bounces in {days} days"), days=int(left // DAY) + 1))
    text = N_("bounces of mail that was not sent in {hours} hours: {refused} refused, {delivered} delivered")
    found = {"refused": counts.get(UNSENT_REFUSED, 0), "delivered": counts.get(UNSENT_LOGGED, 0)}
    return name, True, joined([*details, phrase(text, hours=HOURS, **found)])
