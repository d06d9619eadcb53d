# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DMARC: records, alignment and policies; the first table is that of the tests of authheaders."""

from __future__ import annotations

import pytest

from mailgate.authentication.dmarc import Aligned, Dmarc, evaluate, organizational_domain, parse_record
from mailgate.authentication.lookups import Lookup, NeededError
from mailgate.authentication.signatures import Signature

ZONE = {
    "_dmarc.example.com": "v=DMARC1; p=reject;rua=mailto:dmarc.reports@valimail.com,mailto:dmarc_agg@vali.email",
    "_dmarc.example.org": "v=DMARC1; p=none",
    "_dmarc.example.net": "v=DMARC1; p=none; sp=reject",
    "_dmarc.example.biz": "v=DMARC1; p=none; sp=quarantine; np=reject",
    "_dmarc.nop.example.org": "v=DMARC1; sp=quarantine; np=reject",
    "sub2.example.biz": ("A", "192.0.2.1"),
    "_dmarc.bad.example.com": "v=DMARC1; p=none; reject",
    "_dmarc.my-bank.example": "v=DMARC1; p=reject",
    "_dmarc.strict.example": "v=DMARC1; p=quarantine; adkim=s; aspf=s",
    "_dmarc.half.example": "v=DMARC1; p=reject; pct=50",
    "_dmarc.down.example": None,
}


def dmarc(*domains: str, spf: str = "", dkim: str = "", sample: int = 0, uncertain: bool = False, zone=None) -> Dmarc:
    signatures = [Signature("fail", "sender.example"), *([Signature("pass", dkim)] if dkim else [])]
    found = {}
    while True:
        try:
            return evaluate(domains, Aligned(spf, signatures, uncertain), found, sample)
        except NeededError as needed:
            kind, name = needed.lookup
            value = (zone or ZONE).get(name, ())
            if isinstance(value, str):
                value = ("TXT", value)
            records = None if value is None else tuple(each.encode() for each in value[1:] if value[0] == kind)
            found[needed.lookup] = records


@pytest.mark.parametrize(
    ("domain", "given", "result", "policy"),
    [
        ("example.com", {"dkim": "example.com"}, "pass", "none"),
        ("example.com", {}, "fail", "reject"),
        ("sub.example.net", {}, "fail", "reject"),
        ("example.net", {}, "fail", "none"),
        ("sub.example.biz", {}, "fail", "reject"),
        ("sub2.example.biz", {}, "fail", "quarantine"),
        ("nop.example.org", {}, "none", "none"),
        ("bad.example.com", {}, "fail", "none"),
        # Others.
        ("unknown.example", {"dkim": "unknown.example"}, "none", "none"),
        ("my-bank.example", {"spf": "my"}, "fail", "reject"),
        ("my-bank.example", {"spf": "mail.my-bank.example"}, "pass", "none"),
        ("a.b.example.com", {"dkim": "c.example.com"}, "pass", "none"),
        ("strict.example", {"spf": "m.strict.example", "dkim": "m.strict.example"}, "fail", "quarantine"),
        ("strict.example", {"spf": "strict.example"}, "pass", "none"),
        ("strict.example", {"dkim": "strict.example"}, "pass", "none"),
        ("half.example", {"sample": 49}, "fail", "reject"),
        ("half.example", {"sample": 50}, "fail", "quarantine"),
        ("down.example", {}, "temperror", "none"),
        ("x.down.example", {}, "temperror", "none"),
        ("example.com", {"uncertain": True}, "temperror", "none"),
        ("example.com", {"uncertain": True, "spf": "example.com"}, "pass", "none"),
    ],
)
def test_result_and_policy(domain, given, result, policy):
    assert dmarc(domain, **given) == Dmarc(result, domain, policy)


@pytest.mark.parametrize(
    ("domains", "result"),
    [
        ((), Dmarc("none")),
        (("example.org", "example.com"), Dmarc("fail", "example.com", "reject")),
        (("example.com", "unknown.example"), Dmarc("fail", "example.com", "reject")),
        (("example.com", "example.com"), Dmarc("fail", "example.com", "reject")),
        (("example.org", "down.example"), Dmarc("fail", "example.org", "none")),
        (("a.example", "b.example", "c.example", "example.com"), Dmarc("permerror", "a.example", "quarantine")),
    ],
)
def test_several_domains_in_from(domains, result):
    assert dmarc(*domains) == result


@pytest.mark.parametrize(
    ("records", "policy"),
    [
        ((), None),
        ((b"v=spf1 -all",), None),
        ((b"p=reject; v=DMARC1",), None),
        ((b"V=DMARC1; p=reject",), None),
        ((b"v=DMARC1x; p=reject",), None),
        ((b"v=DMARC1", b"v=DMARC1; p=none"), ""),
        ((b"v=DMARC1;p=REJECT",), "reject"),
        ((b" v = DMARC1 ; P = reject ; ;x",), "reject"),
        ((b"v=DMARC1; p=\xff",), ""),
        ((b"v=DMARC1; p=odd; rua=mailto:a@b.example",), "none"),
        ((b"v=DMARC1; rua=mailto:a@b.example; sp=reject",), "none"),
        ((b"other", b"v=DMARC1; p=none"), "none"),
    ],
)
def test_records(records, policy):
    tags = parse_record(records)
    assert (tags if tags is None else tags.get("p", "")) == policy


@pytest.mark.parametrize(
    ("domain", "organization"),
    [
        ("a.b.example.com", "example.com"),
        ("example.com", "example.com"),
        ("com", "com"),
        ("a.b.co.jp", "b.co.jp"),
        ("x.eng.univ.example", "univ.example"),
        ("www.city.kobe.jp", "city.kobe.jp"),
        ("a.xn--eckwd4c7c.xn--zckzah", "xn--eckwd4c7c.xn--zckzah"),
        ("[198.18.9.9]", "[198.18.9.9]"),
        ("..", ".."),
    ],
)
def test_organizational_domain(domain, organization):
    assert organizational_domain(domain) == organization


def test_look_ups_are_few():
    asked = []

    class Zone(dict):
        def get(self, name, default):
            asked.append(name)
            return ("TXT", "v=DMARC1; p=none; np=reject") if name.startswith("_dmarc.example") else default

    assert dmarc("x.example.com", "y.example.net", zone=Zone({"x": "y"})).policy == "reject"
    assert len(asked) == 10
    assert Lookup("TXT", "_dmarc.x.example.com").name == asked[0]
