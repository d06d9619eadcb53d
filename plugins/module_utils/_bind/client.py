# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A DNS server spoken to over the network by dnspython: its records, RFC 2136 updates, TSIG."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._zone.exchanges import Target
from .._zone.file import Name, ZoneError, spell
from .named_conf import tsig_keys

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.tsig
    import dns.tsigkeyring
    import dns.update
    import dns.zone

    DNSPYTHON_ERROR: str | None = None
except ImportError:
    DNSPYTHON_ERROR = traceback.format_exc()

Mx = tuple[int, Name]
"""A preference and an exchange."""

_OWNERS_A_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key; the secret is base64, the algorithm as BIND names it (`hmac-sha256`)."""

    name: str
    algorithm: str
    secret: str


@dataclass(frozen=True, slots=True)
class MxSet:
    """The MX records of a name, none or several, and their TTL in seconds."""

    records: frozenset[Mx] = frozenset()
    ttl: int = 0


Change = tuple[Name, MxSet, MxSet]
"""A name, its MX records that must be there, and those that shall take their place."""


class DnsClient:
    """One server at an address; every method raises ZoneError with what went wrong."""

    def __init__(self, address: str, port: int, timeout: float) -> None:
        self._where = address, port
        self._timeout = timeout

    # -- asking ---------------------------------------------------------------------------------------------------

    def target(self, name: Name) -> Target:
        """Asks, with recursion, whether a name can be an MX's target."""
        for rtype in ("A", "AAAA"):
            try:
                answer = self._ask(spell(name), rtype, None, recursive=True)
            except ZoneError:
                return Target.UNKNOWN
            if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
                return Target.UNKNOWN
            if not answer.flags & (dns.flags.AA | dns.flags.RA):
                return Target.UNKNOWN  # a referral, or nobody who knows
            types = {rrset.rdtype for rrset in answer.answer}
            if dns.rdatatype.CNAME in types:
                return Target.ALIAS
            if dns.rdatatype.from_text(rtype) in types:
                return Target.ADDRESS
        return Target.MISSING

    def soa(self, zone: str, key: Key | None) -> tuple[int, int]:
        """Gives the serial of a zone and the TTL of its SOA record."""
        rrset = self._records(zone, zone, "SOA", key)
        if not rrset:
            raise ZoneError(f"zone {zone}: {self._where[0]} does not answer with its SOA record")
        return rrset[0].serial, rrset.ttl

    def served(self, zone: str) -> int | None:
        """Gives the serial of a zone, None without an answer with authority."""
        try:
            return None if DNSPYTHON_ERROR else self.soa(zone, None)[0]
        except ZoneError:
            return None

    def mx(self, zone: str, owner: Name, key: Key | None) -> MxSet:
        """Gives the MX records that a name of a dynamic zone has itself, not by a wildcard."""
        found = self._mx(zone, owner, key)
        cut = len(owner) - len(dns.name.from_text(zone)) + 1
        wild = [(b"*", *owner[k:]) for k in range(1, cut + 1)]
        if owner[0] != b"*" and found.records and any(self._mx(zone, name, key) == found for name in wild):
            # Prerequisites, unlike queries, know no wildcards (RFC 2136, section 2.4); an update with no more than one
            # changes nothing.
            probe = self._message(zone, key)
            probe.present(spell(owner), "MX")
            if self._send(zone, probe) == dns.rcode.NXRRSET:
                return MxSet()
        return found

    def _mx(self, zone: str, owner: Name, key: Key | None) -> MxSet:
        rrset = self._records(zone, spell(owner), "MX", key)
        if not rrset:
            return MxSet()
        return MxSet(frozenset((mx.preference, mx.exchange.canonicalize().labels[:-1]) for mx in rrset), rrset.ttl)

    def _records(self, zone: str, name: str, rtype: str, key: Key | None) -> Any:
        answer = self._ask(name, rtype, key, recursive=False)
        if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN} or not answer.flags & dns.flags.AA:
            raise ZoneError(
                f"zone {zone}: {self._where[0]} does not answer for {name} {rtype} with authority "
                f"({dns.rcode.to_text(answer.rcode())})"
            )
        if any(rrset.rdtype == dns.rdatatype.CNAME for rrset in answer.answer):
            raise ZoneError(
                f"zone {zone}: {name} is a CNAME, and no MX may stand beside it (RFC 1034, 3.6.2). Give it address "
                "records of its own, or take the domain out of the inventory"
            )
        wanted = dns.rdatatype.from_text(rtype)
        return next((rrset for rrset in answer.answer if rrset.rdtype == wanted), None)

    def _ask(self, name: str, rtype: str, key: Key | None, *, recursive: bool) -> Any:
        query = dns.message.make_query(name, rtype)
        if not recursive:
            query.flags &= ~dns.flags.RD
        try:
            if key:
                query.use_tsig(_keyring(key), dns.name.from_text(key.name), algorithm=key.algorithm)
            address, port = self._where
            return dns.query.udp_with_fallback(query, address, timeout=self._timeout, port=port)[0]
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise ZoneError(f"{self._where[0]} does not answer for {name} {rtype}: {_said(error)}") from error

    def told(self) -> str:
        """Gives the server's address, for messages and notes."""
        return self._where[0]

    def transfer(self, zone: str, key: Key | None) -> list[str]:
        """Gives a whole zone (AXFR), one record a line, `owner TTL IN type data`, the SOA record first."""
        address, port = self._where
        query = dns.message.make_query(zone, "AXFR")
        try:
            if key:
                query.use_tsig(_keyring(key), dns.name.from_text(key.name), algorithm=key.algorithm)
            found = dns.zone.Zone(dns.name.from_text(zone), relativize=False)
            dns.query.inbound_xfr(address, found, query, port=port, timeout=self._timeout)
        except (dns.exception.DNSException, OSError, ValueError, EOFError) as error:
            raise ZoneError(f"zone {zone}: it cannot be transferred from {address}: {_said(error)}") from error
        lines = [
            f"{name}\t{ttl}\tIN\t{dns.rdatatype.to_text(record.rdtype)}\t{record.to_text()}"
            for name, ttl, record in found.iterate_rdatas()
        ]
        return sorted(lines, key=lambda line: (line.split("\t")[3] != "SOA", line))

    # -- changing -------------------------------------------------------------------------------------------------

    def update(self, zone: str, changes: Sequence[Change], key: Key | None) -> None:
        """Changes MX records, if they still are as expected; all of them, or, with a ZoneError, none."""
        done: list[Change] = []
        for start in range(0, len(changes), _OWNERS_A_MESSAGE):
            some = changes[start : start + _OWNERS_A_MESSAGE]
            try:
                self._update(zone, some, key)
            except ZoneError as error:
                problems = list(error.problems)
                try:
                    self.update(zone, [(owner, new, old) for owner, old, new in done], key)
                except ZoneError as second:
                    problems += [f"and what was changed before cannot be taken back: {p}" for p in second.problems]
                raise ZoneError(*problems) from error
            done += some

    def _update(self, zone: str, changes: Sequence[Change], key: Key | None) -> None:
        message = self._message(zone, key)
        for owner, old, new in changes:
            name = spell(owner)
            if old.records:
                message.present(name, "MX", *map(_text, old.records))
            else:
                message.absent(name, "MX")
                message.absent(name, "CNAME")
            message.delete(name, "MX")
            for record in sorted(new.records):
                message.add(name, new.ttl, "MX", _text(record))
        code = self._send(zone, message)
        if code == dns.rcode.NOERROR:
            return
        why = {
            dns.rcode.NXRRSET: "its MX records were changed by somebody else in the meantime",
            dns.rcode.YXRRSET: "its MX records were changed by somebody else in the meantime, or a name is a CNAME",
            dns.rcode.REFUSED: "this key or address may not make them, or the zone is frozen (rndc thaw)",
            dns.rcode.NOTAUTH: "the key is not known to it, or it does not have the zone as primary",
        }.get(code, "its log says why")
        raise ZoneError(f"zone {zone}: {self._where[0]} does not take the updates ({dns.rcode.to_text(code)}): {why}")

    def _message(self, zone: str, key: Key | None) -> Any:
        if not key:
            return dns.update.UpdateMessage(zone)
        return dns.update.UpdateMessage(
            zone, keyring=_keyring(key), keyname=dns.name.from_text(key.name), keyalgorithm=key.algorithm
        )

    def _send(self, zone: str, message: Any) -> Any:
        address, port = self._where
        try:
            return dns.query.tcp(message, address, timeout=self._timeout, port=port).rcode()
        except dns.tsig.PeerError as error:
            raise ZoneError(f"zone {zone}: {address} refuses the TSIG key: {_said(error)}") from error
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise ZoneError(f"zone {zone}: no answer to an update from {address}: {_said(error)}") from error


