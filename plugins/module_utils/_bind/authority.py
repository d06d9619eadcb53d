# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""What the plan says to a DNS server: its zones, and the other DNS servers of the campus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._zone.file import Name
from .client import DnsClient


@dataclass(frozen=True, slots=True)
class Authority:
    """A DNS server of the campus, the zones for which it can be asked, its inventory name and all its addresses."""

    client: DnsClient
    zones: Sequence[Name]
    host: str = ""
    addresses: Sequence[str] = ()

    def serves(self, name: Name) -> bool:
        """Return whether a name is in one of the zones."""
        return any(name[-len(zone) :] == zone for zone in self.zones)


@dataclass(frozen=True, slots=True)
class ZoneRequest:
    """The plan of one zone.

    `owners` has, for each name, its (preference, exchange) pairs, None to keep them, and its TTL in seconds, None to
    keep it.
    """

    name: str
    view: str
    owners: Sequence[tuple[str, Sequence[tuple[int, str]] | None, int | None]]
