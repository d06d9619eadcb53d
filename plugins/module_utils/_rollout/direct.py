# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct connections from outside to inner servers: the counters of our rules, how long they are quiet, and the log."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

_FORMAT = "campus.mailgate direct connections"
_SAVED = re.compile(
    r"^\[(?P<packets>\d+):\d+\] -A MAILGATE -d (?P<address>\S+) .*?"
    r"(?P<what>-j REJECT|-j DROP|--comment \"would be refused\" -j RETURN)"
)
_NFT = re.compile(
    r"^\s*ip6? daddr (?P<address>[0-9a-f.:/]+) counter packets (?P<packets>\d+) bytes \d+ "
    r"(?P<what>drop|reject\b|return comment \"would be refused\")"
)
_FIELD = re.compile(r"\b(SRC|DST)=(\S+)")


@dataclass(frozen=True, slots=True)
class Counter:
    """A rule of a server or a network: whether it refuses, and the number of connection attempts."""

    address: str
    refuses: bool
    packets: int


def counters(text: str) -> list[Counter]:
    """Return the rules that count, from `iptables-save -c` or `nft list table inet mailgate`, in order."""
    found = []
    for line in text.splitlines():
        match = _SAVED.match(line) or _NFT.match(line)
        if match:
            network = ipaddress.ip_network(match["address"], strict=False)
            alone = network.prefixlen == network.max_prefixlen
            name = str(network.network_address if alone else network)
            found.append(Counter(name, "would be refused" not in match["what"], int(match["packets"])))
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the connections to a server: their number, the last observation at which it had changed or the
    counter was new, and the last observation.
    """

    packets: int
    since: int
    at: int


def observe(earlier: Mapping[str, Seen], now: Iterable[Counter], time: int) -> dict[str, Seen]:
    """Return what is known after an observation of counters; those that are gone are forgotten.

    A counter that has another value than before is not quiet. One that was set back (its rules were loaded again) is
    taken for new.
    """
    known = {}
    for each in now:
        before = earlier.get(each.address)
        same = before is not None and before.packets == each.packets
        known[each.address] = Seen(each.packets, before.since if before and same else time, time)
    return known


def as_text(known: Mapping[str, Seen]) -> str:
    """Return the content of the file that `read` reads."""
    return json.dumps({"format": _FORMAT, "servers": {a: asdict(each) for a, each in known.items()}}, indent=1) + "\n"


def read(text: str) -> dict[str, Seen]:
    """Return the content of a file, nothing of any other one: then all counters are new."""
    try:
        data = json.loads(text)
        return {a: Seen(**each) for a, each in data["servers"].items()} if data["format"] == _FORMAT else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def sources(lines: Iterable[str], prefix: str) -> list[dict[str, object]]:
    """Return who connects to which server, from lines of the kernel log that begin with a time in seconds.

    The log has only some of the connections: its rate is limited.
    """
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for line in lines:
        time, _space, rest = line.partition(" ")
        if prefix not in rest:
            continue
        fields = dict(_FIELD.findall(rest))
        if {"SRC", "DST"} <= fields.keys() and time.replace(".", "", 1).isdigit():
            pair = _short(fields["SRC"]), _short(fields["DST"])
            count, last = found.get(pair, (0, 0))
            found[pair] = count + 1, max(last, int(float(time)))
    return [
        {"source": source, "server": server, "logged": count, "last": last}
        for (source, server), (count, last) in sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    ]


def _short(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
