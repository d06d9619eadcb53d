# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DMARC (RFC 7489, and RFC 9091 for `np`): pure functions of results and of records that have been looked up before."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from publicsuffixlist import PublicSuffixList

from mailgate.authentication.lookups import FailedError, Found, Lookup, Records, records_of
from mailgate.authentication.signatures import Signature

POLICIES = ("none", "quarantine", "reject")
# Domains in From that are looked up; a message with more has the result permerror.
MAX_DOMAINS = 3
MAX_LOOKUPS = MAX_DOMAINS * 5


class Dmarc(NamedTuple):
    """The result for a message.

    Attributes:
        result: `pass`, `fail`, `none`, `permerror` or `temperror`.
        domain: The domain in From that it is about.
        policy: What the domain asks for, with its `pct`: one of POLICIES; `none` unless the result is `fail`.
    """

    result: str
    domain: str = ""
    policy: str = "none"


class Aligned(NamedTuple):
    """What DMARC builds on: the domain that SPF authenticated, empty if none, and the signatures."""

    spf: str
    signatures: Sequence[Signature]
    uncertain: bool = False


class _Record(NamedTuple):
    tags: dict[str, str]
    domain: str


def evaluate(domains: Sequence[str], aligned: Aligned, found: Found, sample: int) -> Dmarc:
    """Return the result for a message.

    Args:
        domains: Domains of the addresses in From (section 6.6.1: of several, the strictest failure counts).
        aligned: Results of SPF and DKIM.
        found: Records of DNS.
        sample: A number from 0 to 99; a policy applies if it is below `pct`.

    Raises:
        NeededError: Records that are not in `found` are needed.
    """
    names = list(dict.fromkeys(domains))
    if len(names) > MAX_DOMAINS:
        return Dmarc("permerror", names[0], "quarantine")
    results = [_evaluate(name, aligned, found, sample) for name in names]
    order = ("none", "pass", "permerror", "temperror", "fail")
    return max(results, key=lambda each: (order.index(each.result), POLICIES.index(each.policy)), default=Dmarc("none"))


def _evaluate(domain: str, aligned: Aligned, found: Found, sample: int) -> Dmarc:
    try:
        record = _policy_record(domain, found)
        if not record:
            return Dmarc("none", domain)
        if _passes(domain, record.tags, aligned):
            return Dmarc("pass", domain)
        if aligned.uncertain:
            return Dmarc("temperror", domain)
        return Dmarc("fail", domain, _sampled(_policy(domain, record, found), record.tags, sample))
    except FailedError:
        return Dmarc("temperror", domain)


def _policy_record(domain: str, found: Found) -> _Record | None:
    """Return the record of a domain, or of its organizational domain (section 6.6.3)."""
    organization = organizational_domain(domain)
    for name in dict.fromkeys((domain, organization)):
        tags = parse_record(records_of(found, Lookup("TXT", f"_dmarc.{name}")))
        if tags is not None:
            return _Record(tags, name) if tags else None
    return None


def parse_record(records: Records) -> dict[str, str] | None:
    """Return the tags of a DMARC record, empty if it is not usable, or None if there is none."""
    texts = [text for text in (record.decode("ascii", "replace") for record in records) if _is_record(text)]
    if not texts:
        return None
    if len(texts) > 1:
        return {}
    pairs = (piece.partition("=") for piece in texts[0].split(";"))
    tags = {name.strip().lower(): value.strip().lower() for name, equals, value in pairs if equals}
    if tags.get("p") not in POLICIES:
        # Section 6.6.3: it is a request for reports then, or nothing.
        return {**tags, "p": "none", "sp": "none", "np": "none"} if tags.get("rua") else {}
    return tags


def _is_record(text: str) -> bool:
    name, equals, value = text.partition(";")[0].partition("=")
    return bool(equals) and name.strip() == "v" and value.strip() == "DMARC1"


def _passes(domain: str, tags: dict[str, str], aligned: Aligned) -> bool:
    """Return whether an authenticated domain is aligned with the one in From (section 3.1)."""
    if aligned.spf and _is_aligned(domain, aligned.spf, strict=tags.get("aspf") == "s"):
        return True
    strict = tags.get("adkim") == "s"
    return any(each.result == "pass" and _is_aligned(domain, each.domain, strict=strict) for each in aligned.signatures)


def _is_aligned(domain: str, other: str, *, strict: bool) -> bool:
    return domain == other or (not strict and organizational_domain(domain) == organizational_domain(other))


def _policy(domain: str, record: _Record, found: Found) -> str:
    """Return the policy for a domain: `p`, or of a parent's record, `np` or `sp`."""
    tags = record.tags
    policy = tags["p"]
    if record.domain != domain:
        policy = _valid(tags.get("sp"), policy)
        if tags.get("np") in POLICIES and not _exists(domain, found):
            policy = tags["np"]
    return policy


def _valid(policy: str | None, default: str) -> str:
    return policy if policy in POLICIES else default


def _exists(domain: str, found: Found) -> bool:
    return any(records_of(found, Lookup(kind, domain)) for kind in ("MX", "A", "AAAA"))


def _sampled(policy: str, tags: dict[str, str], sample: int) -> str:
    """Return the policy, or the next milder one for messages beyond `pct` (section 6.6.4)."""
    text = tags.get("pct", "100")
    percent = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 100
    return policy if sample < percent or policy == "none" else POLICIES[POLICIES.index(policy) - 1]


def organizational_domain(domain: str) -> str:
    """Return the domain one label below the public suffix (section 3.2)."""
    # An address literal has none.
    return domain if domain.endswith("]") else str(_suffixes().privatesuffix(domain) or domain)


@cache
def _suffixes() -> PublicSuffixList:
    """Return the list in the package, which may be inside a zipapp."""
    data = pkgutil.get_data("publicsuffixlist", "public_suffix_list.dat")
    assert data
    return PublicSuffixList(data.decode("utf-8").splitlines())
