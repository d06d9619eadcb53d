# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of networks, names and addresses: their entries, and compact tables that find one among a million.

A table keeps numbers in sorted arrays: about 10 bytes an entry, where a set of strings needs 100. Names are kept as
Python's hash of 64 bits, which has a secret key in each process: nobody can choose a name with the hash of another.
"""

from __future__ import annotations

import re
import socket
from array import array
from bisect import bisect_left
from collections.abc import Iterable

# Parts of a name; more are not looked up.
MAX_LABELS = 32
MAX_PROBLEMS = 20
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LOCAL = re.compile(r"[^\s<>@\x00-\x1f\x7f]+")
_COMMENT = re.compile(r"(?:^|\s)#.*")

EXPECTED = {
    "network": "an address or a network ADDRESS/BITS without host bits",
    "name": "a name or *.suffix",
    "address": "user@domain, user@, a domain or *.suffix",
}
Packed = tuple[bool, int]
"""An IP address: whether it is IPv6, and its number."""


def pack(address: str) -> Packed:
    """Return an IP address as a number; raise ValueError if it is none."""
    try:
        six = ":" in address
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address), "big")
    except (OSError, ValueError):
        raise ValueError(address) from None
    # An IPv4 address in IPv6.
    return (False, number & 0xFFFFFFFF) if six and number >> 32 == 0xFFFF else (six, number)


def parse_network(text: str) -> tuple[bool, int, int]:
    """Return whether a network is IPv6, its number and the length of its prefix; raise ValueError."""
    address, slash, bits = text.partition("/")
    six, number = pack(address)
    size = 128 if six else 32
    if not slash:
        return six, number, size
    length = int(bits) if bits.isascii() and bits.isdigit() else -1
    if not 0 <= length <= size or number & ((1 << (size - length)) - 1):
        raise ValueError(text)
    return six, number, length


def parse_name(text: str) -> str:
    """Return a name or `*.suffix` in lower case, as A-labels; raise ValueError."""
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    name = name.lower().removesuffix(".")
    if not name.isascii():
        # UnicodeError is a ValueError.
        name = name.encode("idna").decode("ascii")
    if len(name) > 255 or not _NAME.fullmatch(name):
        raise ValueError(text)
    return star + name


def parse_address(text: str) -> str:
    """Return `user@domain`, `user@`, a domain or `*.suffix` in lower case; raise ValueError."""
    local, at, domain = text.rpartition("@")
    if not at:
        return parse_name(text)
    if not _LOCAL.fullmatch(local) or domain.startswith("*."):
        raise ValueError(text)
    return f"{local.lower()}@{parse_name(domain) if domain else ''}"


class NetworkTable:
    """Addresses and networks."""

    kind = "network"

    def __init__(self) -> None:
        self._prefixes: dict[tuple[bool, int], array[int] | list[int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._prefixes.values()))

    def add(self, text: str) -> None:
        """Add an entry; raise ValueError."""
        six, number, length = parse_network(text)
        numbers = self._prefixes.get((six, length))
        if numbers is None:
            numbers = self._prefixes[six, length] = [] if six else array("I")
        numbers.append(number)

    def close(self) -> None:
        """Sort the entries; afterwards, they can be found."""
        for (six, length), numbers in self._prefixes.items():
            self._prefixes[six, length] = sorted(numbers) if six else array("I", sorted(numbers))

    def contains(self, address: Packed) -> bool:
        """Return whether an address is listed."""
        six, number = address
        size = 128 if six else 32
        for (other, length), numbers in self._prefixes.items():
            if other == six and _found(numbers, number >> (size - length) << (size - length)):
                return True
        return False


class NameTable:
    """Names and mail addresses, by their hashes."""

    def __init__(self, kind: str = "name") -> None:
        self.kind = kind
        self._parse = parse_name if kind == "name" else parse_address
        self._hashes: array[int] = array("q")

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, text: str) -> None:
        """Add an entry; raise ValueError."""
        self._hashes.append(hash(self._parse(text)))

    def close(self) -> None:
        """Sort the entries; afterwards, they can be found."""
        self._hashes = array("q", sorted(self._hashes))

    def contains(self, name: str) -> bool:
        """Return whether a name, in lower case, or a suffix of it is listed."""
        hashes = self._hashes
        if not hashes:
            return False
        if _found(hashes, hash(name)):
            return True
        for _label in range(MAX_LABELS):
            _first, dot, name = name.partition(".")
            if not dot:
                return False
            if _found(hashes, hash(f"*.{name}")):
                return True
        return False

    def contains_address(self, local: str, domain: str) -> bool:
        """Return whether a mail address, in lower case, its user or its domain is listed."""
        hashes = self._hashes
        return _found(hashes, hash(f"{local}@{domain}")) or _found(hashes, hash(f"{local}@")) or self.contains(domain)


Table = NetworkTable | NameTable


def new_table(kind: str) -> Table:
    """Return an empty table for a kind of list."""
    return NetworkTable() if kind == "network" else NameTable(kind)


def read_lines(table: Table, lines: Iterable[str], source: str) -> list[str]:
    """Add the entries of a file to a table.

    Returns:
        Problems with file and line, at most `MAX_PROBLEMS`, and the number of further ones.
    """
    problems: list[str] = []
    wrong = 0
    add = table.add
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if "#" in text:
            text = _COMMENT.sub("", text).strip()
        if not text:
            continue
        try:
            add(text)
        except ValueError:
            wrong += 1
            if wrong <= MAX_PROBLEMS:
                problems.append(f"{source}:{number}: {text[:100]!r} is not {EXPECTED[table.kind]}")
    if wrong > MAX_PROBLEMS:
        problems.append(f"{source}: {wrong - MAX_PROBLEMS} more lines are not valid")
    return problems


def _found(numbers: array[int] | list[int], number: int) -> bool:
    index = bisect_left(numbers, number)
    return index < len(numbers) and numbers[index] == number
