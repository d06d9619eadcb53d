# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The campus, as the plan sees it: checked facts, nothing derived."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

KINDS = ("gateways", "borders", "dns", "servers")


@dataclass(frozen=True, slots=True)
class Permit:
    """Why a host's port 25 stays open to the outside, who asked for it, and its last day."""

    reason: str
    owner: str
    until: datetime.date


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the inventory. What does not apply to it is empty (``preference``: None).

    ``name`` is the inventory host name; ``exchange`` the same as a full host name in A-labels. ``faculty`` and ``hub``
    are set for servers only; a hub is its own hub.
    """

    name: str
    exchange: str = ""
    kinds: tuple[str, ...] = ()
    address: str = ""
    address6: str = ""
    faculty: str = ""
    hub: str = ""
    domains: tuple[str, ...] = ()
    permit: Permit | None = None
    preference: int | None = None
    outside_interface: str = ""
    zones: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the IPv4 address, then the IPv6 address, as far as it has them."""
        return tuple(address for address in (self.address, self.address6) if address)


@dataclass(frozen=True)
class Campus:
    """All hosts, by inventory name and in its order, and the settings that hold for all of them."""

    name: str
    networks: tuple[str, ...]
    method: str
    delivery: str
    language: str
    hosts: dict[str, Host] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Host]:
        """Return the hosts of one of `KINDS`, in inventory order."""
        return [host for host in self.hosts.values() if kind in host.kinds]

    @property
    def gateways(self) -> list[Host]:
        """Return the gateways in the order in which senders try them: by preference, then by name."""
        return sorted(self.of_kind("gateways"), key=lambda host: (host.preference or 0, host.name))

    @property
    def permitted(self) -> list[Host]:
        """Return the hosts with a permit, by name."""
        return sorted((host for host in self.hosts.values() if host.permit), key=lambda host: host.name)

    def home_of(self) -> dict[str, Host]:
        """Return each mail domain's home server, sorted by domain."""
        homes = {domain: host for host in self.hosts.values() for domain in host.domains}
        return dict(sorted(homes.items()))
