# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mailgate explain` prints: which rules apply to a client, HELO name, sender and recipient, and the reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailgate.config import Config
from mailgate.removed_routes import RemovedRoutes
from mailgate.routes import Routes
from mailgate.rule_settings import RuleSetting
from mailgate.rules.lists import load_lists
from mailgate.rules.model import Answer, Facts, Question, Verdict
from mailgate.rules.replies import reply_text, reply_to
from mailgate.rules.resolver import Resolver
from mailgate.rules.ruleset import NOT_EXEMPT, RuleSet
from mailgate.server.rcpt_policy import decide
from mailgate.smtp.address import AddressError, helo_name, parse_recipient, parse_sender
from mailgate.smtp.reply import Reply
from mailgate.translation import N_, Text, Translator, translator

_OUTCOMES = {
    "allow": N_("A rule allows the message: no later rule applies."),
    "refuse": N_("The recipient is refused."),
    "defer": N_("The recipient is deferred; the client tries again later."),
    "tag": N_("The recipient is accepted, and the message is tagged."),
    "": N_("The recipient is accepted."),
}
_STATES = {
    "yes": N_("applies"),
    "log_only": N_("applies, but is logged only"),
    "failed": N_("is not decided: DNS did not answer"),
    "unless": N_("does not apply: the exception {condition} holds"),
    "when": N_("does not apply: the condition {condition} does not hold"),
    "unreached": N_("is not reached"),
}
_MODES = {
    "log": N_("The recipient's domain only logs what rules decide."),
    "ignore": N_("The recipient's domain has switched rules off."),
    "strict": N_("The recipient's domain has chosen the strict scores."),
}
_SERVERS = {
    "yes": N_("has a mail server"),
    "none": N_("does not exist or has no mail server"),
    "null_mx": N_("accepts no mail"),
}
_GREYLISTED = N_("A sender that is new to the recipient is deferred first (greylisting).")
_NO_RULES = N_("There are no rules.")
_POSTMASTER = N_("No rule applies to the postmaster of the gateway.")
_EXEMPT = N_("No rule applies to the client: {reason}.")
_INVALID = N_("The gateway refuses the address or its domain before any rule.")
_SCORE = N_("Score: {score}; tagged from {tag}, refused from {refuse} (0: never).")
_REPLY = N_("Reply: {reply}")
_LISTED = N_("{zone} lists the client: {codes}")
_NOT_LISTED = N_("{zone} does not list the client")
_NO_ANSWER = N_("{origin}: DNS did not answer")
_NAMES = N_("Names of the client: {names}; confirmed: {verified}")
_NONE = N_("none")
_PROBLEM = N_("List {list}: {problem}")
_NOT_CONSIDERED = N_("Not considered: limits, verification of the recipient, and the content of the message.")


@dataclass
class Explanation:
    """What would happen, and why.

    Attributes:
        facts: Client, HELO name, sender and recipient.
        result: `accept`, `tag`, `refuse` or `defer`.
        reply: The reply to RCPT if it is not accepted.
        reason: What decides: `invalid`, `no_rules`, `exempt`, `postmaster`, `mode` or `rules`.
        exemption: Why the client is exempt.
        mode: What the recipient's domain has chosen.
        rules: Each rule with its state.
        answers: What DNS said.
        verdict: What the rules decide, even if they have no effect.
        thresholds: Scores from which a message is tagged and refused.
        problems: Problems with lists.
        text: Text of the reply in the language asked for.
    """

    facts: dict[str, str]
    result: str = "accept"
    reply: Reply | None = None
    reason: str = "rules"
    exemption: Text = NOT_EXEMPT
    mode: str = "apply"
    rules: list[tuple[RuleSetting, str]] = field(default_factory=list)
    answers: dict[Question, Answer | None] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    thresholds: tuple[int, int] = (0, 0)
    problems: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""


def explain(
    config: Config, routes: Routes, *, client: str, helo: str, sender: str, recipient: str, language: str
) -> Explanation:
    """Return what would happen; asks DNS, and nobody else.

    Args:
        config: Settings.
        routes: Delivery table.
        client: IP address.
        helo: HELO name.
        sender: Address of the sender, empty or `<>` for the null sender.
        recipient: Address of the recipient.
        language: Language of the reply's text.
    """
    found = Explanation(
        {"client": client, "helo": helo, "sender": sender.strip("<>"), "recipient": recipient.strip("<>")}
    )
    try:
        mail = parse_sender(f"FROM:<{found.facts['sender']}>").mailbox
        rcpt = parse_recipient(f"TO:<{found.facts['recipient']}>").mailbox
    except AddressError as error:
        return _refused(found, error.reply)
    removed = RemovedRoutes.load(config.state_dir, config.cache.removed_route_hours * 3600)
    decision = decide(rcpt, client, config, routes, removed)
    if decision.refusal:
        return _refused(found, decision.refusal)
    lists = load_lists(config.lists)
    found.problems = [(name, problem) for name, each in lists.items() for problem in each.problems]
    ruleset = RuleSet(config, routes, {name: each.table for name, each in lists.items()})
    found.exemption = ruleset.exemption(client)
    found.mode = ruleset.mode(rcpt)
    if not config.rules:
        found.reason = "no_rules"
    elif found.exemption:
        found.reason = "exempt"
    elif ruleset.is_postmaster(rcpt, config.hostname):
        found.reason = "postmaster"
    elif found.mode == "ignore":
        found.reason = "mode"
    if found.reason == "rules":
        facts = Facts(client, helo_name(helo), mail, rcpt)
        asyncio.run(_evaluate(config, ruleset, facts, found))
        _conclude(found, ruleset, facts, language)
    return found


