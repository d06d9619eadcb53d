# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate ban list|add|remove`."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from mailgate.commands.actions import Actions
from mailgate.config import Config, ConfigError
from mailgate.config_file import load_config
from mailgate.limits.exemption import exempt_tables
from mailgate.limits.local_store import BAN_SCHEMA, add_bans, remove_bans, stored_bans
from mailgate.limits.store import Ban
from mailgate.network import client_network
from mailgate.rules.entries import pack
from mailgate.rules.lists import load_lists
from mailgate.state import BANS, open_state

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# As at the border.
_MAX_SECONDS = 24 * 86_400
_DURATION = re.compile(r"(\d{1,7})([smhd])")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands to the parser."""
    actions = Actions(parser)
    actions.add_list(_list, "List the bans of this gateway, those that end last first.")
    adding = actions.add("add", _add, "Ban addresses or networks from this gateway, in effect within a second.")
    adding.add_argument("--duration", type=_duration, default="1h", help="number and s, m, h or d (default: 1h)")
    adding.add_argument("--reason", default="", help="reason, for the list of bans")
    removing = actions.add("remove", _remove, "Remove bans, in effect within a second.")
    for sub in (adding, removing):
        sub.add_argument("address", nargs="+", type=_network)


def _duration(text: str) -> int:
    """Return the seconds of a duration."""
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid duration; expected for example 90m, at most 24d")
    return seconds


def _network(text: str) -> str:
    """Return an address or network in the notation of bans; an IPv6 address stands for its /64, as everywhere."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid address or network ADDRESS/BITS (without host bits)"
        ) from None
    if found.prefixlen < found.max_prefixlen:
        return str(found)
    address = found.network_address
    return client_network(str(getattr(address, "ipv4_mapped", None) or address))


def _list(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    bans = stored_bans(config.state_dir, time.time())
    if options.format == "json":
        exempt = _exempt(config)
        print(json.dumps([_as_json(ban, in_effect=not exempt(ban.network)) for ban in bans], indent=2))
    else:
        for ban in bans:
            until = datetime.fromtimestamp(ban.until).astimezone().isoformat(" ", "minutes")
            print(f"{ban.network:39}  until {until}  {ban.reason}".rstrip())
    return 0


def _as_json(ban: Ban, *, in_effect: bool) -> dict[str, object]:
    """Return a ban with the keys of the module border_bans, and whether its client is not exempt."""
    until = datetime.fromtimestamp(ban.until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    left = max(0, ban.until - int(time.time()))
    return {"address": ban.network, **asdict(ban), "until": until, "seconds_left": left, "in_effect": in_effect}


def _add(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    _refuse_exempt(config, options.address)
    now = int(time.time())
    with closing(_open(config.state_dir)) as database:
        add_bans(database, [Ban(each, now + options.duration, now, options.reason) for each in options.address], now,
                 publish=bool(config.shared_state.server))  # fmt: skip
    for network in options.address:
        print(f"{network}: banned")
    return 0


def _exempt(config: Config) -> Callable[[str], bool]:
    """Return the function that tells whether a client, given by address or network, is never banned."""
    tables = exempt_tables(config, {name: each.table for name, each in load_lists(config.lists).items()})
    return lambda network: any(table.contains(pack(network.partition("/")[0])) for table in tables)


def _refuse_exempt(config: Config, networks: Iterable[str]) -> None:
    """Raise ConfigError for clients that are never banned."""
    exempt = _exempt(config)
    problems = [
        f"{network}: not banned: it is a gateway, this host, or in relay_networks, proxy_protocol_from, refusal.exempt"
        " or bans.never"
        for network in networks
        if exempt(network)
    ]
    if problems:
        raise ConfigError(problems)


def _remove(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    state_dir = config.state_dir
    present = {ban.network for ban in stored_bans(state_dir, time.time())}
    with closing(_open(state_dir)) as database:
        remove_bans(database, options.address, publish=bool(config.shared_state.server))
    for network in options.address:
        print(f"{network}: {'ban removed' if network in present else 'not banned'}")
    sys.stdout.flush()
    return 0 if present.issuperset(options.address) else 1


def _open(state_dir: Path) -> sqlite3.Connection:
    """Open the bans; a new file belongs to the service, also if root makes it."""
    path = state_dir / BANS
    new = not path.exists()
    database = open_state(path, BAN_SCHEMA)
    if new and os.geteuid() == 0:
        owner = state_dir.stat()
        for each in state_dir.glob(f"{BANS}*"):
            os.chown(each, owner.st_uid, owner.st_gid)
    return database
