# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision on a scanned message, and the fields that it gets."""

from __future__ import annotations

import email
from email import policy

import pytest

from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import MessageVariant
from mailgate.spam.decision import Decision, Mark, action_of, decide
from mailgate.spam.fields import fields, with_subject_tag, without_forged
from mailgate.spam.rspamd import Score
from mailgate.spam.scanner import FAILED, NotScanned
from mailgate.spam_settings import Rspamd

A, B = Mailbox("a", "a.example"), Mailbox("b", "b.example")
HAM, MIDDLE, SPAM = (Score(score, 15.0, "no action") for score in (1.0, 7.5, 15.0))


@pytest.mark.parametrize(
    ("score", "choice", "action"),
    [
        (5.99, "tag", "pass"), (6.0, "tag", "tag"), (900.0, "tag", "tag"),
        (14.99, "refuse", "tag"), (15.0, "refuse", "refuse"),
        (3.99, "strict", "pass"), (4.0, "strict", "tag"), (10.0, "strict", "refuse"),
        (900.0, "off", "pass"), (-5.0, "strict", "pass"),
    ],
)  # fmt: skip
def test_thresholds(score, choice, action):
    assert action_of(Score(score, 15.0, "no action"), Rspamd(), choice) == action


@pytest.mark.parametrize(
    ("result", "settings", "choice", "accepted", "action"),
    [
        (SPAM, {"refuse_score": 0}, "refuse", False, "tag"),
        (SPAM, {"refuse_score": 0, "tag_score": 0}, "refuse", False, "pass"),
        (SPAM, {}, "refuse", True, "tag"),
        # A module of rspamd rejects it.
        (Score(0.0, 15.0, "reject"), {}, "refuse", False, "refuse"),
        (Score(0.0, 15.0, "reject"), {"refuse_score": 0}, "refuse", False, "refuse"),
        (Score(0.0, 15.0, "reject"), {}, "tag", False, "tag"),
        (Score(0.0, 15.0, "reject"), {}, "off", False, "pass"),
        (Score(15.0, 15.0, "reject", skipped=True), {"refuse_score": 50}, "refuse", False, "refuse"),
        # Rspamd's own threshold does not count.
        (Score(9.0, 8.0, "reject"), {}, "refuse", False, "tag"),
        (Score(1.0, 15.0, "soft reject"), {}, "refuse", False, "pass"),
        (Score(1.0, 15.0, "soft reject"), {"soft_reject": "defer"}, "refuse", False, "defer"),
        (Score(1.0, 15.0, "soft reject"), {"soft_reject": "defer"}, "refuse", True, "pass"),
        (Score(1.0, 15.0, "soft reject"), {"soft_reject": "defer"}, "tag", False, "pass"),
        (Score(1.0, 15.0, "greylist"), {"soft_reject": "defer"}, "refuse", False, "pass"),
        (MIDDLE, {"greylist_score": 7}, "refuse", False, "greylist"),
        (MIDDLE, {"greylist_score": 8}, "refuse", False, "tag"),
        (MIDDLE, {"greylist_score": 7}, "tag", False, "tag"),
        (MIDDLE, {"greylist_score": 7}, "refuse", True, "tag"),
        (SPAM, {"greylist_score": 7}, "refuse", False, "refuse"),
        (FAILED, {}, "strict", False, "pass"),
        (FAILED, {"on_failure": "defer"}, "tag", False, "defer"),
        (FAILED, {"on_failure": "defer"}, "tag", True, "pass"),
        (FAILED, {"on_failure": "defer"}, "off", False, "pass"),
        (NotScanned("too large"), {"on_failure": "defer"}, "strict", False, "pass"),
    ],
)
def test_actions(result, settings, choice, accepted, action):
    assert action_of(result, Rspamd(**settings), choice, accepted=accepted) == action


@pytest.mark.parametrize(
    ("result", "choices", "reply", "effect", "spam"),
    [
        (SPAM, ("refuse", "strict"), 554, "refuse", ()),
        (SPAM, ("refuse", "tag"), None, "tag", (A, B)),
        (SPAM, ("refuse", "off"), None, "tag", (A,)),
        (MIDDLE, ("tag", "off"), None, "tag", (A,)),
        (HAM, ("refuse", "strict"), None, "pass", ()),
        (FAILED, ("refuse", "strict"), 451, "defer", ()),
        (FAILED, ("refuse", "off"), None, "failed", ()),
        (NotScanned("large"), ("refuse", "strict"), None, "too_large", ()),
    ],
)
def test_one_reply_for_all(result, choices, reply, effect, spam):
    decided = decide(result, Rspamd(on_failure="defer"), dict(zip((A, B), choices, strict=True)), frozenset())
    assert (decided.reply.code if decided.reply else None, decided.effect) == (reply, effect)
    assert tuple(mailbox for mailbox, mark in decided.marks.items() if mark.spam) == spam
    assert [mailbox for mailbox, mark in decided.marks.items() if not mark.fields] == [
        mailbox for mailbox, choice in zip((A, B), choices, strict=True) if choice == "off" and not reply
    ]


def test_mixed_deferral_is_temporary():
    settings = Rspamd(soft_reject="defer", strict_refuse_score=5)
    decided = decide(Score(7.0, 15.0, "soft reject"), settings, {A: "refuse", B: "strict"}, frozenset())
    assert decided.reply.temporary


