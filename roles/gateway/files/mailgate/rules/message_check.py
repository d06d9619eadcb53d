# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules' decision on a received message: by its From field and mail authentication, for all recipients at once.

There is one reply for all recipients. The message is refused if this is decided for each of them; otherwise those for
whom it is get it with a tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mailgate.authentication.header import from_mailboxes
from mailgate.authentication.results import without_forged
from mailgate.message import Message
from mailgate.rules.authenticate import Authentication, authenticate
from mailgate.rules.conditions import RESULTS
from mailgate.rules.model import Answer, Facts, Question, Verdict
from mailgate.rules.replies import dmarc_reply, reply_to
from mailgate.rules.ruleset import RuleSet
from mailgate.rules.screening import COUNT_RESULT, MAX_NAMES, Screening
from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply


@dataclass(frozen=True)
class Outcome:
    """What is to be done with a message.

    Attributes:
        content: The message, without forged results.
        results: The header field Authentication-Results to write; empty if there is none.
        reply: The reply if it is refused or deferred.
        tags: Marks by recipient.
    """

    content: bytes
    results: bytes = b""
    reply: Reply | None = None
    tags: Mapping[Mailbox, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Decision:
    """The decision for one recipient: the reply that refuses or defers the message, and its mark otherwise."""

    reply: Reply | None = None
    tag: str = ""


class MessageCheck:
    """The check of one message; its results for the log are in `noted`."""

    def __init__(self, screening: Screening, *, utf8: bool) -> None:
        self._rules = screening.rules
        self._ruleset = self._rules.ruleset
        self._screening = screening
        self._utf8 = utf8
        self._allowed = screening.allowed
        self._for_postmaster = screening.for_postmaster
        self.noted: dict[str, object] = dict(screening.noted)

    async def decide(self, message: Message) -> Outcome:
        """Return what is to be done with a message; waits for DNS within its limit."""
        facts = replace(self._screening.facts, authors=tuple(from_mailboxes(message.content)))
        deadline = self._screening.begin_message()
        results: Authentication | None = None
        content, line = message.content, b""
        if identifier := self._ruleset.identifier:
            results = await self._authenticate(content, facts, deadline)
            line = results.field(identifier)
            content = without_forged(content, {identifier, self._rules.hostname})
        decisions = {}
        for number, recipient in enumerate(message.recipients, 1):
            about = replace(facts, recipient=recipient, recipients=number)
            decisions[recipient] = await self._decide(about, results)
        replies = [each.reply for each in decisions.values() if each.reply]
        if len(replies) == len(decisions):
            return Outcome(content, line, next((reply for reply in replies if reply.temporary), replies[0]))
        return Outcome(content, line, None, {recipient: each.tag for recipient, each in decisions.items() if each.tag})

    async def _authenticate(self, content: bytes, facts: Facts, deadline: float) -> Authentication:
        spf = await self._screening.answer(facts.spf)
        results = await authenticate(content, facts, spf, self._rules.resolver.records, deadline)
        for name, result in results.noted.items():
            if result:
                self._rules.count(f"{COUNT_RESULT}{name}={result}")
        self.noted |= results.noted
        return results

    async def _decide(self, facts: Facts, results: Authentication | None) -> _Decision:
        ruleset = self._ruleset
        if facts.recipient in self._for_postmaster:
            return _Decision()
        verdict = await self._verdict(facts, results.answers if results else {})
        if verdict.action == "allow":
            self._allowed.add(facts.recipient)
        names = [match.rule.name for match in verdict.matches[:MAX_NAMES]]
        if not names and verdict.first:
            # It defers because DNS failed.
            names = [verdict.first]
        reply = reply_to(verdict, facts, utf8=self._utf8)
        tagged = reply is not None or verdict.action == "tag"
        dmarc = "" if verdict.action == "allow" or not results else dmarc_action(ruleset, facts, results)
        if dmarc:
            names.append("dmarc")
            tagged = True
            if dmarc == "refuse":
                reply = reply or dmarc_reply(facts, utf8=self._utf8)
        if names:
            self.noted |= {"rule": names[0], "score": verdict.score}
        return _Decision(reply, f"score={verdict.score} rules={','.join(names)}" if tagged else "")

    async def _verdict(self, facts: Facts, answers: Mapping[Question, Answer | None]) -> Verdict:
        """Return the effective verdict of the rules."""
        ruleset, screening = self._ruleset, self._screening
        mode = ruleset.mode(facts.recipient)
        if mode == "ignore" or not ruleset.rules:
            return Verdict()
        while isinstance(verdict := ruleset.evaluate(facts, {**screening.answers, **answers}, stage=RESULTS), Question):
            await screening.answer(verdict)
        new = Verdict(verdict.action, verdict.rule, verdict.score)
        # Others have been recorded at RCPT.
        new.matches = [match for match in verdict.matches if match.rule.name in ruleset.message_rules]
        new.logged = [match for match in verdict.logged if match.rule.name in ruleset.message_rules]
        if new.matches or new.logged:
            self._rules.record(facts, new, effective=mode != "log")
        return Verdict() if mode == "log" else verdict


def dmarc_action(ruleset: RuleSet, facts: Facts, results: Authentication) -> str:
    """Return what DMARC does to a message for a recipient: `refuse`, `tag`, or empty for nothing."""
    chosen, policy, chain = ruleset.dmarc(facts.recipient), results.dmarc.policy, results.chain
    if chosen == "off" or policy == "none":
        return ""
    if chain.result == "pass" and chain.dmarc_passed and ruleset.trusts(chain.sealers):
        return ""
    return "refuse" if chosen == "refuse" and policy == "reject" else "tag"
