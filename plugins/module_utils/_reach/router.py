# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The fate of mail from outside to the gateways in the rules of this router."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import iptables, nft
from .walk import Base, Packet, Tri, Verdict, evaluate, ordinary_sender

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
Find = Callable[[str], "str | None"]

_PROGRAMS = {4: "iptables", 6: "ip6tables"}
_FAMILIES = {4: "ip", 6: "ip6"}


@dataclass(frozen=True)
class Way:
    """A way to a gateway: the interface, the address, its fate and the rules that decide it."""

    interface: str
    gateway: str
    verdict: Verdict

    @property
    def problem(self) -> str:
        """The problem of a blocked way, else ""."""
        if self.verdict.fate != "blocked":
            return ""
        return (
            f"its own rules block mail from {self.interface} to the gateway {self.gateway}: {self.verdict.rules[0]}. "
            "Accept new TCP connections to port 25 of the gateways before this rule"
        )

    @property
    def note(self) -> str:
        """The note on a way of unknown fate, else ""."""
        if self.verdict.fate != "unknown":
            return ""
        return (
            f"cannot determine whether its own rules let mail from {self.interface} to {self.gateway} pass: "
            f"it depends on {'; '.join(self.verdict.rules[:3])}. Try to connect to port 25 from outside"
        )


class Rules:
    """The rules of this router, as its programs print them."""

    def __init__(self, run: Run, find: Find, interfaces: Iterable[str]) -> None:
        """Use these functions; `interfaces` are the names of the interfaces of this router."""
        self._run = run
        self._find = find
        self._interfaces = sorted(interfaces)
        self._sets: dict[tuple[str, str], Tri] = {}
        self._unread: list[str] = []

    def ways(self, outside: Sequence[str], gateways: Sequence[str]) -> list[Way]:
        """Return the ways from the interfaces outside (a final `+` matches any suffix) to the gateways."""
        found = []
        addresses = [ipaddress.ip_interface(gateway).ip for gateway in gateways]
        document, listing = self._nft()
        texts = [json.dumps(document)]
        for version in sorted({address.version for address in addresses}):
            saved = self._saved(version)
            sender = ordinary_sender(version, [*texts, *(text for _program, text in saved)])
            for address in addresses:
                if address.version != version:
                    continue
                out, local = self._route(str(address))
                for interface in dict.fromkeys(name for pattern in outside for name in self._names(pattern)):
                    packet = Packet(sender, str(address), interface, out, in_set=self._in_set)
                    if local:
                        verdict = Verdict("unknown", ("the gateway's address is an address of this router",))
                    else:
                        verdict = evaluate(_bases(packet, saved, document, listing))
                    if self._unread and verdict.fate != "blocked":
                        verdict = Verdict("unknown", (*self._unread, *verdict.rules))
                    found.append(Way(interface, str(address), verdict))
        return found

    def own(self, senders: Sequence[str], port: int = 25) -> list[Way]:
        """Return what the rules do with connections from these addresses to a port of this host itself."""
        found = []
        document, listing = self._nft() if senders else ({}, {})
        saved = {version: self._saved(version) for version in {ipaddress.ip_address(each).version for each in senders}}
        for sender in senders:
            version = ipaddress.ip_address(sender).version
            interface, own = self._source(sender)
            packet = Packet(sender, own, interface, in_set=self._in_set, port=port, local=True)
            verdict = evaluate(_bases(packet, saved[version], document, listing), one=True)
            if self._unread and verdict.fate != "blocked":
                verdict = Verdict("unknown", (*self._unread, *verdict.rules))
            found.append(Way(interface, sender, verdict))
        return found

    def _source(self, address: str) -> tuple[str, str]:
        """Return the interface of the route to an address, and the address of this host that it uses."""
        _status, out, _error = self._run([self._find("ip") or "ip", "-o", "route", "get", address])
        device, source = re.search(r"\bdev (\S+)", out), re.search(r"\bsrc (\S+)", out)
        anything = "::" if ":" in address else "0.0.0.0"  # noqa: S104
        return device[1] if device else "+", source[1] if source else anything

    def _names(self, pattern: str) -> list[str]:
        """Return the interfaces that a pattern matches, or the pattern if there is none."""
        if not pattern.endswith("+"):
            return [pattern]
        return [name for name in self._interfaces if name.startswith(pattern[:-1])] or [pattern]

    def _saved(self, version: int) -> list[tuple[str, str]]:
        """Return the output of each variant of iptables-save that has tables, with the name of the program."""
        tool = _PROGRAMS[version]
        programs = [(tool, path)] if (path := self._find(f"{tool}-nft-save")) else []
        # Querying a legacy table creates it.
        names = Path(f"/proc/net/{tool.replace('tables', '_tables')}_names")
        if (path := self._find(f"{tool}-legacy-save")) and names.exists() and names.read_text(encoding="utf-8").strip():
            programs.append((f"{tool}-legacy", path))
        if not programs and (path := self._find(f"{tool}-save")):
            programs.append((tool, path))
        found = []
        for program, path in programs:
            status, out, error = self._run([path])
            if status:
                self._unread.append(f"rules that {program}-save cannot read: {' '.join(error.split())}")
                continue
            found.append((program, out))
            if (closed := iptables.incompatible(out)) and not self._find("nft"):
                self._unread.append(f"tables that only nft, which is not installed, can read: {', '.join(closed)}")
        return found

    def _nft(self) -> tuple[dict[str, Any], dict[tuple[str, str, str, int], str]]:
        """Return the nft rules as JSON and as text; empty without nft."""
        program = self._find("nft")
        if not program:
            return {}, {}
        status, out, error = self._run([program, "-j", "list", "ruleset"])
        if status:
            self._unread.append(f"rules that nft cannot list: {' '.join(error.split())}")
            return {}, {}
        _status, listing, _error = self._run([program, "-a", "list", "ruleset"])
        return json.loads(out), nft.rule_texts(listing)

    def _route(self, address: str) -> tuple[str | None, bool]:
        """Return the interface of the route to an address, None if not known, and whether the address is local."""
        status, out, _error = self._run([self._find("ip") or "ip", "-o", "route", "get", address])
        device = re.search(r"\bdev (\S+)", out)
        if status or not device:
            return None, False
        return device.group(1), out.startswith("local ")

    def _in_set(self, name: str, address: str) -> Tri:
        """Return whether the kernel's set has an address, None if it cannot be asked."""
        program = self._find("ipset")
        if not program:
            return None
        if (name, address) not in self._sets:
            status, _out, error = self._run([program, "test", name, address])
            self._sets[name, address] = True if status == 0 else False if "is NOT in set" in error else None
        return self._sets[name, address]


def _bases(
    packet: Packet,
    saved: Sequence[tuple[str, str]],
    document: dict[str, Any],
    listing: dict[tuple[str, str, str, int], str],
) -> list[Base]:
    """Return all chains that a packet passes."""
    found: list[Base] = []
    skip: set[tuple[str, str]] = set()
    for program, text in saved:
        found += iptables.bases(text, packet, program)
        if not program.endswith("-legacy"):
            readable = set(iptables.tables(text)) - set(iptables.incompatible(text))
            skip |= {(_FAMILIES[packet.version], table) for table in readable}
    return found + nft.bases(document, packet, listing, skip)
