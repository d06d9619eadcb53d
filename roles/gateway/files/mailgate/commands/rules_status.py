# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mailgate status` says of refusal rules: their matches, lists, and the DNS that they need, now and recently."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from mailgate.commands.phrases import ANSWERS, MESSAGES, NONE, Phrase, joined, phrase, quoted
from mailgate.commands.recent_events import recent_counts
from mailgate.config import Config
from mailgate.rules.lists import load_list
from mailgate.rules.model import Question
from mailgate.rules.screening import COUNT_DNS_FAILURE, COUNT_MATCH, COUNT_RESULT
from mailgate.translation import N_

MATCH_HOURS = 24
FAILURE_MINUTES = 10
# RFC 5782 section 5: every list of IPv4 addresses has it.
_ALWAYS_LISTED = "127.0.0.2"


def rule_checks(config: Config) -> Iterator[tuple[str, bool, Phrase]]:
    """Yield name, result and details of each check."""
    if config.rules:
        yield "rules", True, _matches(config)
    if config.authentication.evaluate:
        yield "mail authentication", True, _results(config)
    for name, setting in config.lists.items():
        loaded = load_list(name, setting)
        entries = len(loaded.table)
        detail = phrase(N_("{number} entry") if entries == 1 else N_("{number} entries"), number=entries)
        yield f"list {name}", not loaded.problems, joined((detail, *loaded.problems[:3]))
    yield from asyncio.run(_dns_lists(config))
    yield "DNS of rules", True, _failures(config)


def _matches(config: Config) -> Phrase:
    counts = recent_counts(config, MATCH_HOURS * 3600)
    names = [f"{rule.name} {counts.get(COUNT_MATCH + rule.name, 0)}" for rule in config.rules]
    text = N_("{number}; recipients that they applied to in {hours} hours: {counts}")
    return phrase(text, number=len(names), hours=MATCH_HOURS, counts=", ".join(names))


def _results(config: Config) -> Phrase:
    counts = recent_counts(config, MATCH_HOURS * 3600)
    names = [
        f"{event.removeprefix(COUNT_RESULT).replace('=', ' ')} {number}"
        for event, number in sorted(counts.items())
        if event.startswith(COUNT_RESULT)
    ]
    return phrase(MESSAGES, hours=MATCH_HOURS, counts=", ".join(names) or phrase(NONE))


def _failures(config: Config) -> Phrase:
    counts = recent_counts(config, FAILURE_MINUTES * 60)
    failed = [
        f"{event.removeprefix(COUNT_DNS_FAILURE)} {number}"
        for event, number in sorted(counts.items())
        if event.startswith(COUNT_DNS_FAILURE)
    ]
    text = N_("look-ups that failed in {minutes} minutes: {counts}")
    return phrase(text, minutes=FAILURE_MINUTES, counts=", ".join(failed) or phrase(NONE))


async def _dns_lists(config: Config) -> list[tuple[str, bool, Phrase]]:
    """Ask each DNS list for the address that all lists have."""
    from mailgate.rules.resolver import Resolver  # noqa: PLC0415 (dnspython takes long to import)

    zones = dict.fromkeys(zone for rule in config.rules for zone in (rule.when.dns_list, rule.unless.dns_list) if zone)
    reasons: dict[str, str] = {}
    # All are asked at once, beyond the limits of the service too.
    settings = replace(config.refusal, dns_queries=max(len(zones), 1), dns_cache=2 * len(zones) + 1)
    resolver = Resolver(settings, failed=reasons.__setitem__)
    tasks = {zone: resolver.ask(Question("listed", _ALWAYS_LISTED, zone)) for zone in zones}
    checks = []
    for zone, task in tasks.items():
        answer = await task if task else None
        if answer is None:
            result = False, quoted(reasons[zone]) if zone in reasons else phrase(N_("no answer"))
        elif not answer.codes:
            text = N_("does not list {address}, so it is not a DNS list or is out of order")
            result = False, phrase(text, address=_ALWAYS_LISTED)
        else:
            result = True, phrase(ANSWERS)
        checks.append((f"DNS list {zone}", *result))
    return checks
