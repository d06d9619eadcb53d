# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The rules in the output of `nft -j list ruleset`, evaluated for a packet. Pure, no I/O.

The form is in libnftables-json(5). What is not understood does not match for certain, so the verdict is open.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .walk import (
    NO,
    UNKNOWN,
    YES,
    Action,
    Base,
    Match,
    Packet,
    Rule,
    Tri,
    certain,
    either,
    interface_match,
    some,
    source_port_match,
)

_HOOKS = {"ingress": 0, "prerouting": 1, "forward": 2, "postrouting": 4}
_LOCAL_HOOKS = {"ingress": 0, "prerouting": 1, "input": 2}
_FAMILIES = {4: ("ip", "inet", "netdev"), 6: ("ip6", "inet", "netdev")}
_VERDICTS = {
    "accept": Action.ACCEPT,
    "drop": Action.BLOCK,
    "reject": Action.BLOCK,
    "return": Action.RETURN,
    "jump": Action.JUMP,
    "goto": Action.GOTO,
}
# Statements that let every packet go on to the next one. `snat` and `masquerade` end a chain after the decision.
_PASSIVE = frozenset({"counter", "log", "mangle", "flow", "dup", "comment", "last", "continue", "ct helper"})
_FLAG_BITS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
_SYN = _FLAG_BITS["syn"]
_OTHERS = frozenset({"ip", "ip6", "udp", "icmp", "icmpv6", "sctp", "dccp", "udplite", "esp", "ah"})

Key = tuple[str, str]
Listing = Mapping[tuple[str, str, str, int], str]


@dataclass
class _Table:
    """One table: its chains' rules, its base chains and the elements of its sets and maps."""

    bases: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    rules: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    sets: dict[str, list[Any]] = dataclasses.field(default_factory=dict)


def bases(document: Mapping[str, Any], packet: Packet, listing: Listing, skip: Collection[Key] = ()) -> list[Base]:
    """Return the chains that the packet passes.

    Args:
        document: The output of `nft -j list ruleset`.
        packet: The packet.
        listing: The text of each rule, see `rule_texts`.
        skip: Tables (family, name) that belong to iptables-nft and are evaluated from its own output.
    """
    found: list[Base] = []
    hooks = _LOCAL_HOOKS if packet.local else _HOOKS
    for (family, name), table in _read(document).items():
        if family not in _FAMILIES[packet.version] or (family, name) in skip:
            continue
        reader = _Reader(family, name, table, packet, listing)
        chains = {chain: list(reader.rules(chain)) for chain in table.rules}
        for base in table.bases:
            devices = base.get("dev", [])
            if base["hook"] not in hooks or (devices and packet.interface not in devices):
                continue
            if base.get("type") == "nat" and base["hook"] == "postrouting":
                continue
            policy = base.get("policy", "accept")
            where = f"nft table {family} {name}"
            found.append(
                Base(
                    (hooks[base["hook"]], int(base.get("prio", 0))),
                    base["name"],
                    chains,
                    Action.BLOCK if policy == "drop" else Action.ACCEPT,
                    f"policy {policy} of chain {base['name']} ({where})",
                )
            )
    if packet.tracked and any(_untracks(rule) for base in found for rules in base.chains.values() for rule in rules):
        return bases(document, replace(packet, tracked=None), listing, skip)
    return found


def _untracks(rule: Rule) -> bool:
    """Return whether a rule may exempt the packet from connection tracking."""
    return rule.target == "notrack" and rule.match.ordinary is not False


def rule_texts(listing: str) -> dict[tuple[str, str, str, int], str]:
    """Return the text of each rule by family, table, chain and handle, from `nft -a list ruleset`."""
    found: dict[tuple[str, str, str, int], str] = {}
    family = table = chain = ""
    for line in listing.splitlines():
        if heading := re.match(r"table (\S+) (\S+) \{", line):
            family, table = heading.groups()
        elif heading := re.match(r"\tchain (\S+) \{", line):
            chain = heading.group(1)
        elif rule := re.match(r"\t\t(.*) # handle (\d+)$", line):
            found[family, table, chain, int(rule.group(2))] = rule.group(1)
    return found


def _read(document: Mapping[str, Any]) -> dict[Key, _Table]:
    """Return the tables by family and name."""
    found: dict[Key, _Table] = {}
    for item in document.get("nftables", []):
        for kind, body in item.items():
            if kind not in ("table", "chain", "rule", "set", "map"):
                continue
            table = found.setdefault((body["family"], body["name" if kind == "table" else "table"]), _Table())
            if kind == "chain":
                table.rules.setdefault(body["name"], [])
                if "hook" in body:
                    table.bases.append(body)
            elif kind == "rule":
                table.rules.setdefault(body["chain"], []).append(body)
            elif kind != "table":
                table.sets[body["name"]] = body.get("elem", [])
    return found


