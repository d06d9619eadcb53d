# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation of rules in their order: pure, and able to say what it still needs from DNS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mailgate.rule_settings import RuleSetting
from mailgate.rules.conditions import Condition, Own, conditions_of, parse_code, points_of
from mailgate.rules.entries import Table
from mailgate.rules.model import Answer, Answers, Facts, Match, Question, Thresholds, Verdict

_NOTHING = Answer()
# Compared by identity.
_UNKNOWN = Answer(servers="unknown")
_DECISIVE = ("allow", "refuse", "defer")
#: Told of each rule in turn: the rule, and `yes`, `failed` or the name of the condition that does not apply.
Trace = Callable[[RuleSetting, str], object]


#: A condition, and whether it must hold or must not.
Wanted = tuple[Condition, bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its conditions: those that never ask DNS, and those that can."""

    setting: RuleSetting
    plain: tuple[Wanted, ...]
    asking: tuple[Wanted, ...]

    @property
    def stage(self) -> int:
        """From when on all its conditions can be evaluated."""
        return max((each.stage for each, _wanted in (*self.plain, *self.asking)), default=0)


def compile_rules(settings: Sequence[RuleSetting], lists: Mapping[str, Table], own: Own) -> list[Rule]:
    """Return the rules of the settings."""
    compiled = []
    for setting in settings:
        wanted = [(each, True) for each in conditions_of(setting.when, lists, own, setting.codes)]
        wanted += [(each, False) for each in conditions_of(setting.unless, lists, own, ())]
        plain = tuple(pair for pair in wanted if not pair[0].question)
        compiled.append(Rule(setting, plain, tuple(pair for pair in wanted if pair[0].question)))
    return compiled


def evaluate(
    rules: Sequence[Rule], facts: Facts, answers: Answers, thresholds: Thresholds, trace: Trace | None = None
) -> Verdict | Question:
    """Return the verdict on a recipient, or the question whose answer is needed first.

    Args:
        rules: The rules in order.
        facts: What is known of the message.
        answers: Answers of DNS so far.
        thresholds: Scores that decide.
        trace: Called for each rule that is reached.
    """
    verdict = Verdict()
    # Whether a rule that could not be decided might have allowed the message, or have lowered its score.
    might_allow = might_lower = False
    for rule in rules:
        setting = rule.setting
        state = _state(rule, facts, answers)
        if isinstance(state, Question):
            return state
        if trace:
            trace(setting, state)
        if state == "failed":
            _note_failures(rule, facts, answers, verdict)
            if setting.on_dns_failure == "defer" and not setting.log_only:
                verdict.action, verdict.rule, verdict.dns = "defer", setting, True
                return verdict
            if not setting.log_only:
                might_allow = might_allow or setting.action == "allow"
                might_lower = might_lower or _lowers(setting)
            continue
        if state != "yes":
            continue
        match = Match(setting, _points(rule, facts, answers))
        if setting.log_only:
            verdict.logged.append(match)
            continue
        verdict.matches.append(match)
        if setting.action in _DECISIVE:
            verdict.action, verdict.rule, verdict.greylist = setting.action, setting, False
            return _in_doubt(verdict, doubt=might_allow)
        if setting.action == "tag":
            verdict.action = "tag"
        elif setting.action == "greylist":
            verdict.greylist = True
        verdict.score += match.points
    _apply(thresholds, verdict)
    return _in_doubt(verdict, doubt=might_allow or might_lower)


def questions(rules: Sequence[Rule], facts: Facts, stage: int) -> Iterator[Question]:
    """Yield what the rules will ask DNS, as far as it is known at a stage of the session.

    Rules after one that already decides ask nothing, and neither does a rule with another condition that does not hold
    or is not known yet.
    """
    for rule in rules:
        if any(each.stage > stage or each.holds(facts, _NOTHING) != wanted for each, wanted in rule.plain):
            continue
        asking = [each for each, _wanted in rule.asking]
        asked = [
            question for each in asking if each.stage <= stage and each.question and (question := each.question(facts))
        ]
        yield from asked
        decides = rule.setting.action in _DECISIVE and not rule.setting.log_only
        if decides and not asked and all(each.stage <= stage for each in asking) and _state(rule, facts, {}) == "yes":
            return


def _state(rule: Rule, facts: Facts, answers: Answers) -> str | Question:
    """Return `yes`, `failed`, the name of a condition that does not apply, or a question to be answered first."""
    for condition, wanted in rule.plain:
        if condition.holds(facts, _NOTHING) != wanted:
            return condition.name if wanted else f"unless.{condition.name}"
    failed = False
    pending: Question | None = None
    for condition, wanted in rule.asking:
        question = condition.question(facts) if condition.question else None
        answer = answers.get(question, _UNKNOWN) if question else _NOTHING
        if answer is _UNKNOWN:
            pending = pending or question
        elif answer is None:
            failed = True
        elif condition.holds(facts, answer) != wanted:
            return condition.name if wanted else f"unless.{condition.name}"
    return pending or ("failed" if failed else "yes")


def _note_failures(rule: Rule, facts: Facts, answers: Answers, verdict: Verdict) -> None:
    for condition, _wanted in rule.asking:
        question = condition.question(facts) if condition.question else None
        if question and answers.get(question, _NOTHING) is None and question.origin not in verdict.failed:
            verdict.failed.append(question.origin)


def _points(rule: Rule, facts: Facts, answers: Answers) -> int:
    """Return the points that a rule adds."""
    setting = rule.setting
    if setting.action != "score":
        return 0
    if setting.codes and setting.when.dns_list:
        answer = answers.get(Question("listed", facts.client, setting.when.dns_list))
        return (points_of(answer, setting.codes) if answer else 0) or setting.score
    return setting.score


def _lowers(setting: RuleSetting) -> bool:
    return setting.score < 0 or any(parse_code(code)[1] < 0 for code in setting.codes)


def _in_doubt(verdict: Verdict, *, doubt: bool) -> Verdict:
    """Return a verdict that does not refuse for good if there is a doubt."""
    if doubt and verdict.action == "refuse":
        verdict.action, verdict.dns = "defer", True
    return verdict


def _apply(thresholds: Thresholds, verdict: Verdict) -> None:
    """Decide by the score."""
    score = verdict.score
    verdict.greylist = verdict.greylist or 0 < thresholds.greylist <= score
    refused = 0 < thresholds.refuse <= score
    if not refused and not 0 < thresholds.tag <= score:
        return
    verdict.action = "refuse" if refused else "tag"
    # Of equal points, the first.
    verdict.rule = max(verdict.matches, key=lambda match: match.points).rule
