# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation of rules: order, scores, exceptions, unknown answers, and what is asked of DNS when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.rule_settings import Conditions, RuleSetting
from mailgate.rules.conditions import CLIENT, HELO, SENDER, Own, parse_code, points_of, weight_of
from mailgate.rules.engine import compile_rules, evaluate, questions
from mailgate.rules.model import Answer, Facts, Question, Thresholds
from mailgate.smtp.address import Mailbox

OWN = Own("gw.univ.example", {"198.18.0.25"}, lambda domain: domain == "univ.example")
FACTS = Facts("198.18.9.9", "pc", Mailbox("a", "sender.example"), Mailbox("b", "univ.example"))
BARE = Conditions(helo_is=("bare",))
LISTED = Conditions(dns_list="bl.example")
QUESTION = Question("listed", "198.18.9.9", "bl.example")
REVERSE = Question("reverse", "198.18.9.9")
SCORES = Thresholds(5, 10)


def rules(*settings: RuleSetting):
    return compile_rules(settings, {}, OWN)


def decide(*settings: RuleSetting, answers=None, thresholds=SCORES, facts=FACTS):
    return evaluate(rules(*settings), facts, answers or {}, thresholds)


def score(points: int, name: str = "", when: Conditions = BARE, **more) -> RuleSetting:
    return RuleSetting(name or f"s{points}", "score", when, score=points, **more)


@pytest.mark.parametrize(
    ("points", "action"), [((4,), ""), ((4, 1), "tag"), ((9, 1), "refuse"), ((12, -3), "tag"), ((12, -8), ""), ((), "")]
)
def test_scores_add_up(points, action):
    verdict = decide(*(score(each) for each in points))
    assert (verdict.action, verdict.score) == (action, sum(points))


def test_the_rule_with_most_points_gives_the_reply():
    verdict = decide(score(1, "a"), score(9, "b"), score(9, "c"))
    assert verdict.rule and verdict.rule.name == "b"
    assert verdict.first == "a"


@given(st.lists(st.integers(-20, 20), max_size=6), st.integers(0, 20), st.integers(0, 20))
def test_thresholds_of_zero_never_apply(points, tag, refuse):
    verdict = decide(*(score(each, f"s{n}") for n, each in enumerate(points)), thresholds=Thresholds(tag, refuse))
    total = sum(points)
    expected = "refuse" if refuse and total >= refuse else "tag" if tag and total >= tag else ""
    assert (verdict.action, verdict.score) == (expected, total)


@pytest.mark.parametrize("action", ["allow", "refuse", "defer"])
def test_the_first_decision_ends_the_evaluation(action):
    verdict = decide(score(20), RuleSetting("d", action, BARE), RuleSetting("e", "refuse", BARE))
    assert verdict.action == action
    assert verdict.rule and verdict.rule.name == "d"
    assert [match.rule.name for match in verdict.matches] == ["s20", "d"]


def test_tag_stays_below_the_score():
    assert decide(RuleSetting("t", "tag", BARE), score(1)).action == "tag"
    assert decide(RuleSetting("t", "tag", BARE), score(10)).action == "refuse"


def test_log_only_rules_have_no_effect():
    verdict = decide(RuleSetting("l", "refuse", BARE, log_only=True), score(20, log_only=True), score(1))
    assert (verdict.action, verdict.score) == ("", 1)
    assert [match.rule.name for match in verdict.logged] == ["l", "s20"]


