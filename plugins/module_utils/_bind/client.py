# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A DNS client on top of dnspython: queries, zone transfers, RFC 2136 updates, TSIG."""

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

_OWNERS_PER_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key; the secret is base64, the algorithm as BIND names it (`hmac-sha256`)."""

    name: str
    algorithm: str
    secret: str


@dataclass(frozen=True, slots=True)
class MxSet:
    """The MX records of a name and their TTL in seconds."""

    records: frozenset[Mx] = frozenset()
    ttl: int = 0


Change = tuple[Name, MxSet, MxSet]
"""A name, the MX records that it must have, and the MX records that replace them."""


class DnsClient:
    """A client of one DNS server; every method raises ZoneError on failure."""

    def __init__(self, address: str, port: int, timeout: float) -> None:
        """Query the server at this address and port; `timeout` is in seconds for each answer."""
        self.address = address
        self._port = port
        self._timeout = timeout

    # -- queries --------------------------------------------------------------------------------------------------

    def target(self, name: Name) -> Target:
        """Find out, by a recursive query, whether a name can be an MX target."""
        for rtype in ("A", "AAAA"):
            try:
                answer = self._ask(spell(name), rtype, None, recursive=True)
            except ZoneError:
                return Target.UNKNOWN
            if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
                return Target.UNKNOWN
            if not answer.flags & (dns.flags.AA | dns.flags.RA):
                return Target.UNKNOWN  # a referral, or a server without recursion
            types = {rrset.rdtype for rrset in answer.answer}
            if dns.rdatatype.CNAME in types:
                return Target.ALIAS
            if dns.rdatatype.from_text(rtype) in types:
                return Target.ADDRESS
        return Target.MISSING

    def soa(self, zone: str, key: Key | None) -> tuple[int, int]:
        """Return the serial of a zone and the TTL of its SOA record."""
        rrset = self._records(zone, zone, "SOA", key)
        if not rrset:
            raise ZoneError(f"zone {zone}: {self.address} does not answer with the SOA record")
        return rrset[0].serial, rrset.ttl

    def served(self, zone: str) -> int | None:
        """Return the serial of a zone, None without an authoritative answer."""
        try:
            return None if DNSPYTHON_ERROR else self.soa(zone, None)[0]
        except ZoneError:
            return None

    def mx(self, zone: str, owner: Name, key: Key | None) -> MxSet:
        """Return the MX records that a name of a dynamic zone has itself, not through a wildcard."""
        found = self._mx(zone, owner, key)
        cut = len(owner) - len(dns.name.from_text(zone)) + 1
        wild = [(b"*", *owner[k:]) for k in range(1, cut + 1)]
        if owner[0] != b"*" and found.records and any(self._mx(zone, name, key) == found for name in wild):
            # Prerequisites, unlike queries, do not match wildcards (RFC 2136, section 2.4). An update that has only a
            # prerequisite changes nothing.
            probe = self._message(zone, key)
            probe.present(spell(owner), "MX")
            if self._send(zone, probe) == dns.rcode.NXRRSET:
                return MxSet()
        return found

    def served_mx(self, zone: str, owner: str) -> frozenset[str]:
        """Return the MX records that a query returns for a name, as `PREFERENCE EXCHANGE` in lower case."""
        return self.served_mx_ttl(zone, owner)[0]

    def served_mx_ttl(self, zone: str, owner: str) -> tuple[frozenset[str], int]:
        """Return what `served_mx` returns, and the TTL in seconds, 0 without records."""
        rrset = self._records(zone, owner.rstrip(".") + ".", "MX", None)
        found = frozenset(f"{mx.preference} {str(mx.exchange).lower().rstrip('.') or '.'}" for mx in rrset or ())
        return found, rrset.ttl if rrset else 0

    def name_servers(self, zone: str) -> dict[str, list[str]]:
        """Return the servers in the NS records of a zone, each with the addresses that a recursive query finds."""
        rrset = self._records(zone, zone.rstrip(".") + ".", "NS", None) or ()
        return {str(ns.target).lower().rstrip("."): self._addresses(str(ns.target)) for ns in rrset}

    def _addresses(self, name: str) -> list[str]:
        """Return the addresses of a name, none if they cannot be looked up."""
        found: list[str] = []
        for rtype in ("A", "AAAA"):
            try:
                answer = self._ask(name, rtype, None, recursive=True)
            except ZoneError:
                continue
            found += [
                rdata.address
                for rrset in answer.answer
                if rrset.rdtype == dns.rdatatype.from_text(rtype)
                for rdata in rrset
            ]
        return found

    def _mx(self, zone: str, owner: Name, key: Key | None) -> MxSet:
        """Return the MX records that a query returns for a name."""
        rrset = self._records(zone, spell(owner), "MX", key)
        if not rrset:
            return MxSet()
        return MxSet(frozenset((mx.preference, mx.exchange.canonicalize().labels[:-1]) for mx in rrset), rrset.ttl)

    def _records(self, zone: str, name: str, rtype: str, key: Key | None) -> Any:
        """Return the record set of an authoritative answer, None if it is empty."""
        answer = self._ask(name, rtype, key, recursive=False)
        if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN} or not answer.flags & dns.flags.AA:
            raise ZoneError(
                f"zone {zone}: {self.address} does not answer authoritatively for {name} {rtype} "
                f"({dns.rcode.to_text(answer.rcode())})"
            )
        if any(rrset.rdtype == dns.rdatatype.CNAME for rrset in answer.answer):
            raise ZoneError(
                f"zone {zone}: {name} is a CNAME, which excludes MX records (RFC 1034, section 3.6.2). Replace it "
                "with address records, or remove the domain from the inventory"
            )
        wanted = dns.rdatatype.from_text(rtype)
        return next((rrset for rrset in answer.answer if rrset.rdtype == wanted), None)

    def _ask(self, name: str, rtype: str, key: Key | None, *, recursive: bool) -> Any:
        """Send a query and return the answer."""
        query = dns.message.make_query(name, rtype)
        if not recursive:
            query.flags &= ~dns.flags.RD
        try:
            if key:
                query.use_tsig(_keyring(key), dns.name.from_text(key.name), algorithm=key.algorithm)
            return dns.query.udp_with_fallback(query, self.address, timeout=self._timeout, port=self._port)[0]
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise ZoneError(f"{self.address} does not answer for {name} {rtype}: {_format_error(error)}") from error

    def transfer(self, zone: str, key: Key | None) -> list[str]:
        """Return a whole zone (AXFR), one record a line, `owner TTL IN type data`, the SOA record first."""
        query = dns.message.make_query(zone, "AXFR")
        try:
            if key:
                query.use_tsig(_keyring(key), dns.name.from_text(key.name), algorithm=key.algorithm)
            found = dns.zone.Zone(dns.name.from_text(zone), relativize=False)
            dns.query.inbound_xfr(self.address, found, query, port=self._port, timeout=self._timeout)
        except dns.query.TransferError as error:
            raise ZoneError(
                f"zone {zone}: transfer from {self.address} failed: {_refusal(error.rcode, key)}"
            ) from error
        except (dns.exception.DNSException, OSError, ValueError, EOFError) as error:
            raise ZoneError(f"zone {zone}: transfer from {self.address} failed: {_format_error(error)}") from error
        lines = [
            f"{name}\t{ttl}\tIN\t{dns.rdatatype.to_text(record.rdtype)}\t{record.to_text()}"
            for name, ttl, record in found.iterate_rdatas()
        ]
        return sorted(lines, key=lambda line: (line.split("\t")[3] != "SOA", line))

    # -- updates --------------------------------------------------------------------------------------------------

    def update(self, zone: str, changes: Sequence[Change], key: Key | None) -> None:
        """Change MX records that are still as expected: all, or, with a ZoneError, none."""
        done: list[Change] = []
        for start in range(0, len(changes), _OWNERS_PER_MESSAGE):
            part = changes[start : start + _OWNERS_PER_MESSAGE]
            try:
                self._update(zone, part, key)
            except ZoneError as error:
                problems = list(error.problems)
                try:
                    self.update(zone, [(owner, new, old) for owner, old, new in done], key)
                except ZoneError as second:
                    problems += [f"cannot undo the earlier updates: {problem}" for problem in second.problems]
                raise ZoneError(*problems) from error
            done += part

    def _update(self, zone: str, changes: Sequence[Change], key: Key | None) -> None:
        """Send one update message."""
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
        cause = {
            dns.rcode.NXRRSET: "the MX records were changed by another client in the meantime",
            dns.rcode.YXRRSET: "the MX records were changed by another client in the meantime, or a name is a CNAME",
            dns.rcode.REFUSED: "this key or address has no permission, or the zone is frozen (run rndc thaw)",
            dns.rcode.NOTAUTH: "the server does not have this key, or is not primary for the zone",
        }.get(code, "see the server's log")
        raise ZoneError(f"zone {zone}: {self.address} rejects the updates ({dns.rcode.to_text(code)}): {cause}")

    def _message(self, zone: str, key: Key | None) -> Any:
        """Return an empty update message, signed with the key if there is one."""
        if not key:
            return dns.update.UpdateMessage(zone)
        return dns.update.UpdateMessage(
            zone, keyring=_keyring(key), keyname=dns.name.from_text(key.name), keyalgorithm=key.algorithm
        )

    def _send(self, zone: str, message: Any) -> Any:
        """Send an update message and return the response code."""
        try:
            return dns.query.tcp(message, self.address, timeout=self._timeout, port=self._port).rcode()
        except dns.tsig.PeerError as error:
            raise ZoneError(f"zone {zone}: {self.address} rejects the TSIG key: {_format_error(error)}") from error
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise ZoneError(f"zone {zone}: {self.address} does not answer an update: {_format_error(error)}") from error


def read_keys(path: str) -> dict[str, Key]:
    """Read a file of `key` statements, as `tsig-keygen` writes it; return the keys by name in lower case."""
    try:
        found = tsig_keys(Path(path).read_text(encoding="latin-1"))
    except (OSError, ValueError) as error:
        raise ZoneError(f"key_file {path}: {error}") from error
    if not found:
        raise ZoneError(f"key_file {path}: no key statement with algorithm and secret")
    return {name: Key(name, *value) for name, value in found.items()}


def choose_key(zone: str, named: Sequence[str], keys: Mapping[str, Key]) -> Key | None:
    """Return the key for a zone: one that its configuration names, else the only one in `keys`.

    Raises:
        ZoneError: The configuration names keys, but `keys` has none of them.
    """
    found = next((keys[name] for name in named if name in keys), None)
    if not named and len(keys) == 1:
        return next(iter(keys.values()))
    if found is None and named:
        raise ZoneError(
            f"zone {zone}: it accepts updates with the TSIG key {' or '.join(named)}. Set `key_file` to the file on "
            "the server that has it"
        )
    return found


def _keyring(key: Key) -> Any:
    """Return the keyring of one TSIG key."""
    try:
        return dns.tsigkeyring.from_text({key.name: (dns.name.from_text(key.algorithm), key.secret)})
    except ValueError as error:
        raise ZoneError(f"the secret of the TSIG key {key.name} is not valid base64") from error


def _text(mx: Mx) -> str:
    """Return an MX record as its data in a zone file."""
    return f"{mx[0]} {spell(mx[1])}"


def _refusal(code: dns.rcode.Rcode, key: Key | None) -> str:
    """Return the meaning of the code with which a server rejects a transfer."""
    name = str(dns.rcode.to_text(code))
    if code != dns.rcode.REFUSED:
        return name
    who = f"the key {key.name}" if key else "the address of this server"
    return f"{name}. Add {who} to allow-transfer there; BIND 9.20 and later permit no transfer by default"


def _format_error(error: Exception) -> str:
    """Return the message of an error, or its type if it has none."""
    return str(error) or type(error).__name__
