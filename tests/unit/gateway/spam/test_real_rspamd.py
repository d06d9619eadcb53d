# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spam scan with the real daemon: what it is told, and what it says."""

from __future__ import annotations

import asyncio

import pytest
from real_rspamd import GTUBE
from rule_clients import ALICE, BOB, CLIENT, OTHER
from spam_mail import ACCEPTED, REFUSED, RELAYING, send, spam_fields

from mailgate.spam.rspamd import check, ping

pytestmark = pytest.mark.slow
HAM = b"From: a@sender.example\r\nSubject: hello\r\nMessage-ID: <1@sender.example>\r\n\r\nHello.\r\n"


async def test_gtube_is_refused(with_rspamd, real_rspamd):
    campus = await with_rspamd(real_rspamd.address, 'spam = "refuse"\nrefuse_score = 50')
    assert await send(campus, content=HAM + GTUBE + b"\r\n") == REFUSED
    (event,) = campus.events("message")
    assert (event["spam"], event["spam_symbols"]) == ("refuse", ["GTUBE"])
    assert (await send(campus, content=HAM)).startswith(ACCEPTED)
    assert "X-Spam: Yes" not in spam_fields(campus.a.received[0].content)


async def test_score_of_a_rule(with_rspamd, real_rspamd):
    campus = await with_rspamd(real_rspamd.address)
    assert (await send(campus, content=HAM.replace(b"hello", b"an offer"))).startswith(ACCEPTED)
    assert "X-Spam: Yes" in spam_fields(campus.a.received[0].content)
    assert campus.events("message")[0]["spam_symbols"][0] == "SUBJECT_OFFER"


@pytest.mark.parametrize(
    ("recipients", "given", "facts"),
    [
        ((ALICE,), {}, {"CLIENT_198_18_9_9", "HELO_MAIL_SENDER_EXAMPLE", "FROM_SENDER_EXAMPLE"}),
        (
            (ALICE, BOB),
            {"address": OTHER, "sender": "", "helo": "pc"},
            {"NO_HOSTNAME", "NULL_SENDER", "TWO_RECIPIENTS"},
        ),
        ((ALICE,), {"address": RELAYING, "helo": "pc", "sender": "b@a.univ.example"}, {"NO_HOSTNAME", "RELAYED"}),
    ],
)
async def test_understands_the_facts(with_rspamd, real_rspamd, recipients, given, facts):
    campus = await with_rspamd(real_rspamd.address, 'relayed = "tag"')
    assert (await send(campus, *recipients, content=HAM, **given)).startswith(ACCEPTED)
    assert set(campus.events("message")[0]["spam_symbols"]) == facts


async def test_unix_socket(real_rspamd):
    deadline = asyncio.get_running_loop().time() + 60
    await ping(str(real_rspamd.socket), deadline)
    headers = (("IP", CLIENT), ("Rcpt", f"<{ALICE}>"))
    content = HAM + b"x" * 76 + b"\r\n" * 20_000
    assert (await check(str(real_rspamd.socket), content, headers, deadline)).action == "no action"


async def test_content_that_is_no_mail(real_rspamd):
    deadline = asyncio.get_running_loop().time() + 60
    for content in (b"\r\n", b"\xff" * 1000, b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" * 50):
        score = await check(("127.0.0.1", real_rspamd.port), content, (("IP", CLIENT),), deadline)
        assert -100 < score.score < 100
