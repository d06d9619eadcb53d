# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mailgate explain` prints: which rules apply to a client, HELO name, sender and recipient, and the reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from mailgate.authentication.header import from_mailboxes
from mailgate.commands.explain_spam import SpamExplanation, explain_spam, scans, spam_as_json, spam_lines
from mailgate.config import Config
from mailgate.removed_routes import RemovedRoutes
from mailgate.routes import Routes
from mailgate.rule_settings import RuleSetting
from mailgate.rules.authenticate import Authentication, authenticate
from mailgate.rules.conditions import MESSAGE, RECIPIENT, RESULTS
from mailgate.rules.lists import load_lists
from mailgate.rules.message_check import dmarc_action
from mailgate.rules.model import Answer, Facts, Question, Verdict
from mailgate.rules.replies import dmarc_reply, reply_text, reply_to
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
    "message": N_("is decided with the received message; give --message"),
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
_WITHOUT_RULES = {
    "no_rules": N_("There are no rules."),
    "postmaster": N_("No rule applies to the postmaster of the gateway."),
    "exempt": N_("No rule applies to the client: {reason}."),
    "invalid": N_("The gateway refuses the address or its domain before any rule."),
}
_SCORE = N_("Score: {score}; tagged from {tag}, refused from {refuse} (0: never).")
_REPLY = N_("Reply: {reply}")
_LISTED = N_("{zone} lists the client: {codes}")
_NOT_LISTED = N_("{zone} does not list the client")
_NO_ANSWER = N_("{origin}: DNS did not answer")
_NAMES = N_("Names of the client: {names}; confirmed: {verified}")
_NONE = N_("none")
_DMARC = N_("The domain {domain} asks for {policy} of a message that fails DMARC.")
_PROBLEM = N_("List {list}: {problem}")
_NOT_CONSIDERED = N_("Not considered: limits, verification of the recipient, and the content of the message.")


