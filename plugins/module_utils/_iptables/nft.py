# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The port-25 rules of a border router as a table of nftables. Pure, no I/O.

The table has its own base chain, so that other programs' reloads and saved rules do not touch it, and native sets, so
that `nft list ruleset` prints text that nft can load again. Its rules have the meaning of those in `model`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any

from .bans import Ban
from .model import FAMILIES, Guard, Permit, clean_comment, comments_by_address, of_family, server_modes, short

TABLE = "inet mailgate"
FILE = "nft.rules"
# Before the chains of other firewalls (priority 0). They can refuse what passes here, not accept what is refused here.
PRIORITY = "filter - 10"
# NFTNL_UDATA_COMMENT_MAXLEN, with the final NUL.
COMMENT_BYTES = 127
_CONNECTING = "tcp dport 25 tcp flags & (syn | ack) == syn"
_PROTOCOLS = {"ipv4": "ip", "ipv6": "ip6"}
# An interval set cannot hold an address and a network that contains it; a ban of each must be possible.
_BAN_SETS = {"bans": "timeout", "ban_networks": "interval, timeout"}


def render(guard: Guard) -> str:
    """Return the table for settings without problems, as a file for `nft -f` without the bans.

    It is loaded after `REPLACE`, in one transaction.
    """
    inbound: list[str] = []
    outbound: list[str] = []
    sets: list[str] = []
    for family in FAMILIES:
        protocol = _PROTOCOLS[family]
        suffix = "6" if family == "ipv6" else ""
        gateways = of_family(guard.gateways, family)
        networks = of_family(guard.networks, family)
        for name, flags in _BAN_SETS.items() if guard.bans else ():
            sets.append(_set(f"{name}{suffix}", protocol, flags, {}))
            inbound.append(f"{protocol} saddr @{name}{suffix} counter drop")
        sets += [_permit_set(f"permits{suffix}", guard.permits, family, gateways)]
        sets += [_permit_set(f"senders{suffix}", guard.outbound.senders, family, gateways)]
        for rules, side, name, mode, prefix in (
            (inbound, "daddr", "permits", guard.mode, guard.log.prefix),
            (outbound, "saddr", "senders", guard.outbound.mode, guard.outbound.prefix),
        ):
            rules.extend(f'{protocol} {side} {short(each)} counter return comment "gateway"' for each in gateways)
            rules.append(f"{protocol} {side} @{name}{suffix} counter return")
            if name == "permits":
                for address, own in server_modes(guard.servers, family, gateways).items():
                    rules.extend(_reject_rules(guard, f"{protocol} daddr {short(address)}", own, prefix))
            for where in [f"{protocol} {side} {network}" for network in networks] or [f"meta nfproto {family}"]:
                rules.extend(_reject_rules(guard, where, mode, prefix))
    chains = [("inbound", "iifname", inbound)]
    if guard.outbound.mode != "disabled":
        chains.append(("outbound", "oifname", outbound))
    forward = [f"type filter hook forward priority {PRIORITY}; policy accept;"]
    for chain, key, _rules in chains:
        forward += [f'{key} "{_pattern(name)}" {_CONNECTING} counter jump {chain}' for name in guard.interfaces]
    blocks = [
        *sets,
        *(_block(f"chain {name}", rules) for name, _key, rules in chains),
        _block("chain forward", forward),
    ]
    return "\n".join([f"table {TABLE} {{", *blocks, "}", ""])


REPLACE = f"add table {TABLE}\ndelete table {TABLE}\n"
"""Commands that remove the table if there is one: `destroy` needs Linux 6.3."""


def problems(guard: Guard) -> list[str]:
    """Return the problems that only this backend has."""
    prefixes = {"log.prefix": guard.log.prefix, "outbound.prefix": guard.outbound.prefix}
    return [
        f"{option}: {prefix!r}: nft takes $ for a variable; remove it"
        for option, prefix in prefixes.items()
        if "$" in prefix
    ]


def _pattern(interface: str) -> str:
    """Return an interface's name with nft's wildcard."""
    return f"{interface[:-1]}*" if interface.endswith("+") else interface


def _permit_set(name: str, permits: Iterable[Permit], family: str, gateways: Iterable[str]) -> str:
    """Return a set of permits; one that another permit contains is omitted, as an interval set cannot hold both."""
    comments = comments_by_address(permits, family, gateways)
    # Both in the order of addresses, larger networks first.
    networks: list[Any] = sorted(map(ipaddress.ip_network, comments))
    kept: dict[str, str] = {}
    last = None
    for network in networks:
        if last is None or not network.subnet_of(last):
            kept[short(str(network))], last = comments[str(network)], network
    return _set(name, _PROTOCOLS[family], "interval", kept)


