# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate quarantine list|show|release|delete`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime

from mailgate.client.submit import submit
from mailgate.commands.actions import Actions
from mailgate.config import Config
from mailgate.config_file import load_config
from mailgate.content.quarantine import Entry, Quarantine, QuarantineError


def add(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands to the parser."""
    actions = Actions(parser)
    actions.add_list(_list, "List all messages, oldest first.")
    show = actions.add("show", _show, "Print an original message; it may be infected.")
    release = actions.add(
        "release", _release, "Deliver messages to their recipients without another scan, then delete them."
    )
    release.add_argument("--keep", action="store_true", help="do not delete them")
    release.add_argument("--to", metavar="ADDRESS", action="append", help="deliver to this address instead")
    delete = actions.add("delete", _delete, "Delete messages.")
    show.add_argument("number")
    for sub in (release, delete):
        sub.add_argument("number", nargs="+")


def _open(options: argparse.Namespace) -> tuple[Config, Quarantine]:
    config = load_config(options.config)
    return config, Quarantine(config.state_dir, config.quarantine)


def _list(options: argparse.Namespace) -> int:
    _config, quarantine = _open(options)
    damaged: list[str] = []
    entries = list(quarantine.entries(damaged.append))
    if options.format == "json":
        print(json.dumps([asdict(entry) for entry in entries], indent=2))
    else:
        for entry in entries:
            print(_line(entry))
    for problem in damaged:
        print(f"mailgate: {problem}", file=sys.stderr)
    return 1 if damaged else 0


def _line(entry: Entry) -> str:
    when = datetime.fromtimestamp(entry.time).astimezone().isoformat(" ", "minutes")
    addresses = f"<{entry.sender}> to {', '.join(entry.recipients)}"
    return f"{entry.id}  {when}  {entry.size:>9}  {entry.reason}  {addresses}"


def _show(options: argparse.Namespace) -> int:
    _entry, content = _open(options)[1].read(options.number)
    sys.stdout.buffer.write(content)
    return 0


def _release(options: argparse.Namespace) -> int:
    config, quarantine = _open(options)

    def release(number: str) -> str:
        entry, content = quarantine.read(number)
        recipients = options.to or entry.recipients
        queue = (config.queue.host, config.queue.port)
        submit(content, sender=entry.sender, recipients=recipients, queue=queue, hostname=config.hostname)
        if not options.keep:
            quarantine.delete(number)
        return f"submitted to the queue for {', '.join(recipients)}"

    return _each(options.number, release)


def _delete(options: argparse.Namespace) -> int:
    _config, quarantine = _open(options)

    def delete(number: str) -> str:
        quarantine.delete(number)
        return "deleted"

    return _each(options.number, delete)


def _each(numbers: Sequence[str], work: Callable[[str], str]) -> int:
    """Do something with each message and print the result; return the exit status, 1 if it failed for one of them."""
    status = 0
    for number in numbers:
        try:
            print(f"{number}: {work(number)}")
        except QuarantineError as error:
            print(f"mailgate: {error}", file=sys.stderr)
            status = 1
    return status
