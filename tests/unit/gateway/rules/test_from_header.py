# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the header field From, by real SMTP: decided when the message has been received, for all recipients."""

from __future__ import annotations

import pytest
from gateway_doubles import Campus
from rule_clients import ALICE, BOB, CLIENT, OK, OTHER, connect, rule

ACCEPTED = "250 2.0.0 Message accepted"
FORGED = b"From: Dean <dean@a.univ.example>\r\nSubject: x\r\n\r\nHello.\r\n"
PLAIN = b"From: a@sender.example\r\nSubject: x\r\n\r\nHello.\r\n"


async def reply_to(campus: Campus, content: bytes, *recipients: str, address: str = CLIENT) -> str:
    """Return the reply to the end of data."""
    client = await connect(campus, address)
    recipients = recipients or (ALICE,)
    assert await client.start(*recipients) == [OK] * len(recipients)
    return await client.send(content)


@pytest.mark.parametrize(
    ("when", "refused", "passed"),
    [
        ('from_is = ["empty"]', b"Subject: x", b"From: a@b.example"),
        ('from_is = ["empty"]', b"From: undisclosed", b"FROM : a@b.example"),
        ('from_is = ["several"]', b"From: a@b.example\r\nFrom: c@d.example", b"From: a@b.example, c@d.example"),
        ('from_is = ["own"]', b"From: x@A.univ.example", b"From: x@c.univ.example"),
        ('from_is = ["own"]', b"From: a@b.example,\r\n <x@b.univ.example>", b'From: "x@b.univ.example" <a@b.example>'),
        ('from_header = ["spam.example"]', b"From: =?utf-8?q?x?= <a@SPAM.example>", b"From: a@x.spam.example"),
        ('from_header = ["win@"]', b"From: Win@x.example (you)", b"From: you@x.example (win@x.example)"),
    ],
)
async def test_conditions(with_rules, when, refused, passed):
    campus = await with_rules(rule("r", "refuse", when))
    assert (await reply_to(campus, refused + b"\r\n\r\nFrom: x@y.example\r\n")).startswith("550 5.7.1 From address <")
    assert (await reply_to(campus, passed + b"\r\n\r\nFrom: x@a.univ.example\r\n")).startswith(ACCEPTED)
    assert len(campus.a.received) == 1
    refusal, _accepted = campus.events("message")
    assert (refusal["rule"], refusal["score"]) == ("r", 0)
    assert campus.count("rule:r") == 1


async def test_message_without_a_header_section_has_no_from(with_rules):
    campus = await with_rules(rule("r", "refuse", 'from_is = ["empty"]'))
    assert (await reply_to(campus, b"\r\nFrom: a@b.example\r\n\r\n")).startswith("550")


async def test_own_domain_from_outside_but_not_from_a_forwarder(with_rules):
    campus = await with_rules(
        rule("forged", "refuse", 'from_is = ["own"]', unless='client = ["@forwarders"]'),
        lists=f'[lists.forwarders]\nkind = "network"\nentries = ["{OTHER}"]\n',
    )
    assert await reply_to(campus, FORGED) == "550 5.7.1 From address <dean@a.univ.example> refused"
    assert (await reply_to(campus, FORGED, address=OTHER)).startswith(ACCEPTED)


async def test_score_of_the_envelope_and_of_the_message_add_up(with_rules):
    campus = await with_rules(
        rule("sender", "score", 'sender = ["sender.example"]', "score = 5")
        + rule("own", "score", 'from_is = ["own"]', 'score = 5\nreply = "5.7.1 {from} is ours"'),
    )
    assert (await reply_to(campus, PLAIN)).startswith(ACCEPTED)
    assert campus.a.received[0].content.count(b"X-Mailgate-Tag: score=5 rules=sender\r\n") == 1
    assert (await reply_to(campus, FORGED)).startswith("550 5.7.1 Sender address <a@sender.example> refused")
    # Each rule is counted once for a recipient.
    assert (campus.count("rule:sender"), campus.count("rule:own")) == (2, 1)
    assert [event["score"] for event in campus.events("message")] == [5, 10]


async def test_allow_by_a_rule_for_the_envelope(with_rules):
    campus = await with_rules(
        rule("partner", "allow", f'client = ["{OTHER}"]') + rule("own", "refuse", 'from_is = ["own"]')
    )
    assert (await reply_to(campus, FORGED, address=OTHER)).startswith(ACCEPTED)
    assert (await reply_to(campus, FORGED)).startswith("550")


class TestRecipients:
    OTHERS = '[domains."b.univ.example"]\nrules = "{}"\n'

    async def test_refused_if_that_is_decided_for_all(self, with_rules):
        campus = await with_rules(rule("own", "refuse", 'from_is = ["own"]'), domains=self.OTHERS.format("strict"))
        assert (await reply_to(campus, FORGED, ALICE, BOB)).startswith("550")
        assert not campus.a.received
        assert not campus.b.received

    @pytest.mark.parametrize("mode", ["ignore", "log"])
    async def test_tagged_for_some_if_others_get_it(self, with_rules, mode):
        campus = await with_rules(rule("own", "refuse", 'from_is = ["own"]'), domains=self.OTHERS.format(mode))
        assert (await reply_to(campus, FORGED, ALICE, BOB)).startswith(ACCEPTED)
        assert b"\r\nX-Mailgate-Tag: score=0 rules=own\r\nFrom: " in campus.a.received[0].content
        assert b"X-Mailgate-Tag" not in campus.b.received[0].content
        assert (await reply_to(campus, FORGED, BOB)).startswith(ACCEPTED)
        assert len(campus.events("rule_log_only")) == (2 if mode == "log" else 0)

    async def test_a_recipient_is_deferred_rather_than_refused(self, with_rules):
        campus = await with_rules(
            rule("b", "defer", 'from_is = ["own"]\nrecipient = ["bob@"]') + rule("own", "refuse", 'from_is = ["own"]')
        )
        assert (await reply_to(campus, FORGED, ALICE, BOB)).startswith("450 4.7.1 ")

    async def test_postmaster_of_the_gateway_is_always_reached(self, with_rules):
        campus = await with_rules(rule("own", "refuse", 'from_is = ["own"]'))
        assert (await reply_to(campus, FORGED, "postmaster")).startswith(ACCEPTED)


async def test_japanese_reply_with_smtputf8(with_rules):
    campus = await with_rules(rule("own", "refuse", 'from_is = ["own"]'))
    client = await connect(campus)
    await client.say("MAIL FROM:<a@x.example> SMTPUTF8")
    await client.say(f"RCPT TO:<{ALICE}>")
    first, second = (await client.send(FORGED)).split("\n")
    assert first == "550-5.7.1 From address <dean@a.univ.example> refused"
    assert second.startswith("550 5.7.1 ")
    assert not second.isascii()


async def test_rules_for_the_envelope_need_nothing_of_the_message(with_rules, monkeypatch):
    campus = await with_rules(rule("r", "refuse", 'helo_is = ["bare"]'))
    monkeypatch.setattr("mailgate.rules.screening.Screening.begin_message", None)
    assert (await reply_to(campus, PLAIN)).startswith(ACCEPTED)