def permit_line(permit: Permit) -> str:
    """Return the line of a permit in the file."""
    return f"{short(permit.address)}{_comment(permit.comment)},"


def _set(name: str, protocol: str, flags: str, elements: Mapping[str, str]) -> str:
    """Return a set; each element has a counter."""
    lines = [f"type {'ipv6' if protocol == 'ip6' else 'ipv4'}_addr", f"flags {flags}", "counter"]
    if elements:
        lines.append("elements = {")
        lines += [f"\t{address}{_comment(comment)}," for address, comment in elements.items()]
        lines.append("}")
    return _block(f"set {name}", lines)


def _comment(text: str) -> str:
    """Return a comment of an element or a rule, with the space before it."""
    cut = clean_comment(text).encode()[:COMMENT_BYTES].decode("utf-8", "ignore").strip()
    return f' comment "{cut}"' if cut else ""


def _reject_rules(guard: Guard, where: str, mode: str, prefix: str) -> list[str]:
    """Return rules that log and reject (in observe mode only count) traffic to or from one network."""
    log = guard.log
    rules = []
    if log.target != "none":
        group = f" group {log.group}" if log.target == "nflog" else ""
        limit = f"limit rate {log.limit} burst {log.burst} packets"
        rules.append(f'{where} {limit} log prefix "{prefix}"{group}')
    if mode == "observe":
        return [*rules, f'{where} counter return comment "would be refused"']
    return [*rules, f"{where} counter {'drop' if guard.action == 'drop' else 'reject with tcp reset'}"]


def _block(head: str, lines: Iterable[str]) -> str:
    """Return a named block inside the table."""
    return "\n".join([f"\t{head} {{", *(f"\t\t{line}" for line in lines), "\t}"])


def state(listing: str) -> str:
    """Return what `nft --json list table` printed without what changes by itself: counters, handles and bans.

    Raises:
        ValueError: The listing is not JSON.
    """
    objects = [item for item in json.loads(listing)["nftables"] if "metainfo" not in item]
    return "".join(f"{json.dumps(_steady(item), sort_keys=True, ensure_ascii=False)}\n" for item in objects)


def _steady(value: Any) -> Any:
    """Return a value of the listing without what changes by itself."""
    if isinstance(value, list):
        return [_steady(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("name", "").rstrip("6") in _BAN_SETS:
        value = {key: item for key, item in value.items() if key != "elem"}
    return {key: None if key == "counter" else _steady(item) for key, item in value.items() if key != "handle"}


def is_managed(listing: str) -> bool:
    """Return whether a table of our name, as listed in JSON, is managed and not somebody else's."""
    objects = json.loads(listing)["nftables"]
    names = {item[kind].get("name") for item in objects for kind in ("set", "chain") if kind in item}
    return {"bans", "inbound", "forward"} <= names or not names


def ban_set(ban: Ban) -> str:
    """Return the name of the set that holds a ban."""
    network = ipaddress.ip_network(ban.address)
    name = "bans" if network.prefixlen == network.max_prefixlen else "ban_networks"
    return f"{name}6" if network.version == 6 else name


def add_bans(bans: Iterable[Ban]) -> str:
    """Return commands of nft that add bans. One that exists must be deleted before."""
    return "".join(
        f"add element {TABLE} {ban_set(ban)} {{ {ban.address} counter packets {ban.refused} bytes 0"
        + (f" timeout {ban.left}s" if ban.left else "")
        + f"{_comment(ban.reason)} }}\n"
        for ban in bans
    )


def delete_bans(bans: Iterable[Ban]) -> str:
    """Return commands of nft that delete bans. One that has ended makes the transaction fail."""
    return "".join(f"delete element {TABLE} {ban_set(ban)} {{ {ban.address} }}\n" for ban in bans)


def parse_bans(listing: str) -> dict[str, Ban]:
    """Return the bans by address from the output of `nft --json list table`."""
    bans = {}
    for item in json.loads(listing)["nftables"]:
        if item.get("set", {}).get("name", "").rstrip("6") in _BAN_SETS:
            for element in item["set"].get("elem", []):
                ban = _ban(element["elem"] if isinstance(element, dict) and "elem" in element else {"val": element})
                if ban:
                    bans[ban.address] = ban
    return bans


def _ban(element: Mapping[str, Any]) -> Ban | None:
    """Return the ban of one element; None for a range that is not a network, which only an admin can have added."""
    value = element["val"]
    if isinstance(value, dict) and "prefix" not in value:
        return None
    address = f"{value['prefix']['addr']}/{value['prefix']['len']}" if isinstance(value, dict) else value
    left = max(1, element.get("expires", element["timeout"])) if "timeout" in element else 0
    refused = (element.get("counter") or {}).get("packets", 0)
    return Ban(short(address), left, element.get("comment", ""), refused)
