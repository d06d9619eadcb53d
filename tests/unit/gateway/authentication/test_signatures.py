# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKIM signatures and ARC chains: our own keys, the message of RFC 8463, and what is to exhaust the gateway."""

from __future__ import annotations

import base64
import hashlib
import importlib.util

import dkim
import pytest
from dkim.canonicalization import Relaxed, Simple
from signed_mail import HEADER, MESSAGE, key, seal, sign

from mailgate.authentication import body
from mailgate.authentication.lookups import Lookup, NeededError
from mailgate.authentication.signatures import Chain, Signature, SignedMessage, overall

LARGE_KEY = "v=DKIM1; p=" + base64.b64encode(b"\x30\x82\x10\x00" + b"\xff" * 4096).decode()
NACL = importlib.util.find_spec("nacl") is not None
S1 = ("sender.example", "s1")
PASS = [Signature("pass", *S1)]


def look_up(evaluate, records):
    """Return a result; `records` is the key record of all names, or records by name."""
    found = {}
    while True:
        try:
            return evaluate(found)
        except NeededError as needed:
            assert needed.lookup.type == "TXT"
            text = records.get(needed.lookup.name) if isinstance(records, dict) else records
            found[needed.lookup] = None if text is None else (text.encode(),)


def signatures(message: bytes, records=None) -> list[Signature]:
    return look_up(SignedMessage(message).signatures, key()[1] if records is None else records)


def chain(message: bytes, records=None) -> Chain:
    return look_up(SignedMessage(message).chain, key()[1] if records is None else records)