@pytest.mark.parametrize(
    ("choices", "greylisted"),
    [(("refuse", "refuse"), (A, B)), (("refuse", "strict"), (A,)), (("refuse", "tag"), ()), (("refuse", "off"), ())],
)
def test_greylisting_waits_for_no_other_recipient(choices, greylisted):
    settings = Rspamd(greylist_score=5, strict_refuse_score=7)
    decided = decide(MIDDLE, settings, dict(zip((A, B), choices, strict=True)), frozenset())
    assert (decided.reply, decided.effect, decided.greylisted) == (None, "tag", greylisted)
    assert decided.marks[A].spam


def test_variants_by_recipient():
    decided = Decision(None, "tag", {A: Mark(b"X-Spam: Yes\r\n", True), B: Mark()})
    first, second = decided.applied([MessageVariant([b"X: y\r\n", b"Subject: s\r\n\r\nt\r\n"])], (A, B), "[SPAM]")
    assert first == MessageVariant(
        [b"X-Spam: Yes\r\n", b"X: y\r\n", b"Subject: [SPAM]\r\n s\r\n\r\nt\r\n"], frozenset({A})
    )
    assert second == MessageVariant([b"X: y\r\n", b"Subject: s\r\n\r\nt\r\n"], frozenset({B}))
    same = Decision(None, "pass", {A: Mark(b"F: 1\r\n"), B: Mark(b"F: 1\r\n")})
    assert same.applied([MessageVariant([b"x"])], (A, B), "") == [MessageVariant([b"F: 1\r\n", b"x"])]


def test_variants_of_different_policies():
    marks = {A: Mark(b"X-Spam: Yes\r\n", True), B: Mark(b"X-Spam: Yes\r\n", True)}
    stripped, whole = MessageVariant([b"1"], frozenset({A})), MessageVariant([b"2"], frozenset({B}))
    assert Decision(None, "tag", marks).applied([stripped, whole], (A, B), "") == [
        MessageVariant([b"X-Spam: Yes\r\n", b"1"], frozenset({A})),
        MessageVariant([b"X-Spam: Yes\r\n", b"2"], frozenset({B})),
    ]
    # The content policy has discarded the message for one of them.
    assert Decision(None, "tag", marks).applied([whole], (A, B), "") == [
        MessageVariant([b"X-Spam: Yes\r\n", b"2"], frozenset({B}))
    ]


def test_fields_of_spam():
    result = Score(7.456, 15.0, "add header", tuple(f"LONG_NAME_OF_A_SYMBOL_{number}" for number in range(20)))
    text = fields(result, 6, spam=True)
    message = email.message_from_bytes(text + b"\r\n", policy=policy.default)
    assert (message["X-Spam"], message["X-Spam-Flag"], message["X-Spam-Score"]) == ("Yes", "YES", "7.46")
    status = " ".join(message["X-Spam-Status"].split())
    assert status.startswith("Yes, score=7.46 required=6 tests=LONG_NAME_OF_A_SYMBOL_0, LONG_")
    assert status.count("LONG_NAME") == 20
    assert max(map(len, text.split(b"\r\n"))) <= 78
    assert text.endswith(b"\r\n")
    assert b"\r\n\r\n" not in text


def test_fields_of_other_mail():
    assert fields(HAM, 0, spam=False) == b"X-Spam-Score: 1.00\r\nX-Spam-Status: No, score=1.00\r\n\ttests=none\r\n"
    assert fields(FAILED, 6, spam=False) == b"X-Spam-Status: Not scanned, rspamd unavailable\r\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"X-Spam-Flag: YES\r\nSubject: x\r\n\r\nX-Spam: Yes\r\n", b"Subject: x\r\n\r\nX-Spam: Yes\r\n"),
        (b"A: b\r\nx-spam : No\r\n\tfolded\r\n also\r\nB: c\r\n\r\n", b"A: b\r\nB: c\r\n\r\n"),
        (
            b"A: b\r\nX-Spamd-Result: x\r\nX-Rspamd-Server: y\r\nX-Spam-Status: No,\r\n x\r\n\r\nt\r\n",
            b"A: b\r\n\r\nt\r\n",
        ),
        (b"X-Spam: Yes", b""),
        (b"\r\nX-Spam: Yes\r\n", b"\r\nX-Spam: Yes\r\n"),
        (b"X-Spammer: x\r\nSubject: X-Spam: Yes\r\n X-Spam: Yes\r\n\r\n", None),
    ],
)
def test_forged_fields_are_removed(content, expected):
    kept = without_forged(content)
    assert kept == (content if expected is None else expected)
    if kept == content:
        assert kept is content


@pytest.mark.parametrize(
    ("content", "subject"),
    [
        (b"Subject: hello\r\nX: y\r\n\r\nSubject: z\r\n", "[SPAM] hello"),
        (b"SUBJECT:=?utf-8?b?44Gd?=\r\n\r\n", "[SPAM] そ"),
        (b"X: y\r\nSubject:\r\n folded\r\n\r\n", "[SPAM] folded"),
        (b"Subject:\r\nX: y\r\n\r\n", "[SPAM]"),
        (b"X: y\r\n\r\nSubject: z\r\n", "[SPAM]"),
        (b"\r\nSubject: z\r\n", "[SPAM]"),
        (b"Subject: " + b"x" * 990 + b"\r\n\r\n", "[SPAM] " + "x" * 990),
    ],
)
def test_subject_tag(content, subject):
    changed = with_subject_tag(content, "[SPAM]")
    message = email.message_from_bytes(changed, policy=policy.default)
    assert message["Subject"] == subject
    assert changed.endswith(content.partition(b"\r\n\r\n")[2])
    assert max(map(len, changed.split(b"\r\n"))) <= 998
