# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate index`, `mailgate search` and `mailgate tail`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from mailgate.commands.event_lines import line_of, wants_colours
from mailgate.commands.event_options import EventReader, add_criteria, add_period, query_of
from mailgate.config import Config, ConfigError
from mailgate.config_file import load_config
from mailgate.event_index.follower import Follower, follow, parse
from mailgate.event_index.query import Query
from mailgate.event_index.store import EventStore, StoreError
from mailgate.event_index.stores import open_writable
from mailgate.event_index.terms import Event
from mailgate.event_spool import read_lines, segments
from mailgate.state import EVENTS

log = logging.getLogger("mailgate")

TAIL_SECONDS = 0.25


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mailgate search`."""
    add_criteria(parser)
    add_period(parser)
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="newest events to show (default: 50)")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    parser.set_defaults(run=search)


def add_tail(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mailgate tail`."""
    add_criteria(parser)
    parser.add_argument("--all", action="store_true", help="every event, not only decisions on mail")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    parser.set_defaults(run=tail)


def add_index(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mailgate index`."""
    parser.add_argument("--once", action="store_true", help="index what is there, and exit")
    parser.set_defaults(run=index)


def search(options: argparse.Namespace) -> int:
    """Print the newest events that meet the criteria, oldest first; exit status 1 if there are none."""
    config = load_config(options.config)
    with closing(EventReader(config)) as reader:
        found = reader.find(query_of(options, config))
    show = _printer(as_json=options.json)
    for event in reversed(found):
        show(event)
    return 0 if found else 1


def tail(options: argparse.Namespace) -> int:
    """Print new events until interrupted."""
    config = load_config(options.config)
    query = query_of(options, config)
    show = _printer(as_json=options.json)
    selected = _selector(query, everything=options.all)
    try:
        for event in new_events(config.state_dir / EVENTS, time.sleep):
            if selected(event):
                show(event)
                sys.stdout.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    return 0


def _selector(query: Query, *, everything: bool) -> Callable[[Event], bool]:
    if everything and not query.terms:
        return lambda _event: True
    return query.matches


def _printer(*, as_json: bool) -> Callable[[Event], None]:
    colours = wants_colours()

    def show(event: Event) -> None:
        print(json.dumps(event) if as_json else line_of(event, colours=colours))

    return show


def new_events(directory: Path, pause: Callable[[float], object]) -> Iterator[Event]:
    """Yield events as they are written, from now on; files may come and go."""
    positions = {each.name: each.size for each in segments(directory)}
    while True:
        for segment in segments(directory):
            position = positions.get(segment.name, 0)
            while position < segment.size:
                try:
                    lines, end = read_lines(directory / segment.name, position)
                except FileNotFoundError:
                    break
                if end == position:
                    break
                position = end
                yield from (event for line in lines if (event := parse(line)) is not None)
            positions[segment.name] = position
        pause(TAIL_SECONDS)


def index(options: argparse.Namespace) -> int:
    """Index events until stopped by TERM or INT."""
    config = load_config(options.config)
    if not config.events.max_bytes:
        raise ConfigError(["events.max_bytes is 0: no events are written to files, so there is nothing to index"])
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _become_owner(config.state_dir)
    follower = Follower(config.state_dir, _writable(config))
    if options.once:
        while follower.step() or follower.sum_up():
            pass
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    follow(follower, stop.wait)
    return 0


def _become_owner(directory: Path) -> None:
    """Run as the owner of the state directory if root runs it: the service must be able to write the files."""
    try:
        owner = directory.stat()
    except OSError as error:
        raise ConfigError([f"state_dir: {directory}: {error.strerror or error}"]) from error
    if os.geteuid() == 0 and owner.st_uid:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _writable(config: Config) -> EventStore:
    try:
        return open_writable(config, log.warning)
    except StoreError as error:
        raise ConfigError([str(error)]) from error
