# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on messages: infected parts, encrypted content, scanner limits."""

from __future__ import annotations

import base64
from email import message_from_bytes

import pytest
from fake_clamd import EICAR, find_eicar

from mailgate.config import Attachments
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy
from mailgate.content.screen import Rules, screen
from mailgate.scan.clamd import Finding, ScanError, Verdict, parse_answer


def multipart(boundary: str, *parts: bytes, preamble: bytes = b"", epilogue: bytes = b"\r\n") -> bytes:
    delimiter = b"--" + boundary.encode()
    body = preamble + b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--" + epilogue
    return b'Content-Type: multipart/mixed; boundary="' + boundary.encode() + b'"\r\n\r\n' + body


async def by_content(pieces) -> Verdict:
    return parse_answer(find_eicar(b"".join(pieces)))


INFECTED = (
    b"Content-Type: application/zip; name=evil.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode(EICAR)
)


CLEAN = b"Content-Type: text/plain\r\n\r\nhello"


def judge(raw: bytes, scan=by_content, **changes):
    rules = Rules(ContentPolicy(**changes), Attachments(), Notice("ja", "gw1.univ.example"))
    return screen(raw, scan, rules)


class TestScreen:
    @pytest.mark.parametrize(
        ("raw", "removed"),
        [
            (multipart("b", CLEAN, INFECTED), 1),
            (multipart("b", INFECTED, CLEAN, INFECTED), 2),
            (multipart("b", CLEAN, multipart("c", CLEAN, INFECTED)), 1),
            (multipart("b", CLEAN, b"Content-Type: message/rfc822\r\n\r\n" + multipart("c", CLEAN, INFECTED)), 1),
        ],
    )
    async def test_only_infected_parts_are_replaced(self, raw, removed):
        judged = await judge(raw)
        assert judged.refusal is None
        assert len(judged.removed) == removed
        kept = raw.split(INFECTED)
        at = 0
        for piece in kept:
            at = judged.content.index(piece, at) + len(piece)
        assert INFECTED not in judged.content
        texts = [
            part.get_payload(decode=True).decode()
            for part in message_from_bytes(judged.content).walk()
            if part.get_content_disposition() == "inline"
        ]
        assert len(texts) == removed
        assert "evil.zip" in texts[0]
        assert "Eicar-Signature" in texts[0]
        assert texts[0].index("取り除きました") < texts[0].index("has removed it")

    async def test_an_infection_outside_parts_or_in_ambiguous_ones_rejects_the_message(self):
        for raw in (
            multipart("b", CLEAN, preamble=EICAR + b"\r\n"),
            multipart("b", CLEAN, INFECTED, epilogue=b"\r\n" + EICAR),
            multipart("b", CLEAN, INFECTED).replace(b"--b--", b"--c--"),
            multipart("b", *[CLEAN] * 200, INFECTED),
        ):
            judged = await judge(raw)
            assert judged.refusal
            assert judged.refusal.code == 554
            assert judged.content == b""
            assert judged.reason

    async def test_a_message_still_infected_after_stripping_is_rejected(self):
        async def stubborn(pieces) -> Verdict:
            return Verdict(Finding.INFECTED, "Whole") if b"Subject" in b"".join(pieces) else await by_content(pieces)

        judged = await judge(b"Subject: x\r\n" + multipart("b", CLEAN, INFECTED), stubborn)
        assert judged.refusal
        assert "still infected" in judged.reason

    @pytest.mark.parametrize(
        ("policy", "refused", "stripped"), [("strip", False, True), ("refuse", True, False), ("deliver", False, False)]
    )
    async def test_encrypted_content_has_its_own_policy(self, policy, refused, stripped):
        async def scan(pieces) -> Verdict:
            if b"secret" in b"".join(pieces):
                return parse_answer(b"stream: Heuristics.Encrypted.Zip FOUND\0")
            return parse_answer(b"stream: OK\0")

        raw = multipart("b", CLEAN, b"Content-Type: application/zip\r\n\r\nsecret")
        judged = await judge(raw, scan, encrypted=policy)
        assert bool(judged.refusal) == refused
        assert bool(judged.removed) == stripped
        assert (judged.content == raw) == (policy == "deliver")

    async def test_over_limits_is_not_a_verdict_unless_rejected_by_policy(self):
        async def scan(_) -> Verdict:
            return parse_answer(b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0")

        with pytest.raises(ScanError):
            await judge(multipart("b", CLEAN), scan, over_limits="defer")
        assert (await judge(multipart("b", CLEAN), scan, over_limits="refuse")).refusal.code == 554
