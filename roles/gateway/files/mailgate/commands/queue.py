# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate queue`: what waits in the gateway's queue, for whom, since when and why."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

from mailgate.commands.event_lines import clean
from mailgate.commands.mail_queue import QueuedMessage, QueueUnreadableError, retry, waiting
from mailgate.config import LANGUAGES
from mailgate.config_file import load_config
from mailgate.smtp.address import is_domain
from mailgate.translation import N_, Translator, translator

_EMPTY = N_("The queue is empty.")
_TOTAL = N_("{number} messages wait, the oldest since {since}.")
_DOMAIN = N_("{domain}: {number} messages, the oldest since {since}")
_NO_REASON = N_("not tried yet")
_ACTIVE = N_("sendmail is working on it")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--domain", type=_domain, help="only mail for this domain and the names below it")
    parser.add_argument("--retry", action="store_true", help="have sendmail try the mail now; with --domain only its")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--language", choices=LANGUAGES, help="language (default: the language setting)")
    parser.set_defaults(run=run)


def _domain(text: str) -> str:
    domain = text.lower().strip("@").rstrip(".")
    if not is_domain(domain):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid domain")
    return domain


def run(options: argparse.Namespace) -> int:
    """Print the queue, after having sendmail try it if that is asked for."""
    config = load_config(options.config)
    try:
        if options.retry:
            sys.stdout.write(retry(options.domain))
        found = waiting()
    except QueueUnreadableError as error:
        print(f"mailgate: {error}", file=sys.stderr)
        return 1
    if options.domain:
        found = [each for each in found if any(is_within(name, options.domain) for name in each.domains)]
    if options.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for line in lines(found, translator(options.language or config.language)):
            print(line)
    return 0


def is_within(name: str, domain: str) -> bool:
    """Return whether a name is a domain or below it."""
    return name == domain or name.endswith(f".{domain}")


def lines(found: Sequence[QueuedMessage], translate: Translator) -> Iterator[str]:
    """Yield the list, by domain, the domain with most messages first."""
    if not found:
        yield translate(_EMPTY)
        return
    yield translate(_TOTAL).format(number=len(found), since=_when(min(each.since for each in found)))
    for domain, own in by_domain(found):
        yield ""
        since = _when(min(each.since for each in own))
        yield translate(_DOMAIN).format(domain=clean(domain), number=len(own), since=since)
        for each in sorted(own, key=lambda message: message.since):
            recipients = ", ".join(f"<{clean(name)}>" for name in each.recipients if name.lower().endswith(domain))
            yield f"  {each.id}  {_when(each.since)}  <{clean(each.sender)}> -> {recipients}"
            reason = translate(_ACTIVE) if each.active else clean(each.reason) or translate(_NO_REASON)
            yield f"    {reason}"


def by_domain(found: Iterable[QueuedMessage]) -> list[tuple[str, list[QueuedMessage]]]:
    """Return the messages of each domain, the domain with most messages first; `-` without recipients."""
    domains: dict[str, list[QueuedMessage]] = {}
    for each in found:
        for domain in each.domains or ["-"]:
            domains.setdefault(domain, []).append(each)
    return sorted(domains.items(), key=lambda item: (-len(item[1]), item[0]))


def _when(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds).astimezone()
    return moment.strftime("%H:%M" if time.time() - seconds < 12 * 3600 else "%Y-%m-%d %H:%M")