class TestDkim:
    @pytest.mark.parametrize("canonical", [b"simple", b"relaxed"])
    @pytest.mark.parametrize(
        "content", [MESSAGE, HEADER + b"\r\n", HEADER + b"\r\n\r\n \t\r\n", HEADER + b"\r\nno end"]
    )
    @pytest.mark.parametrize("length", [False, True])
    def test_valid(self, canonical, content, length, monkeypatch):
        monkeypatch.setattr(body, "BLOCK_BYTES", 3)
        assert signatures(sign(content, canonicalize=(canonical, canonical), length=length)) == PASS

    def test_long_key(self):
        assert signatures(sign(bits=2048), key(2048)[1]) == PASS

    @pytest.mark.parametrize(
        ("change", "result", "reason"),
        [
            (lambda text: text + b"more\r\n", "fail", "body hash did not verify"),
            (lambda text: text.replace(b"Subject: H", b"Subject: J"), "fail", "signature did not verify"),
            (lambda text: text.replace(b"\r\nFrom:", b"\r\nFrom: x@y.example\r\nFrom:"), "fail", "did not verify"),
            (lambda text: text.replace(b"rsa-sha256", b"rsa-sha1"), "permerror", "rsa-sha1 is not valid"),
            (lambda text: text.replace(b"rsa-sha256", b"rsa-md5"), "permerror", "unknown signature algorithm"),
            (lambda text: text.replace(b"v=1;", b"v=1; x=1;"), "fail", "x= value is past"),
            (lambda text: text.replace(b"v=1;", b""), "permerror", "missing b'v'="),
            (lambda text: text.replace(b"v=1;", b"v=1; v=1;"), "permerror", "b'v'"),
            (lambda text: text.replace(b"c=relaxed", b"c=odd"), "permerror", "invalid c= value"),
            (lambda text: text.replace(b"v=1;", b"v=1; l=9999;"), "permerror", "l= exceeds"),
            (lambda text: text.replace(b"v=1;", b"v=1;" + b" " * 200), "permerror", "signature too large"),
            (lambda text: text.replace(b"v=1;", b"v=1; z=" + b"x" * 9000 + b";"), "permerror", "signature too large"),
            (lambda text: text.replace(b"v=1;", b"v=1; h=" + b"a:" * 300 + b"from;").replace(b" h=from", b" y=from"),
             "permerror", "too many signed fields"),
            (lambda text: text.replace(b"; h=from : ", b"; h="), "permerror", "From is not signed"),
            (lambda text: text.replace(b"d=sender.example", b"d=(x)"), "permerror", "d= value is not valid"),
            (lambda text: text.replace(b"From: Alice", b"From : Alice"), "fail", "did not verify"),
            (lambda text: text.replace(b"Subject:", b"Subject :"), "permerror", "Unexpected characters"),
            (lambda text: b"X: " + b"a" * 300_000 + b"\r\n" + text, "neutral", "header section too large"),
            (lambda text: b"a:\r\n" * 1001 + text, "neutral", "header section too large"),
        ],
    )  # fmt: skip
    def test_invalid(self, change, result, reason):
        changed = change(sign(include_headers=[b"from", b"to", b"subject"]))
        (found,) = signatures(changed)
        assert found.result == result
        assert reason in found.reason

    def test_hashes_of_one_body_are_few(self):
        message = MESSAGE
        for number in range(5):
            signed = sign(MESSAGE[:-2], f"d{number}.example", length=True)
            field = signed[: -len(MESSAGE[:-2])].replace(b" l=", b" l=1%d; y=" % number)
            message = field + message
        found = signatures(message)
        assert [each.reason for each in found][:4] == ["body hash did not verify"] * 4
        assert found[4].reason == "too many different hashes of the body"

    def test_a_part_of_the_body_is_not_the_message(self):
        (found,) = signatures(sign(MESSAGE[:-2], length=True) + b"more\r\n")
        assert (found.result, overall([found])) == ("policy", "policy")

    @pytest.mark.parametrize(
        ("record", "result"),
        [
            ("", "permerror"),
            ("v=DKIM1; p=", "permerror"),
            ("v=DKIM1; p=!", "permerror"),
            ("v=DKIM1; p=AAAA", "permerror"),
            ("v=DKIM2; p=AAAA", "permerror"),
            ("v=spf1 -all", "permerror"),
            ("v=DKIM1; k=odd; p=AAAA", "permerror"),
            ("v=DKIM1; k=ed25519; p=AAAA", "permerror" if NACL else "neutral"),
            (key(512)[1], "fail"),
            (LARGE_KEY, "permerror"),
        ],
    )  # fmt: skip
    def test_keys(self, record, result):
        (found,) = signatures(sign(), record)
        assert (found.result, found.domain) == (result, "sender.example")

    def test_key_that_is_too_short_or_too_long(self, monkeypatch):
        monkeypatch.setattr("mailgate.authentication.signatures.MIN_KEY_BITS", 2048)
        assert signatures(sign())[0].reason.startswith("public key too small")
        monkeypatch.setattr("mailgate.authentication.signatures.MAX_KEY_BITS", 512)
        assert signatures(sign())[0].reason == "key too large"

    def test_failure_of_dns_is_temporary(self):
        found = signatures(sign(), {})
        assert (found, overall(found)) == ([Signature("temperror", *S1, "key not available")], "temperror")

    def test_several(self):
        message = sign(sign(), "other.example").replace(b"other.example", b"wrong.example")
        assert [each.result for each in signatures(message)] == ["fail", "pass"]
        assert overall(signatures(message)) == "pass"
        many = MESSAGE
        for number in range(8):
            many = sign(many, f"d{number}.example")
        assert [each.domain for each in signatures(many)] == [f"d{number}.example" for number in (7, 6, 5, 4, 3)]

    @pytest.mark.parametrize("content", [MESSAGE, b"", b"\r\n", b"\r\nDKIM-Signature: v=1\r\n", b"Subject: x\r\n"])
    def test_none(self, content):
        assert signatures(content) == []
        assert overall([]) == "none"

    def test_message_of_rfc_8463(self):
        # Its appendix A, signed by Ed25519, which dkimpy verifies with PyNaCl, and by RSA.
        message = (
            """
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".lstrip()
            .replace("\n", "\r\n")
            .encode()
        )
        records = {
            "brisbane._domainkey.football.example.com":
                "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            "test._domainkey.football.example.com": (
                "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOK"
                "b2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBf"
                "O2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
            ),
        }  # fmt: skip
        assert [each.result for each in signatures(message, records)] == ["pass" if NACL else "neutral", "pass"]


class TestBody:
    @pytest.mark.parametrize("relaxed", [False, True])
    @pytest.mark.parametrize(
        "text",
        [b"", b"\r\n", b"\r\n\r\n", b" \r\n", b"a", b"a\r\n",
         b"a \t b \r\n\r\n \r\n", b"\ta\r\n  b\r\n", b" " * 20 + b"\r\n", b"a\r\n" * 9],
    )  # fmt: skip
    @pytest.mark.parametrize("block", [1, 3, 1000])
    def test_as_the_library_computes_it(self, relaxed, text, block, monkeypatch):
        monkeypatch.setattr(body, "BLOCK_BYTES", block)
        wanted = (Relaxed if relaxed else Simple).canonicalize_body(text)
        for length in (None, 0, 2, 5):
            expected = hashlib.sha256(wanted[:length]).digest(), len(wanted)
            assert body.Body(b"x" + text, 1).hash("sha256", relaxed=relaxed, length=length) == expected


class TestArc:
    def test_chain(self):
        once = seal(MESSAGE)
        assert chain(once) == Chain("pass", ("list.example",), True)
        assert chain(seal(once, "other.example", "arc=pass; dmarc=fail")) == Chain(
            "pass", ("other.example", "list.example"), True
        )
        assert chain(MESSAGE) == Chain("none")

    @pytest.mark.parametrize(
        ("results", "passed"),
        [
            ("dmarc=fail header.from=x.example", False),
            ("spf=pass", False),
            ("spf=pass smtp.mailfrom=x; dmarc = pass header.from=y", True),
            ("spf=pass (; dmarc=pass) smtp.mailfrom=x", False),
            ("dmarc=passed", False),
            ("dmarc=pass (p=none (dis=none)) header.from=x", True),
            ("spf=pass (a (b) ; dmarc=pass) smtp.mailfrom=x", False),
            ('spf=pass reason="x; dmarc=pass" smtp.mailfrom=x; dmarc=fail', False),
        ],
    )
    def test_what_the_first_sealer_reports(self, results, passed):
        assert chain(seal(MESSAGE, results=results)).dmarc_passed is passed

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text + b"more\r\n",
            lambda text: text.replace(b"Subject: H", b"Subject: J"),
            lambda text: text.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=2"),
            lambda text: text.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=99999999999999999999"),
            lambda text: text.replace(b"dmarc=pass", b"dmarc=fail"),
            lambda text: text.replace(b"cv=none", b"cv=pass"),
            lambda text: text.replace(b"ARC-Authentication-Results", b"X"),
            lambda text: b"ARC-Seal: i=1\r\n" + text,
            lambda text: b"ARC-Seal: i=1; a=b\r\n" * 50 + text,
            lambda text: text.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=1;" + b" " * 200),
        ],
    )
    def test_broken(self, change):
        assert chain(change(seal(MESSAGE))).result == "fail"

    def test_failure_of_dns_is_temporary(self):
        assert chain(seal(MESSAGE), {}) == Chain("temperror")

    def test_own_signature_of_the_sender_is_evaluated_too(self):
        message = seal(sign())
        assert (signatures(message)[0].result, chain(message).result) == ("pass", "pass")


@pytest.mark.parametrize(
    "header",
    [
        b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; bh=AAAA; h=from; b=" + b"\r\n b" * 2000,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; bh=AAAA; h=from; b=" + b"\r\n " * 2600,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; bh=AAAA; h=from; b=" + (b" " * 99 + b"!") * 80,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; b=AAAA; bh=AAAA; h=from" + b" " * 99 + b"x" * 4000,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; b=AA; bh=AA; h=from:" + b"%d:" * 190 % (*range(190),),
        b"DKIM-Signature: " + b";" * 8000,
        b"ARC-Seal: i=1; " + b"; b" * 2000,
    ],
)  # fmt: skip
def test_hostile_headers_end_soon(header, cpu_seconds):
    content = (header + b"\r\n") * 5 + b"a:\r\n" * 900 + MESSAGE

    def evaluate() -> None:
        results = {each.result for each in signatures(content)}
        assert results <= {"permerror", "fail"}
        assert chain(content).result in ("none", "fail")

    assert cpu_seconds(evaluate) < 1


def test_all_keys_are_looked_up_before_anything_is_verified(monkeypatch):
    verified = []
    monkeypatch.setattr(dkim, "evaluate_pk", lambda *_arguments: verified.append(1))
    with pytest.raises(NeededError) as needed:
        SignedMessage(sign(sign(), "other.example")).signatures({Lookup("TXT", "s1._domainkey.other.example"): (b"x",)})
    assert needed.value.lookup.name == "s1._domainkey.sender.example"
    assert not verified
