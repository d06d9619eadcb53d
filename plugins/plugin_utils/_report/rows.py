# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the plan's tables."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway, with its MX preference."""

    host: str
    addresses: tuple[str, ...]
    preference: int

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the row in its table."""
        return (self.host,)


@dataclass(frozen=True, slots=True)
class Route:
    """An entry of the gateways' delivery table; ``next_hops`` and ``ask`` are addresses, in order.

    ``ask`` are the verification servers: the next hops, or, in tiered delivery, the servers behind them.
    """

    domain: str
    next_hops: tuple[str, ...]
    ask: tuple[str, ...]
    home: str
    faculty: str

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the row in its table."""
        return (self.domain,)


@dataclass(frozen=True, slots=True)
class MxRecords:
    """The MX records of an owner name in a zone, most preferred first; ``view`` is set for the method split only."""

    zone: str
    view: str
    owner: str
    lines: tuple[tuple[int, str], ...]
    servers: tuple[str, ...]
    faculty: str

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the row in its table."""
        return (self.zone, self.view, self.owner)


@dataclass(frozen=True, slots=True)
class Static:
    """How a sendmail handles mail for a domain: it sends it to ``next_hops``; without any it delivers it locally.

    ``relay``: it accepts such mail from other hosts too.
    """

    server: str
    domain: str
    next_hops: tuple[str, ...]
    host: str
    relay: bool
    faculty: str

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the row in its table."""
        return (self.server, self.domain)


@dataclass(frozen=True, slots=True)
class Permit:
    """An address whose port 25 the border routers ``borders`` leave open, and the reason."""

    host: str
    address: str
    reason: str
    owner: str
    until: str
    borders: tuple[str, ...]
    faculty: str

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the row in its table."""
        return (self.host, self.address)


@dataclass(frozen=True, slots=True)
class External:
    """A domain that a provider hosts; ``within`` is the campus's wildcard that it is excepted from, if any."""

    domain: str
    within: str
    faculty: str

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the row in its table."""
        return (self.domain,)


@dataclass(frozen=True, slots=True)
class Destination:
    """A server that others maintain: what it accepts mail for, and by which hosts its own mail goes elsewhere."""

    host: str
    addresses: tuple[str, ...]
    domains: tuple[str, ...]
    sends: tuple[str, ...]
    faculty: str

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the row in its table."""
        return (self.host,)


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of the port-25 rule that the administrators of the router ``border`` install."""

    border: str
    order: int = field(compare=False)  # a new line before it does not change it
    source: str
    destination: str
    port: str
    action: str
    comment: str

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of the row in its table."""
        return (self.border, self.destination, self.action)


Row = Gateway | Route | MxRecords | Static | Permit | External | Destination | Rule


@dataclass(frozen=True, slots=True)
class Server:
    """An inner mail server, with its hub and faculty, each empty without one.

    ``managed`` is false for one that others maintain.
    """

    name: str
    address: str
    hub: str
    faculty: str
    managed: bool = True
