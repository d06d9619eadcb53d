# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The rules in the output of iptables-save, evaluated for a packet. Pure, no I/O.

Matches and targets: iptables-extensions(8). What is not understood does not match for certain, so the verdict is open.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .._iptables.text import LONG, split_rule
from .walk import (
    FLAGS,
    NO,
    UNKNOWN,
    YES,
    Action,
    Base,
    Match,
    Packet,
    Rule,
    certain,
    either,
    interface_match,
    port_match,
    some,
    source_port_match,
)

# The chains that a forwarded packet passes, with the ranks of their hooks and the priorities of the tables.
_PASSED = {
    ("raw", "PREROUTING"): (1, -300),
    ("mangle", "PREROUTING"): (1, -150),
    ("nat", "PREROUTING"): (1, -100),
    ("mangle", "FORWARD"): (2, -150),
    ("filter", "FORWARD"): (2, 0),
    ("security", "FORWARD"): (2, 50),
    ("mangle", "POSTROUTING"): (4, -150),
}
# Those of a packet for this host itself.
_RECEIVED = {
    **{place: order for place, order in _PASSED.items() if place[1] == "PREROUTING"},
    ("mangle", "INPUT"): (2, -150),
    ("filter", "INPUT"): (2, 0),
    ("security", "INPUT"): (2, 50),
    ("nat", "INPUT"): (2, 100),
}
_CONTINUE = frozenset({
    "", "AUDIT", "CHECKSUM", "CLASSIFY", "CONNMARK", "CONNSECMARK", "CT", "DSCP", "ECN", "HL", "HMARK", "IDLETIMER",
    "LED", "LOG", "MARK", "NFLOG", "NOTRACK", "RATEEST", "SECMARK", "SET", "TCPMSS", "TCPOPTSTRIP", "TEE", "TOS",
    "TRACE", "TTL", "ULOG",
})  # fmt: skip
_FINAL = {
    "ACCEPT": Action.ACCEPT,
    "DROP": Action.BLOCK,
    "REJECT": Action.BLOCK,
    "TARPIT": Action.BLOCK,
    "RETURN": Action.RETURN,
}
# Their options are evaluated below; a match of another module cannot be determined.
_MODULES = frozenset({
    "addrtype", "comment", "connlimit", "conntrack", "iprange", "multiport", "pkttype", "policy", "recent", "set",
    "state", "tcp",
})  # fmt: skip
# Options with one value that may look like another option.
_TEXTS = frozenset({"--comment", "--string", "--hex-string", "--name", "--hashlimit-name"})

Option = tuple[str, bool, list[str]]


def bases(text: str, packet: Packet, program: str = "iptables") -> list[Base]:
    """Return the chains that the packet passes, from the output of iptables-save.

    Args:
        text: The output, of one table or more.
        packet: The packet.
        program: The name of the program for messages.
    """
    tables: dict[str, dict[str, list[str]]] = {}
    policies: dict[tuple[str, str], str] = {}
    table = ""
    for raw in text.splitlines():
        line = re.sub(r"^\[\d+:\d+\] ", "", raw)
        word, _space, rest = line.partition(" ")
        if line.startswith("*"):
            table = line[1:].strip()
            tables.setdefault(table, {})
        elif line.startswith(":"):
            tables[table].setdefault(word[1:], [])
            policies[table, word[1:]] = rest.split(" ")[0]
        elif word == "-A":
            chain, _space, rule = rest.partition(" ")
            tables[table].setdefault(chain, []).append(rule)
    if _untracks(tables.get("raw", {}), packet):
        packet = replace(packet, tracked=None)
    found = []
    for (name, chain), order in (_RECEIVED if packet.local else _PASSED).items():
        if chain not in tables.get(name, {}):
            continue
        where = f"{program}, table {name}"
        policy = policies.get((name, chain), "ACCEPT")
        rules = {
            each: [_rule(each, rule, packet, tables[name], where) for rule in tables[name][each]]
            for each in tables[name]
        }
        action = Action.BLOCK if policy == "DROP" else Action.ACCEPT
        found.append(Base(order, chain, rules, action, f"policy {policy} of chain {chain} ({where})"))
    return found


