# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate dkim`: the records of the keys by which outgoing mail is signed, and whether DNS has them."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator

from mailgate.commands.recent_events import recent_counts
from mailgate.config import Config
from mailgate.config_file import load_config
from mailgate.signing.record import record_text, zone_line
from mailgate.signing.signer import COUNT_SIGNED, COUNT_UNSIGNED, DomainKey

HOURS = 24


def run(options: argparse.Namespace) -> int:
    """Print the records; exit status 1 if one of them is not in DNS."""
    config = load_config(options.config)
    keys = load_keys(config) if options.zone else checked_keys(config)
    if options.zone:
        for each in keys:
            print(_line(each))
        return 0 if all(each.key for each in keys) else 1
    if options.json:
        print(json.dumps([_as_json(each) for each in keys], indent=2))
    elif not keys:
        print("No domain has a key; see [dkim] in the settings.")
    for each in keys if not options.json else ():
        print(f"{each.domain}: {f'not signed: {each.problem}' if each.problem else 'signed'}\n{_line(each)}")
    return 1 if any(each.problem for each in keys) else 0


def load_keys(config: Config) -> list[DomainKey]:
    """Return the keys, without having asked DNS."""
    keys = [DomainKey(domain, setting) for domain, setting in config.dkim.items()]
    for each in keys:
        each.load()
    return keys


def checked_keys(config: Config) -> list[DomainKey]:
    """Return the keys, with what stands against their use now."""
    keys = load_keys(config)

    async def check() -> None:
        await asyncio.gather(*(each.check(config.refusal) for each in keys))

    asyncio.run(check())
    return keys


def signing_checks(config: Config) -> Iterator[tuple[str, bool, str]]:
    """Yield name, result and details of each check of `mailgate status`."""
    counts = recent_counts(config, HOURS * 3600)
    for each in checked_keys(config):
        signed, unsigned = (counts.get(event + each.domain, 0) for event in (COUNT_SIGNED, COUNT_UNSIGNED))
        detail = f"{each.problem or each.name}; messages in {HOURS} hours: {signed} signed, {unsigned} not signed"
        yield f"DKIM of {each.domain}", not each.problem, detail


def _line(each: DomainKey) -> str:
    if each.key is None:
        return f"; {each.domain}: {each.problem}"
    return zone_line(each.domain, each.setting.selector, each.key.public)


def _as_json(each: DomainKey) -> dict[str, object]:
    return {
        "domain": each.domain,
        "selector": each.setting.selector,
        "name": each.name,
        "text": record_text(each.key.public) if each.key else None,
        "signed": not each.problem,
        "problem": each.problem,
    }
