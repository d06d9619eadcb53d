# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mailgate status` says of the spam scan: whether rspamd answers, and what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from mailgate.commands.phrases import ANSWERS, MESSAGES, NONE, Phrase, joined, phrase
from mailgate.commands.recent_events import recent_counts
from mailgate.config import Config
from mailgate.spam.check import COUNT_SPAM
from mailgate.spam.rspamd import RspamdError, address_of, ping
from mailgate.translation import N_

SECONDS = 5
HOURS = 24


def spam_checks(config: Config) -> Iterator[tuple[str, bool, Phrase]]:
    """Yield name, result and details of each check."""
    text = config.rspamd.socket
    if not text:
        return
    try:
        asyncio.run(_ping(text))
    except RspamdError as error:
        defers = config.rspamd.on_failure == "defer"
        effect = phrase(N_("mail is deferred") if defers else N_("mail continues without a spam score"))
        yield f"rspamd {text}", False, joined([str(error), effect])
    else:
        yield f"rspamd {text}", True, phrase(ANSWERS)
    counts = recent_counts(config, HOURS * 3600)
    found = [
        f"{event.removeprefix(COUNT_SPAM)} {number}"
        for event, number in sorted(counts.items())
        if event.startswith(COUNT_SPAM)
    ]
    yield "spam scan", True, phrase(MESSAGES, hours=HOURS, counts=", ".join(found) or phrase(NONE))


async def _ping(text: str) -> None:
    await ping(address_of(text), asyncio.get_running_loop().time() + SECONDS)
