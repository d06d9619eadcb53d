# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mailgate status` says of refusal rules: their matches, lists, and the DNS that they need, now and recently."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from mailgate.commands.recent_events import recent_counts
from mailgate.config import Config
from mailgate.rules.lists import load_list
from mailgate.rules.model import Question
from mailgate.rules.screening import COUNT_DNS_FAILURE, COUNT_MATCH, COUNT_RESULT

MATCH_HOURS = 24
FAILURE_MINUTES = 10
# RFC 5782 section 5: every list of IPv4 addresses has it.
_ALWAYS_LISTED = "127.0.0.2"


def rule_checks(config: Config) -> Iterator[tuple[str, bool, str]]:
    """Yield name, result and details of each check."""
    if config.rules:
        yield "rules", True, _matches(config)
    if config.authentication.evaluate:
        yield "mail authentication", True, _results(config)
    for name, setting in config.lists.items():
        loaded = load_list(name, setting)
        entries = len(loaded.table)
        detail = f"{entries} {'entry' if entries == 1 else 'entries'}"
        yield f"list {name}", not loaded.problems, "; ".join((detail, *loaded.problems[:3]))
    yield from asyncio.run(_dns_lists(config))
    yield "DNS of rules", True, _failures(config)


def _matches(config: Config) -> str:
    counts = recent_counts(config, MATCH_HOURS * 3600)
    names = [f"{rule.name} {counts.get(COUNT_MATCH + rule.name, 0)}" for rule in config.rules]
    return f"{len(names)}; recipients that they applied to in {MATCH_HOURS} hours: {', '.join(names)}"


def _results(config: Config) -> str:
    counts = recent_counts(config, MATCH_HOURS * 3600)
    names = [
        f"{event.removeprefix(COUNT_RESULT).replace('=', ' ')} {number}"
        for event, number in sorted(counts.items())
        if event.startswith(COUNT_RESULT)
    ]
    return f"messages in {MATCH_HOURS} hours: {', '.join(names) or 'none'}"


def _failures(config: Config) -> str:
    counts = recent_counts(config, FAILURE_MINUTES * 60)
    failed = [
        f"{event.removeprefix(COUNT_DNS_FAILURE)} {number}"
        for event, number in sorted(counts.items())
        if event.startswith(COUNT_DNS_FAILURE)
    ]
    return f"look-ups that failed in {FAILURE_MINUTES} minutes: {', '.join(failed) or 'none'}"


async def _dns_lists(config: Config) -> list[tuple[str, bool, str]]:
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
            result = False, reasons.get(zone, "no answer")
        elif not answer.codes:
            result = False, f"does not list {_ALWAYS_LISTED}, so it is not a DNS list or is out of order"
        else:
            result = True, "answers"
        checks.append((f"DNS list {zone}", *result))
    return checks