@dataclass
class Explanation:
    """What would happen, and why.

    Attributes:
        facts: Client, HELO name, sender and recipient.
        result: `accept`, `tag`, `refuse` or `defer`.
        reply: The reply to RCPT, or to the message, if it is not accepted.
        reason: What decides: `invalid`, `no_rules`, `exempt`, `postmaster`, `mode`, `rules`, `dmarc` or `spam`.
        exemption: Why the client is exempt.
        mode: What the recipient's domain has chosen.
        rules: Each rule with its state.
        answers: What DNS said.
        verdict: What the rules decide, even if they have no effect.
        thresholds: Scores from which a message is tagged and refused.
        problems: Problems with lists.
        text: Text of the reply in the language asked for.
        authentication: Results of mail authentication.
        spam: What the spam scan does.
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
    authentication: Authentication | None = None
    spam: SpamExplanation | None = None


def explain(
    config: Config,
    routes: Routes,
    *,
    client: str,
    helo: str,
    sender: str,
    recipient: str,
    language: str,
    message: bytes | None = None,
    whole: bool = True,
) -> Explanation:
    """Return what would happen; asks DNS and, with the whole message, rspamd.

    Args:
        config: Settings.
        routes: Delivery table.
        client: IP address.
        helo: HELO name.
        sender: Address of the sender, empty or `<>` for the null sender.
        recipient: Address of the recipient.
        language: Language of the reply's text.
        message: The message, or only its From field.
        whole: Whether it is the message, so that mail authentication is evaluated.
    """
    found = Explanation(
        {"client": client, "helo": helo, "sender": sender.strip("<>"), "recipient": recipient.strip("<>")}
    )
    try:
        mail = parse_sender(f"FROM:<{found.facts['sender']}>").mailbox
        rcpt = parse_recipient(f"TO:<{found.facts['recipient']}>").mailbox
    except AddressError as error:
        return _refused(found, error.reply)
    removed = RemovedRoutes.load(config.state_dir, config.cache.removed_route_hours * 3600, routes)
    decision = decide(rcpt, client, config, routes, removed)
    if decision.refusal:
        return _refused(found, decision.refusal)
    lists = load_lists(config.lists)
    found.problems = [(name, problem) for name, each in lists.items() for problem in each.problems]
    ruleset = RuleSet(config, routes, {name: each.table for name, each in lists.items()})
    found.exemption = ruleset.exemption(client)
    found.mode = ruleset.mode(rcpt)
    if not config.rules and not config.authentication.evaluate:
        found.reason = "no_rules"
    elif found.exemption:
        found.reason = "exempt"
    elif ruleset.is_postmaster(rcpt, config.hostname):
        found.reason = "postmaster"
    elif found.mode == "ignore" and not (message and whole and ruleset.identifier):
        found.reason = "mode"
    facts = Facts(client, helo_name(helo), mail, rcpt)
    if found.reason == "rules":
        dmarc = asyncio.run(_evaluate(config, ruleset, facts, found, message, whole=whole))
        _conclude(found, ruleset, facts, language, dmarc)
    exempt = bool(found.exemption)
    if message is not None and whole and found.result in ("accept", "tag") and scans(config, client, exempt=exempt):
        _scan_for_spam(found, config, facts, message)
    return found


def _scan_for_spam(found: Explanation, config: Config, facts: Facts, message: bytes) -> None:
    exempt = bool(found.exemption)
    names = None if exempt else asyncio.run(_names(config, found, facts))
    allowed = found.verdict.action == "allow" and found.mode != "log"
    found.spam = spam = explain_spam(config, facts, message, names, allowed=allowed, exempt=exempt)
    if spam.reply:
        found.reason, found.reply, found.text = "spam", spam.reply, str(spam.reply)
        found.result = spam.effect
    elif spam.effect == "tag":
        found.reason, found.result = "spam", "tag"


async def _names(config: Config, found: Explanation, facts: Facts) -> Answer | None:
    resolver = Resolver(config.refusal, failed=lambda _origin, _reason: None)
    return await _ask(resolver, found.answers, Question("reverse", facts.client))


def _refused(found: Explanation, reply: Reply) -> Explanation:
    found.reason, found.reply, found.text = "invalid", reply, str(reply)
    found.result = "defer" if reply.temporary else "refuse"
    return found


async def _evaluate(
    config: Config, ruleset: RuleSet, facts: Facts, found: Explanation, message: bytes | None, *, whole: bool
) -> str:
    """Evaluate the rules as at RCPT and, if these accept it, with the message; return what DMARC does."""
    resolver = Resolver(config.refusal, failed=lambda _origin, _reason: None)
    ask = partial(_ask, resolver, found.answers)
    found.verdict = await _verdict(ruleset, facts, found, ask, RECIPIENT)
    stage, dmarc = RECIPIENT, ""
    if message is not None and found.verdict.action not in ("refuse", "defer"):
        facts.authors = from_mailboxes(message)
        stage = RESULTS if whole and ruleset.identifier else MESSAGE
        if stage == RESULTS:
            spf = await ask(facts.spf)
            deadline = asyncio.get_running_loop().time() + config.refusal.dns_seconds
            found.authentication = results = await authenticate(message, facts, spf, resolver.records, deadline)
            found.answers |= results.answers
            dmarc = dmarc_action(ruleset, facts, results)
        found.verdict = await _verdict(ruleset, facts, found, ask, stage)
    if found.mode == "ignore":
        return dmarc
    states: dict[str, str] = {}
    ruleset.evaluate(facts, found.answers, lambda rule, state: states.update({rule.name: state}), stage)
    later = {rule.setting.name for rule in ruleset.rules if rule.stage > stage}
    default = {name: "message" for name in later if found.verdict.action not in ("refuse", "defer")}
    found.rules = [(rule, states.get(rule.name) or default.get(rule.name, "unreached")) for rule in config.rules]
    return "" if found.verdict.action in ("allow", "refuse", "defer") else dmarc


async def _verdict(
    ruleset: RuleSet, facts: Facts, found: Explanation, ask: Callable[[Question], Awaitable[object]], stage: int
) -> Verdict:
    if found.mode == "ignore":
        return Verdict()
    while isinstance(verdict := ruleset.evaluate(facts, found.answers, stage=stage), Question):
        await ask(verdict)
    return verdict


async def _ask(resolver: Resolver, answers: dict[Question, Answer | None], question: Question) -> Answer | None:
    if question not in answers:
        task = resolver.ask(question)
        answers[question] = await task if task else None
    return answers[question]


def _conclude(found: Explanation, ruleset: RuleSet, facts: Facts, language: str, dmarc: str) -> None:
    thresholds = ruleset.thresholds(found.mode)
    found.thresholds = (thresholds.tag, thresholds.refuse)
    verdict = found.verdict
    found.result = {"allow": "accept", "": "accept"}.get(verdict.action, verdict.action)
    if found.mode == "log":
        found.reason = "mode"
        found.result = "accept"
    else:
        found.reply = reply_to(verdict, facts)
    if dmarc:
        found.reason, found.result = "dmarc", dmarc
        if dmarc == "refuse":
            found.reply = dmarc_reply(facts)
            found.text = str(found.reply)
    elif found.reply:
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
    if applied := _WITHOUT_RULES.get(found.reason) or _MODES.get(found.mode):
        yield translate(applied).format(reason=translate(found.exemption) if found.exemption else "")
    for question, answer in found.answers.items():
        yield _answer(question, answer, translate)
    if found.authentication and (policy := found.authentication.dmarc.policy) != "none":
        yield translate(_DMARC).format(domain=found.authentication.dmarc.domain, policy=policy)
    width = max((len(rule.name) for rule, _state in found.rules), default=0)
    for rule, state in found.rules:
        points = f" {rule.score:+d}" if rule.action == "score" and rule.score else ""
        yield f"  {rule.name:{width}}  {rule.action}{points}: {_state(rule, state, translate)}"
    if found.verdict.score:
        tag, refuse = found.thresholds
        yield translate(_SCORE).format(score=found.verdict.score, tag=tag, refuse=refuse)
    greylists = found.verdict.greylist or (found.spam and found.spam.greylist)
    if greylists and found.result in ("accept", "tag"):
        yield translate(_GREYLISTED)
    if found.spam:
        yield from spam_lines(found.spam, translate)
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
    is_result = question.kind in ("spf", "dkim", "dmarc", "arc")
    if answer is None:
        return translate(_NO_ANSWER).format(
            origin=question.zone or question.kind.upper() * is_result or question.subject
        )
    if is_result:
        return f"{question.kind.upper()}: {answer.result}"
    if question.kind == "listed":
        text = _LISTED if answer.codes else _NOT_LISTED
        return translate(text).format(zone=question.zone, codes=", ".join(answer.codes))
    if question.kind == "mail":
        return f"{question.subject}: {translate(_SERVERS[answer.servers])}"
    none = translate(_NONE)
    names, verified = (", ".join(each) or none for each in (answer.names, answer.verified))
    return translate(_NAMES).format(names=names, verified=verified)


def _field(found: Explanation) -> str | None:
    """Return the value of Authentication-Results in one line."""
    if not found.authentication:
        return None
    return " ".join(found.authentication.field("-").decode().partition(";")[2].split()) or None


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
        "authentication_results": _field(found),
        "rules": [
            {"name": rule.name, "action": rule.action, "log_only": rule.log_only, "state": state}
            for rule, state in found.rules
        ],
        "dns": [
            {"question": question.kind, "of": question.subject, "zone": question.zone or None,
             "answer": answer._asdict() if answer else None}
            for question, answer in found.answers.items()
        ],
        "spam": spam_as_json(found.spam),
        "list_problems": [f"{name}: {problem}" for name, problem in found.problems],
    }  # fmt: skip
