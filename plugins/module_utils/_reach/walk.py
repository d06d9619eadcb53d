# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Evaluate firewall rules for a class of packets, with three-valued logic. Pure, no I/O.

A match is True, False, or None where it cannot be determined. Every match has two values: for an *ordinary* sender,
whose address no rule names and who connects for the first time, and for *every* sender, where None also stands for
"some".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

Tri: TypeAlias = "bool | None"


@dataclass(frozen=True)
class Match:
    """The value of a match for an ordinary sender, and for every sender."""

    ordinary: Tri
    every: Tri

    def __and__(self, other: Match) -> Match:
        """Return whether both match."""
        return Match(both(self.ordinary, other.ordinary), both(self.every, other.every))

    def __invert__(self) -> Match:
        """Return the negated match."""
        return Match(negate(self.ordinary), negate(self.every))


YES, NO, UNKNOWN = Match(True, True), Match(False, False), Match(None, None)


def certain(value: Tri) -> Match:
    """Return a match that does not depend on the sender."""
    return Match(value, value)


def some(ordinary: Tri) -> Match:
    """Return a match that depends on the sender."""
    return Match(ordinary, None)


def both(one: Tri, other: Tri) -> Tri:
    """Return the conjunction."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def negate(value: Tri) -> Tri:
    """Return the negation."""
    return None if value is None else not value


def either(values: Iterable[Tri]) -> Tri:
    """Return the disjunction."""
    found: Tri = False
    for value in values:
        if value:
            return True
        found = None if value is None else found
    return found


def _in_no_set(_name: str, _address: str) -> Tri:
    """Return that the content of a set is not known."""
    return None


@dataclass(frozen=True)
class Packet:
    """The first packet (SYN) of a TCP connection from outside.

    Attributes:
        source: The address of an ordinary sender, see `ordinary_sender`.
        destination: The address of the gateway.
        interface: The interface that it arrives on. A final `+` stands for any suffix.
        out: The interface that it leaves by, None if not known.
        port: The destination port. The source port is any port from 1024.
        tracked: Whether connection tracking sees it, None if not known.
        in_set: Returns whether the ipset of a name has an address, None if not known.
        local: Whether the destination is this host, so that the packet is not forwarded.
    """

    source: str
    destination: str
    interface: str
    out: str | None = None
    port: int = 25
    tracked: Tri = True
    in_set: Callable[[str, str], Tri] = field(default=_in_no_set, compare=False)
    local: bool = False

    @property
    def version(self) -> int:
        """The IP version, 4 or 6."""
        return ipaddress.ip_address(self.destination).version


FLAGS = frozenset({"SYN"})


def interface_match(pattern: str, name: str | None) -> Tri:
    """Return whether a pattern of a rule (a final `+` matches any suffix) matches an interface."""
    if name is None:
        return True if pattern == "+" else None
    prefix = pattern[:-1] if pattern.endswith("+") else None
    if not name.endswith("+"):
        return name == pattern if prefix is None else name.startswith(prefix)
    known = name[:-1]
    if prefix is not None and known.startswith(prefix):
        return True
    return None if (pattern if prefix is None else prefix).startswith(known) else False


def port_match(low: int, high: int, port: int) -> Tri:
    """Return whether a range of ports has a port."""
    return low <= port <= high


def source_port_match(low: int, high: int) -> Tri:
    """Return whether a range has the source ports of senders, which are any from 1024 (RFC 6056)."""
    if low <= 1024 and high >= 65535:
        return True
    return False if high < 1024 else None


class Action(Enum):
    """What a rule does with a packet that it matches."""

    ACCEPT = "accept"
    BLOCK = "block"
    UNKNOWN = "unknown"
    CONTINUE = "continue"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"


@dataclass(frozen=True)
class Rule:
    """A rule: its text for messages, whether it matches, and what it does."""

    text: str
    match: Match
    action: Action
    target: str = ""


@dataclass(frozen=True)
class Base:
    """A chain that the kernel calls, with the chains of its table.

    `order` is the rank of its hook and its priority. `policy` is ACCEPT or BLOCK, and `policy_text` describes it.
    """

    order: tuple[int, int]
    chain: str
    chains: Mapping[str, Sequence[Rule]]
    policy: Action
    policy_text: str


@dataclass(frozen=True)
class Verdict:
    """The fate of a packet: `accepted`, `blocked`, or `unknown`; and the rules that decide it, or leave it open."""

    fate: str
    rules: tuple[str, ...] = ()


def evaluate(bases: Iterable[Base], *, one: bool = False) -> Verdict:
    """Return the fate of a packet that passes these chains.

    It is `blocked` only if the packets of every sender are, and `accepted` if those of an ordinary sender are. With
    `one`, its source is the only sender that counts.
    """
    doubts: dict[str, None] = {}
    certain_so_far = True
    for base in sorted(bases, key=lambda base: base.order):
        every, every_doubts = _fates(base, everyone=True)
        ordinary, ordinary_doubts = _fates(base, everyone=False)
        if set(ordinary if one else every) == {Action.BLOCK} and certain_so_far:
            return Verdict("blocked", (ordinary[Action.BLOCK],))
        if set(ordinary) != {Action.ACCEPT}:
            unclear = [ordinary[Action.UNKNOWN]] if Action.UNKNOWN in ordinary else []
            # A sender that some rule names may pass where an ordinary one is blocked.
            unclear += ordinary_doubts if len(ordinary) > 1 else [*ordinary.values(), *every_doubts]
            doubts.update(dict.fromkeys(unclear))
        # What follows a change of the packet, such as DNAT, sees another packet.
        certain_so_far = certain_so_far and Action.UNKNOWN not in every
    return Verdict("unknown", tuple(doubts)) if doubts else Verdict("accepted")


def _fates(base: Base, *, everyone: bool) -> tuple[dict[Action, str], list[str]]:
    """Return the possible fates in a base chain, each with the rule, and the rules whose match is not known."""
    walk = _Walk(base.chains, everyone=everyone)
    found = dict(walk.chain(base.chain))
    if found.pop(Action.RETURN, None) is not None:
        found.setdefault(base.policy, base.policy_text)
    return found, list(walk.doubts)


class _Walk:
    """One evaluation of the chains of a table."""

    def __init__(self, chains: Mapping[str, Sequence[Rule]], *, everyone: bool) -> None:
        self._chains = chains
        self._everyone = everyone
        self._known: dict[str, dict[Action, str]] = {}
        self.doubts: dict[str, None] = {}

    def chain(self, name: str, callers: tuple[str, ...] = ()) -> dict[Action, str]:
        """Return the possible ends of a chain (ACCEPT, BLOCK, UNKNOWN, RETURN), each with the rule."""
        if name in self._known:
            return self._known[name]
        if name not in self._chains or name in callers:
            return {Action.UNKNOWN: f"chain {name}"}
        found: dict[Action, str] = {}
        for rule in self._chains[name]:
            match = rule.match.every if self._everyone else rule.match.ordinary
            if match is False:
                continue
            ends, goes_on = self._ends(rule, (*callers, name))
            if match is None and ends:
                self.doubts[rule.text] = None
            for action, text in ends.items():
                found.setdefault(action, text)
            if match and not goes_on:
                break
        else:
            found.setdefault(Action.RETURN, "")
        self._known[name] = found
        return found

    def _ends(self, rule: Rule, callers: tuple[str, ...]) -> tuple[dict[Action, str], bool]:
        """Return the possible ends of a rule that matches, and whether the next rule may follow."""
        if rule.action is Action.CONTINUE:
            return {}, True
        if rule.action not in (Action.JUMP, Action.GOTO):
            return {rule.action: rule.text}, False
        ends = dict(self.chain(rule.target, callers))
        if rule.action is Action.GOTO:
            return ends, False
        return ends, ends.pop(Action.RETURN, None) is not None


_CANDIDATES = {
    4: [f"{first}.77.99.13" for first in (5, 23, 46, 62, 81, 91, 109, 133, 151, 176, 193, 203, 212)],
    6: [f"{first:x}:77:99::13" for first in (0x2400, 0x2600, 0x2A00, 0x2C00, 0x2800, 0x2001)],
}


def ordinary_sender(version: int, texts: Iterable[str]) -> str:
    """Return a public address that none of these rule sets names. It is used in the evaluation only."""
    named = set()
    for text in texts:
        for word in set(re.findall(r"[0-9A-Fa-f:.]{3,}(?:/[0-9.]+)?", text)):
            try:
                network = ipaddress.ip_network(word, strict=False)
            except ValueError:
                continue
            if network.prefixlen and network.version == version:
                named.add(network)
    for candidate in _CANDIDATES[version]:
        if not any(ipaddress.ip_address(candidate) in network for network in named):
            return candidate
    return _CANDIDATES[version][0]
