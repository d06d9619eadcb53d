# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Temporary bans of addresses from port 25: entries with a timeout in the sets of `model.BANS`.

The kernel ends a ban. A file, written from the kernel's sets, lets the loader restore the bans after a reboot.
Pure, no I/O. Times are in seconds, points in time in seconds since 1970.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from .model import BANS, short
from .text import split_rule

# ipset(8): "The largest possible timeout value is 2147483 (in seconds)."
MAX_SECONDS = 2147483
# Shorter prefixes cover whole providers and are most likely a mistake.
SHORTEST_PREFIX = {4: 8, 6: 19}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Ban:
    """A banned address or network: seconds left (0: no end, added manually), reason, attempts dropped so far."""

    address: str
    left: int
    reason: str = ""
    refused: int = 0

    @property
    def set_name(self) -> str:
        """The name of its set."""
        return BANS[f"ipv{ipaddress.ip_network(self.address).version}"]

    def add(self) -> str:
        """Return input for `ipset -exist restore`, which replaces an entry of the same address."""
        comment = f' comment "{self.reason}"' if self.reason else ""
        return f"add {self.set_name} {self.address} timeout {self.left} packets {self.refused}{comment}"


def seconds(duration: str) -> int | None:
    """Return the seconds of `90s`, `30m`, `2h` or `1d`; None for an invalid or impossible duration."""
    found = re.fullmatch(r"([0-9]{1,7})([smhd])", duration)
    value = int(found.group(1)) * UNITS[found.group(2)] if found else 0
    return value if 1 <= value <= MAX_SECONDS else None


def problems(addresses: Iterable[str], duration: str) -> list[str]:
    """Return all problems of the input, each with its option and its fix."""
    found = []
    for address in addresses:
        try:
            network = ipaddress.ip_network(address)
        except ValueError as error:
            found.append(f"addresses: {address!r}: {error}; use an address or a network, for example 198.19.9.9")
            continue
        shortest = SHORTEST_PREFIX[network.version]
        if network.prefixlen < shortest:
            found.append(f"addresses: {address!r} is too large a network; the shortest prefix is /{shortest}")
    if seconds(duration) is None:
        found.append(f"duration: {duration!r}; use NUMBER and s, m, h or d, for example 2h; at most 24d")
    return found


def parse(text: str) -> dict[str, Ban]:
    """Return the bans by address from the output of `ipset save SET`."""
    bans: dict[str, Ban] = {}
    for line in text.splitlines():
        words = split_rule(line)
        if len(words) >= 3 and words[0] == "add":
            options = dict(zip(words[3::2], words[4::2], strict=False))
            address = short(words[2])
            refused = int(options.get("packets", 0))
            bans[address] = Ban(address, int(options.get("timeout", 0)), options.get("comment", ""), refused)
    return bans


def added(bans: Mapping[str, Ban], addresses: Iterable[str], duration: int, reason: str) -> dict[str, Ban]:
    """Return the bans to add or replace, without those that already have this end and reason.

    The end may differ by a tenth of the duration, at most a minute, so that a second run changes nothing.
    """
    tolerance = min(60, duration // 10)
    wanted = {}
    for address in map(short, addresses):
        old = bans.get(address)
        if not old or not old.left or abs(old.left - duration) > tolerance or old.reason != reason:
            wanted[address] = Ban(address, duration, reason, old.refused if old else 0)
    return wanted


def covering(bans: Mapping[str, Ban], address: str) -> list[str]:
    """Return the banned networks that contain an address or a network."""
    inner = ipaddress.ip_network(address)
    outers = [ipaddress.ip_network(ban) for ban in bans]
    return [
        short(str(outer))
        for outer in outers
        if outer.version == inner.version and inner.network_address in outer and outer.prefixlen <= inner.prefixlen
    ]


def remove_nested(bans: dict[str, Ban], new: Mapping[str, Ban]) -> list[str]:
    """Remove bans of networks that another ban contains, as a set of nftables cannot hold both; return warnings.

    A new ban wins over those that it contains; it is omitted if a ban that contains it exists. Single addresses have a
    set of their own and stay.
    """
    warnings = []
    for address in [address for address in bans if "/" in address]:
        outer = [net for net in covering(bans, address) if net != address]
        if address in bans and outer:
            del bans[address]
            state = "is already banned" if address in new else "is no longer banned separately, but"
            warnings.append(f"{address} {state} by {outer[0]}; its end and reason are those of {outer[0]}")
    return warnings


def record(bans: Iterable[Ban], now: int) -> str:
    """Return the content of the file that the loader reads at boot: END LEFT SET ADDRESS REASON, a ban a line."""
    lines = [
        f"{now + ban.left} {ban.left} {ban.set_name} {ban.address} {ban.reason}".rstrip() + "\n"
        for ban in sorted(bans, key=_order)
        if ban.left
    ]
    return "".join(lines)


def recorded(text: str, now: int) -> dict[str, int]:
    """Return the ends of the recorded bans by address, without expired ones."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split(" ", 4)
        if len(words) >= 4 and words[0].isdecimal() and int(words[0]) > now:
            found[words[3]] = int(words[0])
    return found


def report(bans: Iterable[Ban], now: int) -> list[dict[str, str | int]]:
    """Return the bans as the module reports them, with ends as UTC in ISO 8601."""
    return [
        {
            "address": ban.address,
            "reason": ban.reason,
            "seconds_left": ban.left,
            "until": f"{datetime.fromtimestamp(now + ban.left, UTC):%Y-%m-%dT%H:%M:%SZ}" if ban.left else "",
            "refused": ban.refused,
        }
        for ban in sorted(bans, key=_order)
    ]


def _order(ban: Ban) -> tuple[int, int, int]:
    """Return the sort key of a ban: its address."""
    network = ipaddress.ip_network(ban.address)
    return network.version, int(network.network_address), network.prefixlen
