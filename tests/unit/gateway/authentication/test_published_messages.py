# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed messages that others have published, with their keys: of dkimpy 1.1.8 (RFC 6376), and of authheaders 0.16.3,
whose chains are those of Valimail's ARC test suite."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_signatures import NACL, chain, signatures

MESSAGES = Path(__file__).parent / "vectors" / "signed"
KEYS = yaml.safe_load((MESSAGES / "keys.yml").read_text())
RECORDS = {
    "test._domainkey.football.example.com": KEYS["test"],
    "brisbane._domainkey.football.example.com": KEYS["ed25519"],
    "dummy._domainkey.example.org": KEYS["dummy"],
}
ED25519 = ("pass" if NACL else "neutral", "football.example.com", "brisbane")
RSA = ("pass", "football.example.com", "test")


def message(name: str) -> bytes:
    return (MESSAGES / name).read_bytes().replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rfc6376.signed.msg", [ED25519, RSA]),
        ("rfc6376.signed.rsa.msg", [RSA]),
        # Its tags were changed after it was signed.
        ("rfc6376.signed.no_t.msg", [("fail", *RSA[1:])]),
        ("arc.pass.msg", []),
    ],
)
def test_signatures_of_messages(name, expected):
    assert [each[:3] for each in signatures(message(name), RECORDS)] == expected


@pytest.mark.parametrize(
    ("key", "result"),
    [
        ("test", "pass"),
        ("without_k", "pass"),
        ("dummy", "pass"),
        ("unknown_k", "permerror"),
        ("bad_version", "permerror"),
    ],
)
def test_key_records(key, result):
    (found,) = signatures(message("rfc6376.signed.rsa.msg"), KEYS[key])
    assert found.result == result


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"Is dinner ready?", b"Is lunch ready?"),
        lambda text: text.replace(b"hungry", b"thirsty"),
        lambda text: text.replace(b"d=football.example.com", b"d=example.com", 1),
        lambda text: text.replace(b"c=simple/simple", b"c=relaxed/relaxed"),
        lambda text: text.replace(b"\r\nTo:", b"\r\nSubject: 2\r\nTo:"),
    ],
)
def test_changed_message(change):
    original = message("rfc6376.signed.rsa.msg")
    assert change(original) != original
    (found,) = signatures(change(original), KEYS["test"])
    assert found.result == "fail"


def test_chain_of_a_forwarder():
    found = chain(message("arc.pass.msg"), RECORDS)
    assert (found.result, found.sealers, found.dmarc_passed) == ("pass", ("example.org",), True)


@pytest.mark.parametrize(
    "content",
    [
        message("arc.changed.msg"),
        message("arc.pass.msg").replace(b"cv=none", b"cv=pass"),
        message("arc.pass.msg").replace(b"dmarc=pass", b"dmarc=fail", 1),
        message("arc.pass.msg").replace(b"Subject: Example 1", b"Subject: Example 2"),
        message("arc.pass.msg").replace(b"i=1; lists", b"i=2; lists"),
    ],
    ids=["body", "cv", "results", "header", "instance"],
)
def test_chain_that_is_broken(content):
    assert content != message("arc.pass.msg")
    assert chain(content, RECORDS).result == "fail"
