# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that hosts which send mail to each other have an address of the same family."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .findings import Findings
from .model import Campus, Host


def check_families(campus: Campus, findings: Findings) -> None:
    """Report hosts that send mail to a host that they share no address family with."""
    only6 = [host for host in campus.of_kind("servers") if host.only_ipv6]
    if not only6:
        return
    for host, targets in _senders(campus, only6):
        unreachable = [target for target in targets if target is not host and not host.shares_family(target)]
        if not unreachable:
            continue
        first = unreachable[0]
        more = f" and {len(unreachable) - 1} more" if len(unreachable) > 1 else ""
        facts = findings.facts[host.name]
        if host.only_ipv6:
            message = f"has no IPv4 address, but sends mail to {first.name}{more}, which has no IPv6 address"
            hint = f"Set mailgate_address6 of {first.name}, or give this host an IPv4 address or a hub that has both"
            findings.problem(facts, "mailgate_address", message, hint)
        else:
            message = f"has no IPv6 address, but sends mail to {first.name}{more}, which has no IPv4 address"
            hint = f"Set mailgate_address6 of this host, or give {first.name} an IPv4 address"
            findings.problem(facts, "mailgate_address6", message, hint)


def _senders(campus: Campus, only6: list[Host]) -> Iterator[tuple[Host, Iterable[Host]]]:
    """Yield the gateways and servers, each with the hosts that it may send mail to and that may be out of its reach.

    A server reaches the servers of its faculty through its hub if it does not reach them itself. So a host with IPv4 is
    checked against the hosts with IPv6 only, and only one with IPv6 only against all others.
    """
    hubs = {host.hub for host in campus.of_kind("servers") if host.hub}
    for gateway in campus.gateways:
        yield gateway, [host for host in only6 if host.domains or host.backup_domains or host.name in hubs]
    first_hops = _first_hops(campus)
    for server in campus.of_kind("servers"):
        if server.is_destination:
            continue  # it sends by MX
        if server.hub and server.hub != server.name:
            yield server, [campus.hosts[server.hub]]
            continue
        near = [
            host
            for host in (campus.of_kind("servers") if server.only_ipv6 else only6)
            if (host.hub == server.name if server.hub else host.faculty == server.faculty)
        ]
        others = first_hops.values() if server.only_ipv6 else (host for host in only6 if host.name in first_hops)
        yield server, {host.name: host for host in (*near, *others)}.values()


def _first_hops(campus: Campus) -> dict[str, Host]:
    """Return the hosts that the hubs send mail of other faculties to: the other hubs, and servers without a hub."""
    homes = {host.name: host for host in campus.hosts.values() if host.domains or host.backup_domains}
    names = dict.fromkeys(host.hub or host.name for host in homes.values())
    return {name: campus.hosts[name] for name in names if name in campus.hosts}
