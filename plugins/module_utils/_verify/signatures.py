# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the signatures of a zone are valid (RFC 4033 to 4035), with dnspython, and cryptography if it is there."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

from .queries import Queries

# The module says it if dnspython is missing.
with contextlib.suppress(ImportError):
    import dns.dnssec
    import dns.exception
    import dns.name
    import dns.rdatatype


async def signatures(queries: Queries, server: str, zone: str, owners: list[str], parents: list[str]) -> dict[str, Any]:
    """Return whether a zone is signed, and what is wrong with it.

    Args:
        queries: The client.
        server: An authoritative server of the zone.
        zone: The zone.
        owners: Names with MX records, which are verified after the SOA and DNSKEY records.
        parents: Servers of the parent zone, which have the DS records.

    Returns:
        `signed`, `delegated` (whether the parent has DS records), `expires` (the end of the first signature that ends,
        in seconds since 1970) and `errors`.
    """
    keys = await queries.ask(server, zone, "DNSKEY", signed=True)
    found: dict[str, Any] = {"signed": bool(keys.records), "delegated": False, "expires": 0, "errors": []}
    for parent in parents:
        answer = await queries.ask(parent, zone, "DS")
        if answer.records:
            found["delegated"] = True
            if not _matches(zone, keys.message, answer.message):
                found["errors"].append("no DNSKEY of the zone has the hash of a DS record of the parent zone")
            break
    if not keys.records:
        if found["delegated"]:
            found["errors"].append("the parent zone has DS records, but the zone has no DNSKEY records")
        return found
    checks = [(zone, "DNSKEY"), (zone, "SOA"), *((owner, "MX") for owner in owners)]
    for name, rtype in checks:
        answer = await queries.ask(server, name, rtype, signed=True)
        if answer.records:
            error, end = _verify(zone, keys.message, answer.message, rtype)
            found["expires"] = min(filter(None, (found["expires"], end)), default=0)
            if error:
                found["errors"].append(f"{name} {rtype}: {error}")
    return found


def _verify(zone: str, keys: Any, message: Any, rtype: str) -> tuple[str, int]:
    """Return what is wrong with the signature of a record set, and when it ends."""
    kind = dns.rdatatype.from_text(rtype)
    rrset = next((each for each in message.answer if each.rdtype == kind), None)
    rrsig = next((each for each in message.answer if each.rdtype == dns.rdatatype.RRSIG and each.covers == kind), None)
    if rrset is None or rrsig is None:
        return ("it has no signature" if rrset is not None else ""), 0
    now = datetime.datetime.now(datetime.UTC).timestamp()
    end = int(min(each.expiration for each in rrsig))
    if now >= max(each.expiration for each in rrsig):
        return f"the signature expired on {_day(end)}", end
    if now < min(each.inception for each in rrsig):
        return "the signature is not valid yet; compare the clocks", end
    keyring = {
        dns.name.from_text(zone): next(each for each in keys.answer if each.rdtype == dns.rdatatype.DNSKEY),
    }
    # Without cryptography, only the dates are compared.
    with contextlib.suppress(ImportError):
        try:
            dns.dnssec.validate(rrset, rrsig, keyring)
        except dns.exception.DNSException as error:
            return f"the signature is not valid: {error}", end
    return "", end


def _matches(zone: str, keys: Any, parent: Any) -> bool:
    """Return whether a DS record of the parent is that of a key of the zone, also if this cannot be computed."""
    name = dns.name.from_text(zone)
    wanted = [record for rrset in parent.answer if rrset.rdtype == dns.rdatatype.DS for record in rrset]
    have = [record for rrset in keys.answer if rrset.rdtype == dns.rdatatype.DNSKEY for record in rrset]
    for ds in wanted:
        for key in have:
            try:
                if dns.dnssec.make_ds(name, key, ds.digest_type) == ds:
                    return True
            except (dns.exception.DNSException, ImportError, ValueError):
                return True  # an algorithm that dnspython does not know
    return not wanted or not have


def _day(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d}"
