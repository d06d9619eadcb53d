# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The port-25 rule of a router that others maintain, in forms that they can load or type in. Pure, no I/O.

The texts are those that the role border_firewall loads, without what only the collection itself maintains: sets of
addresses and bans.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import nft
from .model import (
    FAMILIES,
    INBOUND,
    PARENT,
    Guard,
    Permit,
    comments_by_address,
    of_family,
    permit_comment,
    render,
    short,
)

OUTSIDE = "OUTSIDE"
"""Stands for the external interface, where its name is not known or not one of Linux."""
PORT = "25"
_NAME_BYTES = 15
_NEVER = 2**31  # addresses from which a set replaces single rules


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an access list for connections that arrive from outside; the first that matches decides."""

    order: int
    family: str
    source: str
    destination: str
    port: str
    action: str
    comment: str


def guard_of(border: Mapping[str, Any]) -> Guard:
    """Return the settings from a router's part of the plan."""
    names = [name for name in border["outside_interfaces"] if _is_linux_name(name)]
    return Guard(
        interfaces=tuple(names) or (OUTSIDE,),
        networks=tuple(border["networks"]),
        gateways=tuple(border["gateways"]),
        permits=tuple(
            Permit(each["address"], permit_comment(each["host"], each["reason"], each["owner"], each["until"]))
            for each in border["permits"]
        ),
        set_threshold=_NEVER,
        bans=False,
    )


def _is_linux_name(name: str) -> bool:
    return len(name.encode()) <= _NAME_BYTES and not any(char.isspace() or char in "/@" for char in name)


def entries(guard: Guard) -> list[Entry]:
    """Return the rule as an access list, IPv4 first."""
    found: list[tuple[str, str, str, str]] = []
    for family in FAMILIES:
        gateways = of_family(guard.gateways, family)
        permits = comments_by_address(guard.permits, family, gateways)
        found += [(family, short(each), "permit", "gateway") for each in gateways]
        found += [(family, short(each), "permit", comment) for each, comment in permits.items()]
        found += [(family, each, "deny", "") for each in of_family(guard.networks, family) or ("any",)]
    return [
        Entry(number, family, "any", destination, PORT, action, comment)
        for number, (family, destination, action, comment) in enumerate(found, 1)
    ]


def iptables_text(router: str, guard: Guard, family: str) -> str:
    """Return the input of iptables-restore or ip6tables-restore, with a head that says how it is used."""
    program = "iptables" if family == "ipv4" else "ip6tables"
    table = render(guard, family)
    again = [f"#   {program} -D {PARENT} {jump}" for jump in table.jumps]
    head = [
        f"# Port-25 rule of {router}. Load it with {program}-restore --noflush: other rules stay. Then save all rules.",
        f"# It replaces an earlier chain {INBOUND}. Before it is loaded again, remove the jumps to it:",
        *again,
        *_placeholder(guard),
    ]
    return "\n".join([*head, table.text()])


def nft_text(router: str, guard: Guard) -> str:
    """Return the input of nft, with a head that says how it is used."""
    head = [
        f"# Port-25 rule of {router}. Load it with nft -f: it replaces its own table and nothing else.",
        *_placeholder(guard),
    ]
    return "\n".join([*head, nft.REPLACE + nft.render(guard)])


def _placeholder(guard: Guard) -> list[str]:
    if guard.interfaces != (OUTSIDE,):
        return []
    return [f"# Replace {OUTSIDE} by the name of the external interface; with several, repeat the line that has it."]


def closed(border: Mapping[str, Any], servers: Iterable[tuple[str, Sequence[str]]]) -> list[dict[str, str]]:
    """Return the addresses that external senders must not reach, from the names and addresses of all servers."""
    is_open = {*border["gateways"], *(permit["address"] for permit in border["permits"])}
    networks = [ipaddress.ip_network(network) for network in border["networks"]]
    return [
        {"host": name, "address": address}
        for name, addresses in servers
        for address in addresses
        if address not in is_open and any(ipaddress.ip_address(address) in network for network in networks)
    ]