def read_keys(path: str) -> dict[str, Key]:
    """Reads a file with `key` statements as BIND's `tsig-keygen` writes it; gives the keys by name in lower case."""
    try:
        found = tsig_keys(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ZoneError(f"key_file {path}: {error}") from error
    if not found:
        raise ZoneError(f"key_file {path}: it has no key statement with algorithm and secret")
    return {name: Key(name, *value) for name, value in found.items()}


def choose_key(zone: str, named: Sequence[str], keys: Mapping[str, Key]) -> Key | None:
    """Picks the key for a zone: one that its configuration names, else the only one there is.

    Raises ZoneError when the configuration names keys and none of them is at hand.
    """
    found = next((keys[name] for name in named if name in keys), None)
    if not named and len(keys) == 1:
        return next(iter(keys.values()))
    if found is None and named:
        raise ZoneError(
            f"zone {zone}: it takes updates with the TSIG key {' or '.join(named)}. Say by `key_file` which file on "
            "the server has it"
        )
    return found


def _keyring(key: Key) -> Any:
    try:
        return dns.tsigkeyring.from_text({key.name: (dns.name.from_text(key.algorithm), key.secret)})
    except ValueError as error:
        raise ZoneError(f"the TSIG key {key.name} has a secret that is not base64") from error


def _text(mx: Mx) -> str:
    return f"{mx[0]} {spell(mx[1])}"


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
