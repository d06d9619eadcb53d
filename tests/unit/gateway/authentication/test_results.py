# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header field Authentication-Results, and forged ones."""

from __future__ import annotations

import authres
import pytest

from mailgate.authentication.dmarc import Dmarc
from mailgate.authentication.results import field, without_forged
from mailgate.authentication.signatures import Signature

OWN = {"gw1.univ.example"}


def test_field_can_be_read():
    signatures = [Signature("pass", "a.example", "s1"), Signature("fail", "b.example", "s\r\nX: y", 'bad "b\\"')]
    text = field(
        "gw1.univ.example", ("pass", "mailfrom", "a.example"), signatures, Dmarc("fail", "c.example", "reject"), "none"
    )
    assert text.endswith(b"\r\n")
    assert all(line.startswith((b"Authentication-Results: ", b"\t")) for line in text.split(b"\r\n")[:-1])
    read = authres.AuthenticationResultsHeader.parse(text.decode().rstrip().replace("\r\n\t", " "))
    assert read.authserv_id == "gw1.univ.example"
    found = [(each.method, each.result, [(p.type, p.name, p.value) for p in each.properties]) for each in read.results]
    assert found == [
        ("spf", "pass", [("smtp", "mailfrom", "a.example")]),
        ("dkim", "pass", [("header", "d", "a.example"), ("header", "s", "s1")]),
        ("dkim", "fail", [("header", "d", "b.example")]),
        ("dmarc", "fail", [("header", "from", "c.example")]),
        ("arc", "none", []),
    ]


def test_what_is_not_known_is_left_out():
    text = field("g.example", ("temperror", "helo", ""), [], Dmarc("none"), "temperror")
    assert text == b"Authentication-Results: g.example;\r\n\tspf=temperror;\r\n\tdkim=none;\r\n\tdmarc=none\r\n"


@pytest.mark.parametrize(
    "forged",
    [
        b"Authentication-Results: gw1.univ.example; spf=pass",
        b"AUTHENTICATION-RESULTS : GW1.univ.example.; spf=pass",
        b"Authentication-Results:\r\n\tgw1.univ.example;\r\n\tspf=pass;\r\n\tdkim=pass",
        b"Authentication-Results: (a (b)) gw1.univ.example 1; spf=pass",
        b'Authentication-Results: "gw1.univ.example"; spf=pass',
        b"Authentication-Results: gw1.univ.example/1; spf=pass",
        b"Authentication-Results: gw1.univ.example(x); none",
        b"Authentication-Results: gw1.univ.example",
    ],
)
def test_forged_fields_are_removed(forged):
    rest = b"Subject: x\r\n\r\nAuthentication-Results: gw1.univ.example; x\r\n"
    assert without_forged(forged + b"\r\n" + rest, OWN) == rest
    assert without_forged(b"To: y\r\n" + forged + b"\r\n" + forged + b"\r\n" + rest, OWN) == b"To: y\r\n" + rest
    assert without_forged(forged, OWN) == b""


@pytest.mark.parametrize(
    "content",
    [
        b"Authentication-Results: gw2.univ.example; spf=pass\r\n\r\n",
        b"Authentication-Results: x.gw1.univ.example; spf=pass\r\n\r\n",
        b"X-Authentication-Results: gw1.univ.example; spf=pass\r\n\r\n",
        b"\r\nAuthentication-Results: gw1.univ.example; spf=pass\r\n",
        b"Authentication-Results:\r\n\r\ngw1.univ.example\r\n",
        b"",
    ],
)
def test_others_stay(content):
    assert without_forged(content, OWN) is content


@pytest.mark.parametrize("piece", [b"(", b"()", b"\r\n ", b'"', b"Authentication-Results: gw1.univ.example\r\n"])
def test_time_is_bounded(piece, cpu_seconds):
    content = b"Authentication-Results: " + piece * (1_000_000 // len(piece)) + b"\r\n\r\n"
    assert cpu_seconds(lambda: without_forged(content, OWN)) < 1