class _Reader:
    """The rules of one table, as evaluated for a packet."""

    def __init__(self, family: str, name: str, table: _Table, packet: Packet, listing: Listing) -> None:
        self._family = family
        self._name = name
        self._table = table
        self._packet = packet
        self._listing = listing

    def rules(self, chain: str) -> Iterator[Rule]:
        """Yield the rules of a chain; a verdict map yields one rule for each of its elements."""
        for rule in self._table.rules[chain]:
            key = (self._family, self._name, chain, int(rule.get("handle", 0)))
            text = self._listing.get(key, f"rule with handle {key[3]}")
            yield from self._rule(
                f"{text} (nft table {self._family} {self._name}, chain {chain})", rule.get("expr", [])
            )

    def _rule(self, text: str, statements: Iterable[Mapping[str, Any]]) -> Iterator[Rule]:
        """Yield the effects of a rule."""
        match = YES
        for statement in statements:
            ((kind, body),) = statement.items()
            if kind == "match":
                match = match & self._match(body)
            elif kind == "vmap":
                for value, verdict in self._elements(body.get("data")):
                    hit = match & self._compare(body.get("key"), value)
                    yield _effect(text, hit, next(iter(verdict), "") if isinstance(verdict, dict) else "", verdict)
            elif kind in _VERDICTS:
                yield _effect(text, match, kind, statement)
                return
            elif kind in ("snat", "masquerade"):
                yield Rule(text, match, Action.ACCEPT)
                return
            elif kind in ("limit", "set", "ct count", "meter", "quota", "xt"):
                match = match & UNKNOWN
            elif kind == "notrack":
                yield Rule(text, match, Action.CONTINUE, kind)
            elif kind not in _PASSIVE:
                yield Rule(text, match, Action.UNKNOWN)
                return

    def _elements(self, data: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the elements of a verdict map with their verdicts."""
        items = self._table.sets.get(data[1:], []) if isinstance(data, str) else data.get("set", [])
        for item in items:
            yield item[0], item[1]

    def _match(self, body: Mapping[str, Any]) -> Match:
        """Return the value of a match statement."""
        operator = body["op"]
        if operator in ("==", "in", "!="):
            match = self._compare(body["left"], body["right"])
            return ~match if operator == "!=" else match
        return UNKNOWN

    def _compare(self, left: Any, right: Any) -> Match:
        """Return whether the packet's field on the left is, or is in, the right."""
        if not isinstance(left, dict) or len(left) != 1:
            return UNKNOWN
        ((kind, body),) = left.items()
        if kind == "meta":
            return self._meta(body.get("key"), right)
        if kind == "payload":
            return self._payload(str(body.get("protocol")), str(body.get("field")), right)
        if kind == "ct":
            return self._connection(body.get("key"), right)
        if kind == "fib":
            # The check of the source address against the routes drops spoofed senders only.
            reverse = "saddr" in body.get("flags", []) and body.get("result") == "oif"
            return some(right is not False) if reverse and isinstance(right, bool) else UNKNOWN
        return _masked_flags(body, right) if kind == "&" else UNKNOWN

    def _meta(self, key: Any, right: Any) -> Match:
        """Return the value of a match of meta data."""
        tests: dict[str, Callable[[Any], Tri]] = {
            "iifname": lambda value: interface_match(_pattern(value), self._packet.interface),
            "iif": lambda value: interface_match(_pattern(value), self._packet.interface),
            "oifname": lambda value: interface_match(_pattern(value), self._packet.out),
            "oif": lambda value: interface_match(_pattern(value), self._packet.out),
            "l4proto": lambda value: value in ("tcp", 6),
            "nfproto": lambda value: value == f"ipv{self._packet.version}",
            "protocol": lambda value: value == ("ip" if self._packet.version == 4 else "ip6"),
            "pkttype": lambda value: value in ("unicast", "host"),
        }
        return certain(self._any(right, tests[key])) if key in tests else UNKNOWN

    def _payload(self, protocol: str, name: str, right: Any) -> Match:
        """Return the value of a match of header fields. A field of another protocol does not match."""
        packet = self._packet
        own = "ip" if packet.version == 4 else "ip6"
        if protocol not in (own, "tcp", "th"):
            return NO if protocol in _OTHERS else UNKNOWN
        tests: dict[str, Callable[[Any], Tri]] = {
            f"{own} saddr": lambda value: _address(value, packet.source),
            f"{own} daddr": lambda value: _address(value, packet.destination),
            "ip protocol": lambda value: value in ("tcp", 6),
            "ip6 nexthdr": lambda value: value in ("tcp", 6),
            "tcp dport": lambda value: _port(value, packet.port),
            "th dport": lambda value: _port(value, packet.port),
            "tcp sport": _source_port,
            "th sport": _source_port,
            # `tcp flags syn` tests the bit; a list tests whether any of its bits is set.
            "tcp flags": lambda value: None if (bits := _bits(value)) is None else bool(bits & _SYN),
        }
        field = f"{protocol} {name}"
        value = self._any(right, tests[field]) if field in tests else None
        return some(value) if name == "saddr" else certain(value)

    def _connection(self, key: Any, right: Any) -> Match:
        """Return the value of a match of the connection tracking state."""
        if key == "direction":
            return certain(self._any(right, lambda value: value == "original"))
        if key != "state" or not self._packet.tracked:
            return UNKNOWN
        return certain(self._any(right, lambda value: value == "new"))

    def _any(self, right: Any, test: Callable[[Any], Tri]) -> Tri:
        """Return whether any element of a value, a list, a set or a named set passes a test."""
        return either(test(value) for value in self._values(right))

    def _values(self, right: Any) -> Iterator[Any]:
        """Yield the elements."""
        if isinstance(right, str) and right.startswith("@"):
            for item in self._table.sets.get(right[1:], [None]):
                yield from self._values(item)
        elif isinstance(right, list):
            for item in right:
                yield from self._values(item)
        elif isinstance(right, dict) and "set" in right:
            yield from self._values(right["set"])
        elif isinstance(right, dict) and "elem" in right:
            yield from self._values(right["elem"].get("val"))
        else:
            yield right


def _effect(text: str, match: Match, kind: str, verdict: Any) -> Rule:
    """Return a rule with a verdict."""
    action = _VERDICTS.get(kind, Action.CONTINUE if kind == "continue" else Action.UNKNOWN)
    target = verdict[kind].get("target", "") if action in (Action.JUMP, Action.GOTO) else ""
    return Rule(text, match, action, target)


def _pattern(value: Any) -> str:
    """Return an interface name as a pattern; nft's wildcard is `*`."""
    text = str(value)
    return f"{text[:-1]}+" if text.endswith("*") else text


def _address(value: Any, address: str) -> Tri:
    """Return whether a value is, or has, an address."""
    one = ipaddress.ip_address(address)
    try:
        if isinstance(value, dict) and "prefix" in value:
            prefix = value["prefix"]
            return one in ipaddress.ip_network(f"{prefix['addr']}/{prefix['len']}", strict=False)
        if isinstance(value, dict) and "range" in value:
            low, high = (ipaddress.ip_address(each) for each in value["range"])
            return int(low) <= int(one) <= int(high)
        return one in ipaddress.ip_network(value, strict=False) if isinstance(value, str) else None
    except ValueError:
        return None


def _port(value: Any, port: int) -> Tri:
    """Return whether a value is, or has, a port."""
    if isinstance(value, dict) and "range" in value:
        return bool(value["range"][0] <= port <= value["range"][1])
    return value == port if isinstance(value, int) else None


def _source_port(value: Any) -> Tri:
    """Return whether a value has the source ports of senders."""
    if isinstance(value, dict) and "range" in value:
        return source_port_match(*value["range"])
    return source_port_match(value, value) if isinstance(value, int) else None


def _masked_flags(operands: Any, right: Any) -> Match:
    """Return the value of a match of the TCP flags under a mask."""
    if not isinstance(operands, list) or operands[0] != {"payload": {"protocol": "tcp", "field": "flags"}}:
        return UNKNOWN
    # Releases of nft print (fin | syn | ack) as nested pairs or as one list.
    masks = [_bits(operand) for operand in operands[1:]]
    value = _bits(right)
    if value is None or len(masks) != 1 or masks[0] is None:
        return UNKNOWN
    return certain(_SYN & masks[0] == value)


def _bits(value: Any) -> int | None:
    """Return a value of TCP flags, written as name, number, list or `|` of them; None if it is not one."""
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return _FLAG_BITS.get(value)
    if isinstance(value, dict) and set(value) == {"|"}:
        value = value["|"]
    if not isinstance(value, list):
        return None
    bits = 0
    for each in value:
        one = _bits(each)
        if one is None:
            return None
        bits |= one
    return bits