def incompatible(text: str) -> list[str]:
    """Return the names of the tables that iptables-save cannot print, because nft rules are in them."""
    return re.findall(r"(?m)^# Table [`']([a-z]+)' is incompatible, use 'nft' tool", text)


def tables(text: str) -> list[str]:
    """Return the names of the tables in the output of iptables-save."""
    return re.findall(r"(?m)^\*([a-z]+)", text)


def _untracks(chains: dict[str, list[str]], packet: Packet) -> bool:
    """Return whether a rule may exempt the packet from connection tracking."""
    suspects = (rule for rules in chains.values() for rule in rules if re.search(r"-j (NOTRACK|CT .*--notrack)", rule))
    return any(_match(_options(split_rule(rule))[0], packet).ordinary is not False for rule in suspects)


def _rule(chain: str, rule: str, packet: Packet, chains: Iterable[str], where: str) -> Rule:
    """Return a rule as evaluated for the packet."""
    options, jump, target = _options(split_rule(rule))
    text = f"-A {chain} {rule} ({where})"
    match = _match(options, packet)
    if target in chains:
        return Rule(text, match, Action.GOTO if jump == "--goto" else Action.JUMP, target)
    if target in _CONTINUE:
        return Rule(text, match, Action.CONTINUE)
    return Rule(text, match, _FINAL.get(target, Action.UNKNOWN))


def _options(words: Sequence[str]) -> tuple[list[Option], str, str]:
    """Split a rule into its matches (option, whether negated, values), `--jump` or `--goto`, and the target."""
    found: list[Option] = []
    negated = False
    place = 0
    while place < len(words):
        word = LONG.get(words[place], words[place])
        place += 1
        if word == "!":
            negated = True
            continue
        if word in ("--jump", "--goto"):
            return found, word, words[place] if place < len(words) else ""
        values: list[str] = []
        if word in _TEXTS:
            values = list(words[place : place + 1])
            place += 1
        else:
            while place < len(words) and words[place] != "!" and not words[place].startswith("-"):
                values.append(words[place])
                place += 1
        found.append((word, negated, values))
        negated = False
    return found, "", ""


def _match(options: Sequence[Option], packet: Packet) -> Match:
    """Return whether all matches of a rule apply to the packet."""
    names = {name for name, _negated, _values in options}
    result = YES
    for name, negated, values in options:
        try:
            match = _OPTIONS[name](values, packet) if name in _OPTIONS else UNKNOWN
        except (ValueError, IndexError):
            match = UNKNOWN
        if name.startswith("--connlimit") and "--connlimit-daddr" in names:
            match = UNKNOWN
        if name in ("--rcheck", "--update", "--remove") and "--rdest" in names:
            match = UNKNOWN
        result = result & (~match if negated else match)
    return result


def _protocol(values: list[str], _packet: Packet) -> Match:
    return certain(values[0].lower() in ("tcp", "6", "all", "0"))


def _module(values: list[str], _packet: Packet) -> Match:
    return (
        YES
        if values[0] in _MODULES
        else certain(False if values[0] in ("udp", "icmp", "icmp6", "sctp", "dccp") else None)
    )


def _source(values: list[str], packet: Packet) -> Match:
    network = ipaddress.ip_network(values[0], strict=False)
    return some(ipaddress.ip_address(packet.source) in network) if network.prefixlen else YES


def _destination(values: list[str], packet: Packet) -> Match:
    return certain(ipaddress.ip_address(packet.destination) in ipaddress.ip_network(values[0], strict=False))


def _range(text: str) -> tuple[int, int]:
    """Return the first and the last port of `25`, `25:30`, `:30` or `25:`."""
    low, colon, high = text.partition(":")
    first = int(low) if low or not colon else 0
    return first, (int(high) if high else 65535) if colon else first


def _ports(values: list[str], packet: Packet) -> Match:
    return certain(either(port_match(*_range(each), packet.port) for each in values[0].split(",")))


