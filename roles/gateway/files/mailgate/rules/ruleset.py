# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All rules of the settings with their lists, the clients that they never apply to, and what each domain has chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from mailgate.config import Config
from mailgate.routes import Routes
from mailgate.rules.conditions import MESSAGE, RECIPIENT, RESULTS, Own, name_tables
from mailgate.rules.engine import Trace, compile_rules, evaluate, questions
from mailgate.rules.entries import NetworkTable, Table, pack
from mailgate.rules.model import Answers, Facts, Question, Thresholds, Verdict
from mailgate.smtp.address import Mailbox
from mailgate.translation import N_, Text

NOT_EXEMPT = Text("")


class RuleSet:
    """The rules in effect. Immutable; a change of settings, routes or lists makes a new one.

    Args:
        config: Settings.
        routes: Delivery table; its domains are our own.
        lists: The lists in memory.
    """

    def __init__(self, config: Config, routes: Routes, lists: Mapping[str, Table]) -> None:
        self._config = config
        refusal = config.refusal
        own = Own(config.hostname, frozenset(config.own_addresses), lambda domain: routes.find(domain) is not None)
        self.rules = compile_rules(config.rules, lists, own)
        #: Rules that need the received message, by name; the others are evaluated for each recipient at RCPT.
        self.message_rules = frozenset(rule.setting.name for rule in self.rules if rule.stage >= MESSAGE)
        self._until = {
            stage: [rule for rule in self.rules if rule.stage <= stage] for stage in (RECIPIENT, MESSAGE, RESULTS)
        }
        authentication = config.authentication
        #: Identifier of Authentication-Results, empty if they are not evaluated.
        self.identifier = (authentication.identifier or config.hostname) if authentication.evaluate else ""
        #: Whether the client's name is needed without a rule that asks for it: the spam scan does.
        self.names_clients = bool(config.rspamd.socket)
        self._sealers = name_tables(authentication.arc_sealers, lists)
        self._default = Thresholds(refusal.tag_score, refusal.refuse_score, refusal.greylist_score)
        self._strict = Thresholds(refusal.strict_tag_score, refusal.strict_refuse_score, refusal.strict_greylist_score)
        self._exempt = list(exemptions(config, lists))

    def exemption(self, address: str) -> Text:
        """Return why no rule applies to a client, or NOT_EXEMPT."""
        packed = pack(address)
        return next((reason for reason, table in self._exempt if table.contains(packed)), NOT_EXEMPT)

    def mode(self, recipient: Mailbox) -> str:
        """Return whether rules apply to a recipient: `apply`, `log`, `strict` or `ignore`."""
        return self._config.choice(recipient.domain, "rules", self._config.refusal.rules)

    def dmarc(self, recipient: Mailbox) -> str:
        """Return what a failure of DMARC does for a recipient: `off`, `tag` or `refuse`."""
        return self._config.choice(recipient.domain, "dmarc", self._config.authentication.dmarc)

    def trusts(self, sealers: Collection[str]) -> bool:
        """Return whether an ARC chain with these seals is trusted."""
        return bool(sealers) and all(any(table.contains(name) for table in self._sealers) for name in sealers)

    @staticmethod
    def is_postmaster(recipient: Mailbox, hostname: str) -> bool:
        """Return whether this is the postmaster of the gateway, whom a refused sender must reach (RFC 5321 4.5.1)."""
        return recipient.domain in ("", hostname) and recipient.local.lower() == "postmaster"

    def thresholds(self, mode: str) -> Thresholds:
        """Return the scores that decide in a mode."""
        return self._strict if mode == "strict" else self._default

    def evaluate(
        self, facts: Facts, answers: Answers, trace: Trace | None = None, stage: int = RECIPIENT
    ) -> Verdict | Question:
        """Return the verdict on a recipient, or what must be asked first.

        Args:
            facts: What is known.
            answers: Answers of DNS.
            trace: Called for each rule that is reached.
            stage: RECIPIENT, MESSAGE if addresses in From are known, RESULTS if results of mail authentication are;
                rules that need more are left out.
        """
        return evaluate(self._until[stage], facts, answers, self.thresholds(self.mode(facts.recipient)), trace)

    def questions(self, facts: Facts, stage: int) -> Iterator[Question]:
        """Yield what the rules will ask DNS, as far as it is known."""
        return questions(self.rules, facts, stage)


def exemptions(config: Config, lists: Mapping[str, Table]) -> Iterator[tuple[Text, NetworkTable]]:
    """Yield the clients that no rule applies to, with the reason."""
    own = NetworkTable()
    for text in ("127.0.0.0/8", "::1", *config.own_addresses):
        own.add(text)
    relaying, listed = NetworkTable(), NetworkTable()
    for network in (*config.relay_networks, *config.proxy_protocol_from):
        relaying.add(str(network))
    for entry in config.refusal.exempt:
        if not entry.startswith("@"):
            listed.add(entry)
    for table in (own, relaying, listed):
        table.close()
    yield N_("it is a gateway"), own
    yield N_("it is in relay_networks or proxy_protocol_from"), relaying
    exempt = N_("it is in refusal.exempt")
    yield exempt, listed
    for entry in config.refusal.exempt:
        table_of = lists.get(entry[1:]) if entry.startswith("@") else None
        if isinstance(table_of, NetworkTable):
            yield exempt, table_of
