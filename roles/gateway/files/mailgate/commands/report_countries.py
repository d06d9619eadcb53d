# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Countries of client networks, from a local file of address ranges; nothing is downloaded or asked."""

from __future__ import annotations

import csv
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

UNKNOWN = "ZZ"
_MAX_CODE = 2
_FAMILIES = {False: socket.AF_INET, True: socket.AF_INET6}


def countries(path: Path, networks: Mapping[str, int]) -> Counter[str]:
    """Return the number of each country (ISO 3166-1 code, `ZZ` if unknown).

    Args:
        path: CSV file of first address, last address and country, sorted by address, each version by itself: the form
            of DB-IP's lite file. It is read once, line by line.
        networks: Number by network, as the index has it: the first part of its addresses.

    Raises:
        ValueError, csv.Error: The file is of another form.
        OSError: It cannot be read.
    """
    wanted: dict[bool, list[tuple[bytes, int]]] = {False: [], True: []}
    for key, number in networks.items():
        try:
            wanted[":" in key].append((_first(key), number))
        except OSError:
            # No address: the event has none.
            continue
    # The lowest one last, where it is taken from.
    for each in wanted.values():
        each.sort(reverse=True)
    found: Counter[str] = Counter()
    for version, first, last, code in _ranges(path):
        waiting = wanted[version]
        while waiting and waiting[-1][0] <= last:
            address, number = waiting.pop()
            found[code if first <= address else UNKNOWN] += number
    for waiting in wanted.values():
        found[UNKNOWN] += sum(number for _address, number in waiting)
    return +found


def _ranges(path: Path) -> Iterator[tuple[bool, bytes, bytes, str]]:
    """Yield whether it is IPv6, first and last address and country of each line."""
    previous = {False: b"", True: b""}
    with path.open(encoding="ascii", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            try:
                first, last, code = row[:3]
                version = ":" in first
                start, end = (socket.inet_pton(_FAMILIES[version], text) for text in (first, last))
            except (ValueError, OSError):
                raise ValueError(f"line {number}: expected first address, last address, country") from None
            if len(code) != _MAX_CODE or not code.isalpha():
                raise ValueError(f"line {number}: {code!r} is not a country of two letters")
            if start > end or start <= previous[version]:
                raise ValueError(f"line {number}: not sorted by address")
            previous[version] = end
            yield version, start, end, code.upper()


def _first(network: str) -> bytes:
    """Return the first address of a network; raise OSError if it is none."""
    if ":" in network:
        return socket.inet_pton(socket.AF_INET6, f"{network.rstrip(':')}::")
    return socket.inet_pton(socket.AF_INET, f"{network}.0" if network.count(".") == 2 else network)
