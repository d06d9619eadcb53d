# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate dkim`: the records of the keys by which outgoing mail is signed, and whether DNS has them."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Sequence

from mailgate.commands.phrases import Phrase, joined, phrase, quoted
from mailgate.commands.recent_events import recent_counts
from mailgate.config import Config
from mailgate.config_file import load_config
from mailgate.signing.record import record_text, zone_line
from mailgate.signing.signer import COUNT_SIGNED, COUNT_UNSIGNED, DomainKey, find_key, keys_of
from mailgate.translation import N_

HOURS = 24


def run(options: argparse.Namespace) -> int:
    """Print the records; exit status 1 if one of them is not in DNS."""
    config = load_config(options.config)
    keys = keys_of(config) if options.zone else checked_keys(config)
    if options.zone:
        for each in keys:
            print(_line(each))
        return 0 if all(each.key for each in keys) else 1
    if options.json:
        print(json.dumps([_as_json(each) for each in keys], indent=2))
    elif not keys:
        print("No domain has a key; see [dkim] in the settings.")
    for each in keys if not options.json else ():
        print(f"{each.domain}: {_state(each, keys)}\n{_line(each)}")
    return 1 if any(each.problem for each in keys if not each.previous) else 0


def _state(each: DomainKey, keys: Sequence[DomainKey]) -> str:
    if each.problem:
        return f"not signed by {each.selector}: {each.problem}"
    return "signed" if find_key(keys, each.domain) is each else f"not signed by {each.selector} any more"


def checked_keys(config: Config) -> list[DomainKey]:
    """Return the keys, with what stands against their use now."""
    keys = keys_of(config)

    async def check() -> None:
        await asyncio.gather(*(each.check(config.refusal) for each in keys))

    asyncio.run(check())
    return keys


def signing_checks(config: Config) -> Iterator[tuple[str, bool, Phrase]]:
    """Yield name, result and details of each check of `mailgate status`."""
    counts = recent_counts(config, HOURS * 3600)
    keys = checked_keys(config)
    for each in (key for key in keys if not key.previous):
        signed, unsigned = (counts.get(event + each.domain, 0) for event in (COUNT_SIGNED, COUNT_UNSIGNED))
        used = find_key(keys, each.domain) or each
        details = [quoted(each.problem or each.name)]
        if used is not each:
            details.append(phrase(N_("signed by {selector} until then"), selector=used.selector))
        text = N_("messages in {hours} hours: {signed} signed, {unsigned} not signed")
        details.append(phrase(text, hours=HOURS, signed=signed, unsigned=unsigned))
        yield f"DKIM of {each.domain}", not used.problem, joined(details)


def _line(each: DomainKey) -> str:
    if each.key is None:
        return f"; {each.domain}: {each.problem}"
    return zone_line(each.domain, each.selector, each.key.public)


def _as_json(each: DomainKey) -> dict[str, object]:
    return {
        "domain": each.domain,
        "selector": each.selector,
        "name": each.name,
        "text": record_text(each.key.public) if each.key else None,
        "previous": each.previous,
        "signed": not each.problem,
        "problem": each.problem,
    }