class TestDns:
    def test_what_is_needed_is_asked_in_order(self):
        settings = [RuleSetting("a", "refuse", LISTED), RuleSetting("b", "refuse", Conditions(reverse_is=("missing",)))]
        assert decide(*settings) == QUESTION
        assert decide(*settings, answers={QUESTION: Answer()}) == REVERSE
        verdict = decide(*settings, answers={QUESTION: Answer(), REVERSE: Answer()})
        assert verdict.action == "refuse" and verdict.rule and verdict.rule.name == "b"

    def test_nothing_is_asked_after_a_decision(self):
        assert decide(RuleSetting("a", "refuse", BARE), RuleSetting("b", "refuse", LISTED)).action == "refuse"

    def test_nothing_is_asked_for_a_rule_that_does_not_apply(self):
        other = Conditions(dns_list="bl.example", helo=("other.example",))
        assert decide(RuleSetting("a", "refuse", other)).action == ""

    @pytest.mark.parametrize(("default", "action"), [("skip", ""), ("defer", "defer")])
    def test_a_failure_has_the_rules_default(self, default, action):
        verdict = decide(RuleSetting("a", "refuse", LISTED, on_dns_failure=default), answers={QUESTION: None})
        assert (verdict.action, verdict.failed) == (action, ["bl.example"])

    def test_a_failed_exception_does_not_refuse(self):
        rule = RuleSetting("a", "refuse", BARE, unless=Conditions(client_name=("*.good.example",)))
        assert decide(rule, answers={REVERSE: None}).action == ""
        assert decide(rule, answers={REVERSE: Answer(names=("m.good.example",))}).action == "refuse"
        assert decide(rule, answers={REVERSE: Answer((), ("x",), ("m.good.example",))}).action == ""

    @pytest.mark.parametrize(
        ("undecided", "then", "action"),
        [
            (RuleSetting("a", "allow", LISTED), RuleSetting("r", "refuse", BARE), "defer"),
            (RuleSetting("a", "allow", LISTED), score(10), "defer"),
            (score(-5, "a", LISTED), score(10), "defer"),
            (RuleSetting("a", "score", LISTED, codes=("127.0.0.2=-5",)), score(10), "defer"),
            (score(-5, "a", LISTED), RuleSetting("r", "refuse", BARE), "refuse"),
            (score(5, "a", LISTED), score(10), "refuse"),
            (score(-5, "a", LISTED, log_only=True), score(10), "refuse"),
            (RuleSetting("a", "allow", LISTED), score(5), "tag"),
        ],
    )
    def test_a_rule_in_favour_that_is_not_decided_makes_a_refusal_temporary(self, undecided, then, action):
        assert decide(undecided, then, answers={QUESTION: None}).action == action

    def test_a_failure_does_not_matter_if_another_answer_decides(self):
        when = Conditions(dns_list="bl.example", reverse_is=("missing",))
        rule = RuleSetting("a", "refuse", when, on_dns_failure="defer")
        assert decide(rule, answers={QUESTION: Answer(), REVERSE: None}).action == ""
        assert decide(rule, answers={QUESTION: Answer(), REVERSE: None}).failed == []

    @pytest.mark.parametrize(
        ("when", "helo", "sender"),
        [
            (LISTED, {QUESTION}, {QUESTION}),
            (Conditions(dns_list="bl.example", helo=("x.example",)), set(), set()),
            (Conditions(dns_list="bl.example", sender=("sender.example",)), set(), {QUESTION}),
            (Conditions(dns_list="bl.example", recipient=("b@",)), set(), set()),
            (Conditions(sender_is=("no_server",)), set(), {Question("mail", "sender.example")}),
        ],
    )
    def test_questions_are_known_early(self, when, helo, sender):
        compiled = rules(RuleSetting("a", "refuse", when))
        assert set(questions(compiled, FACTS, HELO)) == helo
        assert set(questions(compiled, FACTS, SENDER)) == sender

    def test_no_question_is_asked_early_behind_a_rule_that_decides(self):
        compiled = rules(RuleSetting("a", "allow", BARE), RuleSetting("b", "refuse", LISTED))
        assert list(questions(compiled, FACTS, HELO)) == []
        # Before HELO, it is not known yet.
        assert list(questions(compiled, FACTS, CLIENT)) == [QUESTION]


@pytest.mark.parametrize(
    ("code", "reply", "points"),
    [
        ("127.0.0.2", "127.0.0.2", 0),
        ("127.0.0.2=7", "127.0.0.2", 7),
        ("127.0.0.2-4=-3", "127.0.0.4", -3),
        ("127.0.*.2", "127.0.9.2", 0),
        ("127.0.0.2", "127.0.0.3", None),
    ],
)
def test_codes(code, reply, points):
    assert weight_of(code, reply) == points


@pytest.mark.parametrize(
    "code", ["127.0.0", "127.0.0.256", "127.0.0.4-2", "127.0.0.2=", "127.0.0.2=9999", "a.b.c.d", ""]
)
def test_codes_that_are_not_valid(code):
    with pytest.raises(ValueError, match=r".*"):
        parse_code(code)


def test_of_several_replies_the_one_with_most_points_counts():
    assert points_of(Answer(("127.0.0.2", "127.0.0.3")), ("127.0.0.2=2", "127.0.0.3=-4")) == -4
    assert points_of(Answer(), ()) is None
    assert points_of(Answer(("127.0.0.9",)), ("127.0.0.2",)) is None
