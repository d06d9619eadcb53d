# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules in the service: lists and resolver of a worker, and the screening of each connection's recipients."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping

from mailgate.config import Config
from mailgate.events import Events
from mailgate.routes import Routes
from mailgate.rules.conditions import HELO, SENDER
from mailgate.rules.lists import LoadedList, is_changed, load_lists
from mailgate.rules.model import Answer, Facts, Question, Verdict
from mailgate.rules.replies import greylist_reply, reply_to
from mailgate.rules.resolver import Resolver, system_servers
from mailgate.rules.ruleset import RuleSet
from mailgate.smtp.address import Mailbox, parse_mailbox
from mailgate.smtp.reply import Reply

# Counters of events: matches of a rule, failed look-ups, and results of mail authentication.
COUNT_MATCH, COUNT_DNS_FAILURE, COUNT_RESULT = "rule:", "dns_failed:", "auth:"
COUNT_GREYLISTED = "greylisted"
REPORT_SECONDS = 60.0
# Rules that a tag names, so that its line is not too long.
MAX_NAMES = 10
#: Seconds that a client's sender must still wait before it may write to a recipient, 0 if it need not.
Greylister = Callable[[str, Mailbox, Mailbox], Awaitable[int]]


class Rules:
    """The rules of a worker.

    Args:
        events: Log and counters.
        clock: Time in seconds.
        greylister: The greylist.
    """

    def __init__(self, events: Events, clock: Callable[[], float], greylister: Greylister) -> None:
        self._events = events
        self.greylister = greylister
        self._clock = clock
        self._lists: dict[str, LoadedList] = {}
        self._reported: dict[str, float] = {}
        self._unreported: Counter[str] = Counter()
        self._resolver: Resolver | None = None
        self._resolver_settings: object = None

    def use(self, config: Config, routes: Routes) -> None:
        """Apply settings and routes; the lists are loaded at once if they are new, else by `watch`."""
        self._config, self._routes = config, routes
        known = {name: each for name, each in self._lists.items() if config.lists.get(name) == each.setting}
        new = {name: setting for name, setting in config.lists.items() if name not in known}
        self._lists = {**load_lists(new), **known}
        self._report_lists(known)
        refusal = config.refusal
        servers = refusal.dns_servers or system_servers()
        wanted = (servers, refusal.dns_seconds, refusal.dns_queries, refusal.dns_cache)
        if wanted != self._resolver_settings:
            self._resolver_settings = wanted
            self._resolver = Resolver(refusal, failed=self._dns_failed, answered=self._dns_answered, clock=self._clock)
        self._compile()
        if self.ruleset.identifier:
            # Imported here because only this needs libraries of mail authentication.
            from mailgate.rules.authenticate import prepare  # noqa: PLC0415

            prepare()

    def _compile(self) -> None:
        self.ruleset = RuleSet(self._config, self._routes, {name: each.table for name, each in self._lists.items()})

    def screen(self, address: str, helo: str, traits: Collection[str] = ()) -> Screening | None:
        """Return the screening of a connection after HELO, or None if no rule applies to the client.

        Args:
            address: IP address of the client.
            helo: HELO or EHLO name.
            traits: How the client speaks; what is added later is seen.
        """
        if not address or self.ruleset.exemption(address):
            return None
        return Screening(self, Facts(address, helo, traits=traits))

    @property
    def hostname(self) -> str:
        """Name of the gateway."""
        return self._config.hostname

    @property
    def postmaster(self) -> Mailbox:
        """Address that gets mail for the gateway's postmaster."""
        return parse_mailbox(self._config.postmaster) if self._config.postmaster else Mailbox("postmaster", "")

    @property
    def resolver(self) -> Resolver:
        """The resolver."""
        assert self._resolver
        return self._resolver

    @property
    def dns_seconds(self) -> float:
        """How long a message may wait for DNS."""
        return float(self._config.refusal.dns_seconds)

    async def refresh(self) -> None:
        """Load changed lists in a thread, since a million lines take a second."""
        settings, old = self._config.lists, self._lists
        if is_changed(old):
            lists = await asyncio.to_thread(load_lists, settings, old)
            if self._lists is old:
                self._lists = lists
                self._compile()
        self._report_lists(old)

    def _report_lists(self, old: Mapping[str, LoadedList]) -> None:
        for name, each in self._lists.items():
            if each.problems:
                self._report(f"list {name}", "list_refused", list=name, problems=list(each.problems))
            elif each is not old.get(name):
                self._reported.pop(f"list {name}", None)
                if each.setting.file:
                    self._events.emit("list_loaded", list=name, entries=len(each.table))

    def _dns_failed(self, origin: str, reason: str) -> None:
        self._events.count(COUNT_DNS_FAILURE + origin)
        self._report(f"dns {origin}", "dns_failed", of=origin, reason=reason)

    def _dns_answered(self, seconds: float) -> None:
        if self._events.metrics:
            self._events.metrics.observe("dns", seconds)

    def _report(self, key: str, event: str, **fields: object) -> None:
        """Log an event once a minute."""
        self._unreported[key] += 1
        now = self._clock()
        if now - self._reported.get(key, -REPORT_SECONDS) >= REPORT_SECONDS:
            self._reported[key] = now
            self._events.emit(event, number=self._unreported.pop(key), **fields)

    def count(self, event: str) -> None:
        """Add to a counter."""
        self._events.count(event)

    def record(self, facts: Facts, verdict: Verdict, *, effective: bool) -> None:
        """Count the rules that apply, and log those that have no effect."""
        for match in (*verdict.matches, *verdict.logged):
            self._events.count(COUNT_MATCH + match.rule.name)
        logged = [*verdict.logged] if effective else [*verdict.logged, *verdict.matches]
        if logged:
            self._events.emit(
                "rule_log_only",
                id=facts.id,
                client=facts.client,
                helo=facts.helo,
                sender=facts.sender,
                recipient=facts.recipient,
                rules=[match.rule.name for match in logged],
                action=verdict.action if not effective else logged[0].rule.action,
                score=sum(match.points for match in logged),
            )


