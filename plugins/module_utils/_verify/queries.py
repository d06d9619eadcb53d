# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS queries on asyncio, many at once but few to each server; on top of dnspython."""

from __future__ import annotations

import asyncio
import ipaddress
import traceback
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

try:
    import dns.asyncquery
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdatatype

    DNSPYTHON_ERROR: str | None = None
except ImportError:
    DNSPYTHON_ERROR = traceback.format_exc()

_ATTEMPTS = 2
_PER_SERVER = 8
_PAYLOAD = 1232


@dataclass(frozen=True)
class Answer:
    """The answer of a server to a query, or the error.

    Attributes:
        error: Why there is no answer, or the response code if it is an error; "" for NOERROR and NXDOMAIN.
        authoritative: Whether the server says that it has the zone.
        exists: Whether the name exists.
        records: The records of the type that was asked, as text in lower case.
        ttl: Their TTL.
        alias: The target, if the name is a CNAME.
        message: The whole message.
    """

    error: str = ""
    authoritative: bool = False
    exists: bool = False
    records: tuple[str, ...] = ()
    ttl: int = 0
    alias: str = ""
    message: Any = None

    def others(self, section: str, rtype: str) -> dict[str, list[str]]:
        """Return the records of a type in another section, by owner."""
        found: dict[str, list[str]] = defaultdict(list)
        for rrset in getattr(self.message, section, None) or ():
            if rrset.rdtype == dns.rdatatype.from_text(rtype):
                found[plain(rrset.name.to_text())] += [plain(record.to_text()) for record in rrset]
        return dict(found)


@dataclass
class Queries:
    """The client: `timeout` is in seconds for each of two attempts."""

    timeout: float = 3.0
    port: int = 53
    connections: int = 64
    _places: asyncio.Semaphore = field(init=False)
    _servers: dict[str, asyncio.Semaphore] = field(init=False)
    _known: dict[tuple[str, ...], asyncio.Future[Answer]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.connections)
        self._servers = defaultdict(lambda: asyncio.Semaphore(_PER_SERVER))

    async def ask(self, server: str, name: str, rtype: str, *, recursive: bool = False, signed: bool = False) -> Answer:
        """Return the answer of a server; the same question is asked once only."""
        key = (server, plain(name), rtype, str(recursive), str(signed))
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(self._ask(server, name, rtype, recursive, signed))
        return await self._known[key]

    async def _ask(self, server: str, name: str, rtype: str, recursive: bool, signed: bool) -> Answer:
        try:
            query = dns.message.make_query(f"{name.rstrip('.')}.", rtype, want_dnssec=signed, payload=_PAYLOAD)
        except dns.exception.DNSException as error:
            return Answer(error=f"not a domain name: {error}")
        if not recursive:
            query.flags &= ~dns.flags.RD
        reason = ""
        for _attempt in range(_ATTEMPTS):
            async with self._places, self._servers[server]:
                try:
                    found, _tcp = await dns.asyncquery.udp_with_fallback(query, server, self.timeout, self.port)
                    return _read(found, rtype)
                except dns.exception.Timeout:
                    reason = "no answer in time"
                except (dns.exception.DNSException, OSError, ValueError, EOFError) as problem:
                    reason = str(problem) or type(problem).__name__
        return Answer(error=reason)


def _read(message: Any, rtype: str) -> Answer:
    code = message.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer(error=str(dns.rcode.to_text(code)), message=message)
    wanted = dns.rdatatype.from_text(rtype)
    records: list[str] = []
    ttl, alias = 0, ""
    for rrset in message.answer:
        if rrset.rdtype == wanted:
            records += [plain(record.to_text()) for record in rrset]
            ttl = rrset.ttl
        elif rrset.rdtype == dns.rdatatype.CNAME and not alias:
            alias = plain(rrset[0].to_text())
    return Answer(
        authoritative=bool(message.flags & dns.flags.AA),
        exists=code == dns.rcode.NOERROR,
        records=tuple(sorted(records)),
        ttl=ttl,
        alias=alias,
        message=message,
    )


def plain(text: str) -> str:
    """Return a name, or a record that ends with one, in lower case and without its final dot; `.` alone stays."""
    lower = text.lower()
    return lower[:-1] if lower.endswith(".") and lower not in (".", "0 .") else lower


def reverse(address: str) -> str:
    """Return the name of an address below in-addr.arpa or ip6.arpa."""
    return plain(f"{ipaddress.ip_address(address).reverse_pointer}.")


def mx(answer: Answer) -> Mapping[str, object]:
    """Return the MX records of an answer as plain data."""
    return {"records": list(answer.records), "ttl": answer.ttl, "error": answer.error, "alias": answer.alias}