def _source_ports(values: list[str], _packet: Packet) -> Match:
    return certain(either(source_port_match(*_range(each)) for each in values[0].split(",")))


def _any_ports(values: list[str], packet: Packet) -> Match:
    return certain(either([_ports(values, packet).every, _source_ports(values, packet).every]))


def _flags(values: list[str], _packet: Packet) -> Match:
    every = {"SYN", "ACK", "FIN", "RST", "URG", "PSH"}
    mask, wanted = (
        every if value == "ALL" else set() if value == "NONE" else set(value.split(","))
        for value in (values[0], values[1])
    )
    return certain(FLAGS & mask == wanted)


def _states(values: list[str], packet: Packet) -> Match:
    states = set(values[0].split(","))
    if not states <= {"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"}:
        return UNKNOWN
    return certain("NEW" in states if packet.tracked else None)


def _set(values: list[str], packet: Packet) -> Match:
    name, side = values[0], values[1]
    if side == "src":
        return some(False if name.startswith("mailgate-bans") else packet.in_set(name, packet.source))
    return certain(packet.in_set(name, packet.destination)) if side == "dst" else UNKNOWN


def _within(text: str, address: str) -> bool:
    """Return whether a range of addresses has an address."""
    low, _dash, high = text.partition("-")
    one = ipaddress.ip_address(address)
    first, last = ipaddress.ip_address(low), ipaddress.ip_address(high or low)
    return first.version == one.version and int(first) <= int(one) <= int(last)


def _address_type(values: list[str], _packet: Packet) -> Match:
    types = set(values[0].split(","))
    return YES if "UNICAST" in types else NO


_OPTIONS: dict[str, Callable[[list[str], Packet], Match]] = {
    "-m": _module,
    "--protocol": _protocol,
    "--source": _source,
    "--destination": _destination,
    "--in-interface": lambda values, packet: certain(interface_match(values[0], packet.interface)),
    "--out-interface": lambda values, packet: certain(interface_match(values[0], packet.out)),
    "-f": lambda _values, _packet: NO,
    "--destination-port": _ports,
    "--destination-ports": _ports,
    "--dports": _ports,
    "--source-port": _source_ports,
    "--source-ports": _source_ports,
    "--sports": _source_ports,
    "--ports": _any_ports,
    "--tcp-flags": _flags,
    "--syn": lambda _values, _packet: YES,
    "--comment": lambda _values, _packet: YES,
    "--ctstate": _states,
    "--state": _states,
    "--ctdir": lambda values, _packet: certain(values[0] == "ORIGINAL"),
    "--match-set": _set,
    "--src-range": lambda values, packet: some(_within(values[0], packet.source)),
    "--dst-range": lambda values, packet: certain(_within(values[0], packet.destination)),
    "--pkt-type": lambda values, _packet: certain(values[0] == "unicast"),
    "--dst-type": _address_type,
    "--src-type": _address_type,
    "--dir": lambda values, _packet: certain(True if values[0] == "in" else None),
    "--pol": lambda values, _packet: certain(values[0] == "none"),
    "--connlimit-above": lambda _values, _packet: some(False),
    "--connlimit-upto": lambda _values, _packet: some(True),
    "--connlimit-mask": lambda _values, _packet: YES,
    "--connlimit-saddr": lambda _values, _packet: YES,
    "--connlimit-daddr": lambda _values, _packet: YES,
    "--set": lambda _values, _packet: YES,
    "--rcheck": lambda _values, _packet: some(False),
    "--update": lambda _values, _packet: some(False),
    "--remove": lambda _values, _packet: some(False),
    "--seconds": lambda _values, _packet: YES,
    "--hitcount": lambda _values, _packet: YES,
    "--name": lambda _values, _packet: YES,
    "--mask": lambda _values, _packet: YES,
    "--rsource": lambda _values, _packet: YES,
    "--rdest": lambda _values, _packet: YES,
    "--rttl": lambda _values, _packet: YES,
    "--reap": lambda _values, _packet: YES,
}
