# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Addresses that may not connect to port 25 for a while: entries with a timeout in the sets of `_iptables.BANS`.

The kernel ends a ban. The file holds what the loader puts back after a reboot, and is written from the kernel's sets.
Pure: text in, text out; times are seconds, points in time seconds since 1970.
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
# Shorter prefixes are networks of whole providers and more, and most likely a slip.
SHORTEST_PREFIX = {4: 8, 6: 19}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Ban:
    """A banned address or network: seconds left (0: for ever, put in by hand), reason, attempts refused so far."""

    address: str
    left: int
    reason: str = ""
    refused: int = 0

    @property
    def set_name(self) -> str:
        """Name of the set that holds it."""
        return BANS[f"ipv{ipaddress.ip_network(self.address).version}"]

    def add(self) -> str:
        """Input for `ipset -exist restore`, which replaces an entry of that address."""
        told = f' comment "{self.reason}"' if self.reason else ""
        return f"add {self.set_name} {self.address} timeout {self.left} packets {self.refused}{told}"


def seconds(duration: str) -> int | None:
    """Read `90s`, `30m`, `2h` or `1d`; None where it is no duration or no possible one."""
    found = re.fullmatch(r"([0-9]{1,7})([smhd])", duration)
    value = int(found.group(1)) * UNITS[found.group(2)] if found else 0
    return value if 1 <= value <= MAX_SECONDS else None


def problems(addresses: Iterable[str], duration: str) -> list[str]:
    """List everything wrong with the input, each entry naming the option and how to mend it."""
    found = []
    for address in addresses:
        try:
            network = ipaddress.ip_network(address)
        except ValueError as error:
            found.append(f"addresses: {address!r}: {error}; write an address or a network, as 198.19.9.9")
            continue
        if network.prefixlen < SHORTEST_PREFIX[network.version]:
            found.append(f"addresses: {address!r} is too large a network; at most /{SHORTEST_PREFIX[network.version]}")
    if seconds(duration) is None:
        found.append(f"duration: {duration!r}; write NUMBER and s, m, h or d, as 2h; at most 24d")
    return found


def parse(text: str) -> dict[str, Ban]:
    """Read what `ipset save SET` printed; keys are addresses."""
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
    """Bans to add or replace: none for an address whose ban ends at about that time and has that reason.

    About: a tenth of the duration, at most a minute, so that running twice is running once.
    """
    tolerance = min(60, duration // 10)
    wanted = {}
    for address in map(short, addresses):
        old = bans.get(address)
        if not old or not old.left or abs(old.left - duration) > tolerance or old.reason != reason:
            wanted[address] = Ban(address, duration, reason, old.refused if old else 0)
    return wanted


def covering(bans: Mapping[str, Ban], address: str) -> list[str]:
    """List the banned networks that an address, or a network, lies in."""
    inner = ipaddress.ip_network(address)
    outers = [ipaddress.ip_network(ban) for ban in bans]
    return [
        short(str(outer))
        for outer in outers
        if outer.version == inner.version and inner.network_address in outer and outer.prefixlen <= inner.prefixlen
    ]


def record(bans: Iterable[Ban], now: int) -> str:
    """Write the file that the loader reads at boot: END LEFT SET ADDRESS REASON, a ban a line."""
    lines = [
        f"{now + ban.left} {ban.left} {ban.set_name} {ban.address} {ban.reason}".rstrip() + "\n"
        for ban in sorted(bans, key=_order)
        if ban.left
    ]
    return "".join(lines)


def recorded(text: str, now: int) -> dict[str, int]:
    """Read the file: addresses with the end of their bans, of those that have not ended."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split(" ", 4)
        if len(words) >= 4 and words[0].isdecimal() and int(words[0]) > now:
            found[words[3]] = int(words[0])
    return found


def told(bans: Iterable[Ban], now: int) -> list[dict[str, str | int]]:
    """Make the list for people and playbooks, ends as UTC in ISO 8601."""
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
    network = ipaddress.ip_network(ban.address)
    return network.version, int(network.network_address), network.prefixlen
