# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfer encodings: all the ways in which mail readers decode them."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.content import transfer


class TestQuotedPrintable:
    @pytest.mark.parametrize(
        ("body", "readings"),
        [
            (b"=41=\r\nB", {b"AB"}),
            (b"=41\r\n=42", {b"A\r\nB", b"A\nB"}),
            (b"=41= \r\nB", {b"AB", b"A= \r\nB", b"A= \nB"}),
            (b"=41=\t\r\nB", {b"AB", b"A=\t\r\nB"}),
            (b"A \r\nB", {b"A\r\nB", b"A\nB", b"A \r\nB", b"A \nB"}),
            (b"==41", {b"=A", b"A"}),
            (b"A=4x", {b"A=4x", b"A4x"}),
            (b"A=", {b"A=", b"A"}),
            (b"=0D\r\n", {b"\r\r\n", b"\r\n"}),
        ],
    )
    def test_each_reading_is_there(self, body, readings):
        assert readings <= set(transfer.quoted_decodings(body))

    @given(st.binary(max_size=300))
    def test_binary_that_is_encoded_as_it_should_be_has_one_reading(self, payload):
        body = b"=\r\n".join(b"=%02X" % byte for byte in payload)
        assert set(transfer.quoted_decodings(body)) == {payload}


class TestBase64:
    @given(st.binary(min_size=1, max_size=300))
    def test_plain_base64_has_one_reading(self, payload):
        assert transfer.base64_decodings(base64.encodebytes(payload).replace(b"\n", b"\r\n")) == [
            payload,
            *([payload[: len(payload) // 3 * 3]] if len(payload) % 3 else []),
        ]

    @pytest.mark.parametrize(
        ("body", "reading"),
        [
            (b"QUI=\r\nQ0Q=", b"ABCD"), (b"QUI=\r\nQ0Q=", b"AB"), (b"Q!U!J!D", b"ABC"), (b"QUJ", b"AB"),
            (b"QUJDR", b"ABC"),
            (b"_-__", b"\xff\xef\xff"), (b"--QUJD", b"ABC"), (b"", b""),
        ],
    )  # fmt: skip
    def test_each_reading_is_there(self, body, reading):
        assert reading in transfer.base64_decodings(body)


class TestUuencode:
    def test_an_invalid_character_ends_nothing(self):
        line = binascii.b2a_uu(bytes(45)).rstrip(b"\n")
        body = line[:5] + b"\x80" + line[6:] + b"\r\n" + binascii.b2a_uu(b"abc").rstrip()
        assert transfer.uu_decodings(body)[0] == b"abc"
        assert {len(data) for data in transfer.uu_decodings(body)} == {3, 48}

    def test_a_foreign_character_may_be_left_out(self):
        line = binascii.b2a_uu(bytes(range(45))).rstrip(b"\n")
        assert bytes(range(45)) in transfer.uu_decodings(line[:9] + b"\x80" + line[9:])
