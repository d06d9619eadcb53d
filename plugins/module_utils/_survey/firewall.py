# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A router as the border role will find it: its firewall, its interfaces, and what its rules do with mail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._iptables import interfaces
from .._iptables.managers import choose, find_managers, has_own_nft_conf
from .._reach.router import Rules, Way
from .reader import Reader


def facts(reader: Reader, outside: Sequence[str], gateways: Sequence[str], wanted: str = "auto") -> dict[str, Any]:
    """Return the facts of a router with these outside interfaces."""
    managers = find_managers(reader.run, reader.root)
    choice = choose(wanted, managers, has_own_nft_conf(reader.run, reader.find, reader.root))
    masters = interfaces.read(reader.at("/sys/class/net"))
    problems, warnings = interfaces.judge(outside, masters, ()) if outside else ([], [])
    return {
        "backend": choice.backend,
        "reason": choice.reason,
        "managers": list(choice.managers),
        "interfaces": [name for name, master in masters.items() if name != "lo" and not master],
        "undecided": not outside,
        "problems": problems,
        "warnings": warnings,
        "default": default_interface(reader.text("/proc/net/route") or ""),
        "forwards": (reader.text("/proc/sys/net/ipv4/ip_forward") or "").strip() == "1",
        "tools": [name for name in ("iptables", "ip6tables", "nft", "ipset") if reader.find(name)],
        "ways": [_way(way) for way in ways_of(reader, outside, gateways)],
    }


def default_interface(routes: str) -> str:
    """Return the interface of the IPv4 default route, from /proc/net/route."""
    rows = [line.split() for line in routes.splitlines()[1:]]
    found = [(int(row[6]), row[0]) for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"]
    return min(found, default=(0, ""))[1]


def ways_of(reader: Reader, outside: Sequence[str], gateways: Sequence[str]) -> list[Way]:
    """Return the fate of mail from outside to the gateways."""
    names = list(interfaces.read(reader.at("/sys/class/net")))
    return Rules(reader.run, reader.find, names).ways(outside, gateways) if outside and gateways else []


def own(reader: Reader, senders: Sequence[str], port: int = 25) -> list[dict[str, Any]]:
    """Return what this host's own rules do with connections from these addresses to its port 25."""
    return [_way(way) for way in Rules(reader.run, reader.find, ()).own(senders, port)]


def _way(way: Way) -> dict[str, Any]:
    return {
        "interface": way.interface,
        "address": way.gateway,
        "fate": way.verdict.fate,
        "rules": list(way.verdict.rules[:3]),
    }