class Screening:
    """What the rules know and decide of one connection."""

    def __init__(self, rules: Rules, facts: Facts) -> None:
        self.rules = rules
        self.facts = facts
        self.answers: dict[Question, Answer | None] = {}
        self._asked: dict[Question, asyncio.Task[Answer | None]] = {}
        self._deadline = 0.0
        #: What is written into the message for a recipient.
        self.tags: dict[Mailbox, str] = {}
        #: First rule and score of the accepted recipients, for the log.
        self.noted: dict[str, object] = {}
        #: Recipients for whom a rule allows the message: a spam score does not refuse it.
        self.allowed: set[Mailbox] = set()
        #: The address that gets mail for the gateway's postmaster, if the message is for it.
        self.for_postmaster: set[Mailbox] = set()
        self._begin(HELO)

    def begin(self, sender: Mailbox, id: str | None = None) -> None:
        """Begin a transaction, whose id in events is `id`: ask DNS what the rules will need."""
        self.facts.sender, self.facts.id = sender, id
        self.answers.clear()
        self._asked.clear()
        self._deadline = 0.0
        self.tags = {}
        self.noted = {}
        self.allowed = set()
        self.for_postmaster = set()
        self._begin(SENDER)
        if self.rules.ruleset.identifier:
            self._ask(self.facts.spf)
        if self.rules.ruleset.names_clients:
            self._ask(Question("reverse", self.facts.client))

    @property
    def needs_message(self) -> bool:
        """Whether rules or mail authentication need the received message."""
        ruleset = self.rules.ruleset
        return bool(ruleset.message_rules or ruleset.identifier)

    def begin_message(self) -> float:
        """Return until when, in time of the event loop, the received message may wait for DNS."""
        self._deadline = asyncio.get_running_loop().time() + self.rules.dns_seconds
        return self._deadline

    async def answer(self, question: Question) -> Answer | None:
        """Return an answer, None for one that fails or is late."""
        if question not in self.answers:
            await self._wait(question)
        return self.answers[question]

    def _begin(self, stage: int) -> None:
        for question in self.rules.ruleset.questions(self.facts, stage):
            self._ask(question)

    def _ask(self, question: Question) -> None:
        if question in self.answers or question in self._asked:
            return
        known, answer = self.rules.resolver.cached(question)
        if not known and (task := self.rules.resolver.ask(question)) is not None:
            self._asked[question] = task
        else:
            self.answers[question] = answer

    async def check(self, recipient: Mailbox, recipients: int, *, utf8: bool) -> Verdict | None:
        """Return what the rules decide on a recipient, None if they do not apply; waits for DNS within its limit."""
        ruleset = self.rules.ruleset
        mode = ruleset.mode(recipient)
        if ruleset.is_postmaster(recipient, self.rules.hostname):
            self.for_postmaster.add(self.rules.postmaster)
            return None
        if mode == "ignore":
            return None
        facts = self.facts
        facts.recipient, facts.recipients = recipient, recipients
        while isinstance(verdict := ruleset.evaluate(facts, self.answers), Question):
            await self._wait(verdict)
        if verdict.matches or verdict.logged:
            self.rules.record(facts, verdict, effective=mode != "log")
        if mode == "log":
            return None
        if verdict.action == "allow":
            self.allowed.add(recipient)
        verdict.reply = reply_to(verdict, facts, utf8=utf8) or await self._greylist(verdict)
        if not verdict.reply and verdict.matches:
            self.noted = {"rule": verdict.first, "score": verdict.score}
            if verdict.action == "tag":
                names = ",".join(match.rule.name for match in verdict.matches[:MAX_NAMES])
                self.tags[recipient] = f"score={verdict.score} rules={names}"
        return verdict

    async def _greylist(self, verdict: Verdict) -> Reply | None:
        """Return the reply that defers a new sender if a rule or the score asks for it, or None."""
        if not verdict.greylist:
            return None
        facts = self.facts
        seconds = await self.rules.greylister(facts.client, facts.sender, facts.recipient)
        if not seconds:
            return None
        self.rules.count(COUNT_GREYLISTED)
        return greylist_reply(seconds)

    async def _wait(self, question: Question) -> None:
        """Get an answer, or None for one that fails or is late."""
        self._ask(question)
        task = self._asked.pop(question, None)
        if task is None:
            return
        now = asyncio.get_running_loop().time()
        self._deadline = self._deadline or now + self.rules.dns_seconds
        done, _pending = await asyncio.wait((task,), timeout=max(0.0, self._deadline - now))
        # The task never raises.
        self.answers[question] = task.result() if done else None