def _refused(found: Explanation, reply: Reply) -> Explanation:
    found.reason, found.reply, found.text = "invalid", reply, str(reply)
    found.result = "defer" if reply.temporary else "refuse"
    return found


async def _evaluate(config: Config, ruleset: RuleSet, facts: Facts, found: Explanation) -> None:
    resolver = Resolver(config.refusal, failed=lambda _origin, _reason: None)
    while isinstance(verdict := ruleset.evaluate(facts, found.answers), Question):
        task = resolver.ask(verdict)
        found.answers[verdict] = await task if task else None
    found.verdict = verdict
    ruleset.evaluate(facts, found.answers, lambda rule, state: found.rules.append((rule, state)))
    reached = {rule.name for rule, _state in found.rules}
    found.rules += [(rule, "unreached") for rule in config.rules if rule.name not in reached]


def _conclude(found: Explanation, ruleset: RuleSet, facts: Facts, language: str) -> None:
    thresholds = ruleset.thresholds(found.mode)
    found.thresholds = (thresholds.tag, thresholds.refuse)
    verdict = found.verdict
    if found.mode == "log":
        found.reason = "mode"
        return
    found.result = {"allow": "accept", "": "accept"}.get(verdict.action, verdict.action)
    found.reply = reply_to(verdict, facts)
    if found.reply:
        found.text = str(found.reply)
        if language != "en" and (own := reply_text(verdict, facts, language)):
            found.text += f" ({own})"


def render(found: Explanation, *, style: str, language: str) -> str:
    """Return the explanation as text or JSON."""
    if style == "json":
        return json.dumps(_as_json(found), ensure_ascii=False, indent=2) + "\n"
    return "\n".join(_lines(found, translator(language))) + "\n"


def _lines(found: Explanation, translate: Translator) -> Iterator[str]:
    for name, problem in found.problems:
        yield translate(_PROBLEM).format(list=name, problem=problem)
    if found.reason == "invalid":
        yield translate(_INVALID)
    elif found.reason == "no_rules":
        yield translate(_NO_RULES)
    elif found.reason == "exempt":
        yield translate(_EXEMPT).format(reason=translate(found.exemption))
    elif found.reason == "postmaster":
        yield translate(_POSTMASTER)
    elif found.mode in _MODES:
        yield translate(_MODES[found.mode])
    for question, answer in found.answers.items():
        yield _answer(question, answer, translate)
    width = max((len(rule.name) for rule, _state in found.rules), default=0)
    for rule, state in found.rules:
        points = f" {rule.score:+d}" if rule.action == "score" and rule.score else ""
        yield f"  {rule.name:{width}}  {rule.action}{points}: {_state(rule, state, translate)}"
    if found.verdict.score:
        tag, refuse = found.thresholds
        yield translate(_SCORE).format(score=found.verdict.score, tag=tag, refuse=refuse)
    if found.verdict.greylist and found.result in ("accept", "tag"):
        yield translate(_GREYLISTED)
    action = found.verdict.action if found.result == "accept" and found.reason == "rules" else found.result
    yield translate(_OUTCOMES["" if action == "accept" else action])
    if found.text:
        yield translate(_REPLY).format(reply=found.text)
    if found.result in ("accept", "tag"):
        yield translate(_NOT_CONSIDERED)


def _state(rule: RuleSetting, state: str, translate: Translator) -> str:
    if state == "yes" and rule.log_only:
        state = "log_only"
    if state in _STATES and state not in ("when", "unless"):
        return translate(_STATES[state])
    exception = state.startswith("unless.")
    return translate(_STATES["unless" if exception else "when"]).format(condition=state.removeprefix("unless."))


def _answer(question: Question, answer: Answer | None, translate: Translator) -> str:
    if answer is None:
        return translate(_NO_ANSWER).format(origin=question.zone or question.subject)
    if question.kind == "listed":
        text = _LISTED if answer.codes else _NOT_LISTED
        return translate(text).format(zone=question.zone, codes=", ".join(answer.codes))
    if question.kind == "mail":
        return f"{question.subject}: {translate(_SERVERS[answer.servers])}"
    none = translate(_NONE)
    names, verified = (", ".join(each) or none for each in (answer.names, answer.verified))
    return translate(_NAMES).format(names=names, verified=verified)


def _as_json(found: Explanation) -> dict[str, object]:
    verdict = found.verdict
    return {
        **found.facts,
        "result": found.result,
        "reply": str(found.reply) if found.reply else None,
        "reason": found.reason,
        "exempt": found.exemption or None,
        "mode": found.mode,
        "score": verdict.score,
        "greylist": verdict.greylist,
        "decided_by": verdict.rule.name if verdict.rule else None,
        "rules": [
            {"name": rule.name, "action": rule.action, "log_only": rule.log_only, "state": state}
            for rule, state in found.rules
        ],
        "dns": [
            {"question": question.kind, "of": question.subject, "zone": question.zone or None,
             "answer": answer._asdict() if answer else None}
            for question, answer in found.answers.items()
        ],
        "list_problems": [f"{name}: {problem}" for name, problem in found.problems],
    }  # fmt: skip
