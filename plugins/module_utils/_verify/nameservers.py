# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask all authoritative servers of zones, their parents and resolvers about mail, from one vantage point."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .prober import asked
from .queries import Answer, Queries, mx, reverse
from .signatures import signatures

_PARENTS = 3
_SIGNED = 3


@dataclass(frozen=True)
class Zone:
    """A zone: its name, the names whose MX records are asked, and its known servers, each name with its addresses."""

    zone: str
    owners: Sequence[str]
    servers: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Wanted:
    """What is asked.

    Attributes:
        zones: Zones with their known servers; further servers are found by their NS records.
        owners: Names whose MX records are asked of the resolvers.
        names: Host names whose addresses are asked of the resolvers.
        addresses: Addresses whose names are asked of the resolvers.
        resolvers: Addresses of the resolvers.
    """

    zones: Sequence[Zone] = ()
    owners: Sequence[str] = ()
    names: Sequence[str] = ()
    addresses: Sequence[str] = ()
    resolvers: Sequence[str] = ()


class DnsProber:
    """A run from one vantage point."""

    def __init__(self, queries: Queries, wanted: Wanted) -> None:
        self._queries, self._wanted = queries, wanted
        self._servers = {zone.zone: dict(zone.servers) for zone in wanted.zones}

    async def ask_all(self) -> dict[str, Any]:
        """Return all answers."""
        wanted = self._wanted
        zones, owners, names, pointers = await asyncio.gather(
            asyncio.gather(*(self._zone(zone) for zone in wanted.zones)),
            asyncio.gather(*(self._resolve(asked(owner), "MX") for owner in wanted.owners)),
            asyncio.gather(*(self._addresses(name) for name in wanted.names)),
            asyncio.gather(*(self._resolve(reverse(address), "PTR") for address in wanted.addresses)),
        )
        return {
            "zones": zones,
            "resolvers": list(wanted.resolvers),
            "mx": {owner: dict(mx(answer)) for owner, answer in zip(wanted.owners, owners, strict=True)},
            "names": dict(zip(wanted.names, names, strict=True)),
            "ptr": {
                address: {"names": list(answer.records), "error": answer.error}
                for address, answer in zip(wanted.addresses, pointers, strict=True)
            },
        }

    # -- zones ----------------------------------------------------------------------------------------------------

    async def _zone(self, zone: Zone) -> dict[str, Any]:
        """Return what each server of a zone answers, its delegation, and its signatures."""
        known = {name: list(addresses) for name, addresses in zone.servers.items()}
        first = await asyncio.gather(
            *(self._queries.ask(address, zone.zone, "NS") for addresses in known.values() for address in addresses)
        )
        parents, delegation = await self._delegation(zone.zone)
        names = {name for answer in first for name in answer.records}
        names |= {name for each in delegation for name in each["ns"]}
        taken = {address for addresses in known.values() for address in addresses}
        listed = dict(zip(sorted(names), await asyncio.gather(*map(self._name_server, sorted(names))), strict=True))
        for name, addresses in listed.items():
            new = [address for address in addresses if address not in taken]
            if new:
                known.setdefault(name, []).extend(new)
                taken.update(new)
        servers = await asyncio.gather(
            *(
                self._server(zone, name, address, number == 0)
                for name, addresses in known.items()
                for number, address in enumerate(addresses)
            )
        )
        signed: dict[str, Any] = {}
        usable = next((each["address"] for each in servers if each["authoritative"]), "")
        if usable:
            owners = [asked(owner) for owner in zone.owners[:_SIGNED]]
            signed = await signatures(self._queries, usable, zone.zone, owners, parents)
        return {
            "zone": zone.zone,
            "servers": servers,
            "ns": {name: list(addresses) for name, addresses in listed.items()},
            "delegation": delegation,
            "dnssec": signed,
        }

    async def _server(self, zone: Zone, name: str, address: str, whole: bool) -> dict[str, Any]:
        """Return what a server answers for a zone; the MX records of all names only if `whole`."""
        soa, ns = await asyncio.gather(
            self._queries.ask(address, zone.zone, "SOA"), self._queries.ask(address, zone.zone, "NS")
        )
        ready = soa.authoritative and bool(soa.records)
        answers: list[Answer] = []
        if ready and whole:
            answers = await asyncio.gather(*(self._queries.ask(address, asked(each), "MX") for each in zone.owners))
        return {
            "host": name,
            "address": address,
            "error": soa.error,
            "authoritative": ready,
            "serial": int(soa.records[0].split()[2]) if ready else 0,
            "primary": soa.records[0].split()[0].rstrip(".") if ready else "",
            "ns": list(ns.records),
            "mx": {each: dict(mx(answer)) for each, answer in zip(zone.owners, answers, strict=False)},
        }

    async def _delegation(self, zone: str) -> tuple[list[str], list[dict[str, Any]]]:
        """Return the servers of the parent zone, and what each that has only the delegation answers for it."""
        parents = await self._parents(zone)
        answers = await asyncio.gather(*(self._queries.ask(address, zone, "NS") for address in parents))
        found = []
        for address, answer in zip(parents, answers, strict=True):
            if answer.error or answer.authoritative:
                continue  # it has the zone itself, or another parent is asked
            listed = answer.others("authority", "NS").get(zone, [])
            glue = answer.others("additional", "A")
            for owner, records in answer.others("additional", "AAAA").items():
                glue.setdefault(owner, []).extend(records)
            found.append(
                {"server": address, "ns": sorted(listed), "glue": {name: glue.get(name, []) for name in listed}}
            )
        return parents, found

    async def _parents(self, zone: str) -> list[str]:
        """Return addresses of servers of the zone above, from the inventory or from the resolver."""
        name = zone
        while name:
            name = name.partition(".")[2]
            if name in self._servers:
                return [address for addresses in self._servers[name].values() for address in addresses][:_PARENTS]
            answer = await self._resolve(name or ".", "NS")
            if answer.records:
                found = await asyncio.gather(*(self._name_server(each) for each in answer.records[:_PARENTS]))
                return [address for addresses in found for address in addresses][:_PARENTS]
        return []

    async def _name_server(self, name: str) -> list[str]:
        """Return the addresses of a name server: from the known servers of its zone, else from the resolver."""
        zone = max((each for each in self._servers if _below(name, each)), key=len, default="")
        found: list[str] = []
        for rtype in ("A", "AAAA"):
            answer = Answer(error="not asked")
            for server in (each for addresses in self._servers.get(zone, {}).values() for each in addresses):
                answer = await self._queries.ask(server, name, rtype)
                if answer.authoritative:
                    break
            if not answer.authoritative:
                answer = await self._resolve(name, rtype)
            found += answer.records
        return found

    # -- resolvers ------------------------------------------------------------------------------------------------

    async def _resolve(self, name: str, rtype: str) -> Answer:
        """Ask the resolvers, one after the other until one answers."""
        answer = Answer(error="no resolver")
        for server in self._wanted.resolvers:
            answer = await self._queries.ask(server, name, rtype, recursive=True)
            if not answer.error:
                break
        return answer

    async def _addresses(self, name: str) -> dict[str, Any]:
        """Return the addresses of a host name."""
        four, six = await asyncio.gather(self._resolve(name, "A"), self._resolve(name, "AAAA"))
        return {
            "addresses": [*four.records, *six.records],
            "alias": four.alias or six.alias,
            "error": four.error or six.error,
        }


def _below(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


def resolvers_of(text: str) -> list[str]:
    """Return the resolvers of a resolv.conf."""
    words: Iterable[list[str]] = (line.split() for line in text.splitlines())
    return [each[1] for each in words if len(each) > 1 and each[0] == "nameserver" and "%" not in each[1]]
