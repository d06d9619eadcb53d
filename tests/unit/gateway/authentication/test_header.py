# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses in From as mail clients may read them."""

from __future__ import annotations

import pytest

from mailgate.authentication.header import MAX_FIELD_BYTES, from_mailboxes, mailboxes_in


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("Alice <alice@a.example>", ["alice@a.example"]),
        ("alice@A.example.", ["alice@a.example"]),
        ('"x@y.example" <b@c.example>', ["b@c.example"]),
        ("a@b.example, (d@e.example) g@h.example", ["a@b.example", "g@h.example"]),
        ("team: a@b.example, d@e.example;", ["a@b.example", "d@e.example"]),
        ("<@x.example:a@b.example>", ["a@b.example"]),
        ("a@b.example <d@e.example> <g@h.example>", ["d@e.example", "g@h.example"]),
        ("< a (c) @ b.example >", ["a@b.example"]),
        ("Ü <ü@ドメイン.example>", ["ü@xn--eckwd4c7c.example"]),
        ("", []),
        ("<>", []),
        ("no address", []),
        ("a@", []),
        ("@", []),
        ("a@..", []),
    ],
)
def test_addresses(value, addresses):
    assert [str(mailbox) for mailbox in mailboxes_in(value)] == addresses


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        ('"a@x.example <dean@univ.example>', "univ.example"),
        ('"dean@univ.example" <a@x.example', "x.example"),
        ("a@x.example@univ.example", "univ.example"),
        (r"a (\) x@x.example) @univ.example", "univ.example"),
    ],
)
def test_malformed_lists_hide_no_address(value, domain):
    assert domain in [mailbox.domain for mailbox in mailboxes_in(value)]


def test_fields():
    content = b"Subject: x\r\nFROM : a@b.example,\r\n d@e.example\r\nfrom:\r\n\r\nFrom: g@h.example\r\n"
    assert [[str(each) for each in field] for field in from_mailboxes(content)] == [["a@b.example", "d@e.example"], []]


@pytest.mark.parametrize("piece", ['"', "\\", '\\"', "(", "<", "<a@b", "a@b,", " ", "(<", "@", ":"])
def test_time_is_bounded(piece, cpu_seconds):
    value = (piece * MAX_FIELD_BYTES)[:MAX_FIELD_BYTES]
    assert cpu_seconds(lambda: mailboxes_in(value)) < 0.3
