# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of one server, as the simulation asks it."""

from __future__ import annotations

from .._inventory.model import Host
from .._inventory.names import Patterns
from .._plan.static import MailTable, OtherDomains, SharedLines


class Node:
    """The table of one sendmail, indexed for planned domains. A ``sample`` is a name that only its pattern matches."""

    def __init__(self, table: MailTable, planned: Patterns[Host]) -> None:
        self.planned = planned
        self.own = frozenset(table.local)
        static = table.static
        self.shared = static if isinstance(static, SharedLines) and static.own == self.own else None
        self.local = Patterns((domain, True) for domain in table.local)
        self.next_hops: Patterns[tuple[str, ...]] = Patterns()
        if self.shared is None:
            here = [(own, ("",)) for own in table.local]
            self.next_hops = Patterns([*((line.domain, line.next_hops) for line in static), *here])
        self.others = table.relay if isinstance(table.relay, OtherDomains) else None
        self.relay = Patterns((domain, True) for domain in ([] if self.others else table.relay))

    @property
    def regular(self) -> bool:
        """Return whether all of its lines are shared with other hosts."""
        return self.shared is not None and not len(self.relay)

    @property
    def accepts_others(self) -> bool:
        """Return whether it may accept mail from any client for domains that are not local."""
        return self.others is not None or not self.regular

    def hop(self, domain: str, sample: str) -> str | None:
        """Return the address of the first next hop, "" for local delivery, None when the table has no route."""
        if self.shared is not None:
            return self.shared.next_hop(domain)
        hops = self.next_hops.find(sample)
        return hops[0] if hops else None

    def hops(self, domain: str, sample: str) -> tuple[str, ...]:
        """Return the addresses of all next hops, in order."""
        if self.shared is None:
            return self.next_hops.find(sample) or ()
        line = self.shared.line(domain)
        return line.next_hops if line else ()

    def accepts(self, domain: str, sample: str) -> bool:
        """Return whether it accepts mail for the domain from any client."""
        if self.others is not None and domain in self.others:
            return True
        own = domain in self.own if self.shared is not None else self.next_hops.find(sample) == ("",)
        return own or bool(self.relay.find(sample))

    def accepts_foreign(self, name: str) -> bool:
        """Return whether it accepts mail for a name that no host of the campus claims."""
        planned = self.others is not None and self.planned.find(name) is not None
        return planned or bool(self.local.find(name) or self.relay.find(name))
