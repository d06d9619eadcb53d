# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conditions of rules: pure functions of facts and of answers from DNS."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mailgate.rule_settings import Conditions
from mailgate.rules.entries import NameTable, NetworkTable, Table, new_table
from mailgate.rules.model import Answer, Facts, Question
from mailgate.smtp.address import Mailbox

# From when on a condition can be evaluated.
CLIENT, HELO, SENDER, RECIPIENT, MESSAGE, RESULTS = range(6)
_LITERAL = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        name: Its key in the settings.
        stage: From when on it can be evaluated.
        holds: Whether it holds; the answer is that of its question.
        question: What it asks DNS, or None if it asks nothing in this case.
    """

    name: str
    stage: int
    holds: Callable[[Facts, Answer], bool]
    question: Callable[[Facts], Question | None] | None = None


@dataclass(frozen=True)
class Own:
    """What is ours: names and addresses of the gateways, and the domains of the delivery table."""

    hostname: str
    addresses: Collection[str]
    is_domain: Callable[[str], bool]

    def is_helo(self, helo: str) -> bool:
        """Return whether a HELO name is ours."""
        name = helo.lower().removesuffix(".")
        return name == self.hostname or self.is_domain(name) or _address_in(helo) in self.addresses


def conditions_of(setting: Conditions, lists: Mapping[str, Table], own: Own, codes: Sequence[str]) -> list[Condition]:
    """Return the conditions of a table, first those that do not ask DNS.

    Args:
        setting: The table.
        lists: All lists by name.
        own: What is ours.
        codes: Replies of a DNS list that count.
    """
    found = []

    def add(name: str, stage: int, holds: Callable[[Facts, Answer], bool]) -> None:
        found.append(Condition(name, stage, holds))

    if setting.client:
        networks = _tables(setting.client, "network", lists)
        add("client", CLIENT, lambda facts, _answer: any(table.contains(facts.packed) for table in networks))
    found += _client_is(setting.client_is)
    if setting.helo:
        helos = _names(setting.helo, "name", lists)
        add("helo", HELO, lambda facts, _answer: _has_name(helos, facts.helo.lower().removesuffix(".")))
    if setting.helo_is:
        kinds = [_HELO[kind] for kind in setting.helo_is if kind != "own"]
        if "own" in setting.helo_is:
            kinds.append(own.is_helo)
        add("helo_is", HELO, lambda facts, _answer: any(is_kind(facts.helo) for is_kind in kinds))
    if setting.sender:
        senders = _names(setting.sender, "address", lists)
        add("sender", SENDER, lambda facts, _answer: _has_mailbox(senders, facts.sender.local, facts.sender.domain))
    if setting.recipient:
        recipients = _names(setting.recipient, "address", lists)
        add("recipient", RECIPIENT,
            lambda facts, _answer: _has_mailbox(recipients, facts.recipient.local, facts.recipient.domain))  # fmt: skip
    if most := setting.more_recipients_than:
        add("more_recipients_than", RECIPIENT, lambda facts, _answer: facts.recipients > most)
    if setting.sender_is:
        found.append(_sender_is(setting.sender_is, own))
    if setting.client_name:
        verified = _names(setting.client_name, "name", lists)
        found.append(_reverse("client_name", lambda answer: any(_has_name(verified, name) for name in answer.verified)))
    if setting.reverse_name:
        given = _names(setting.reverse_name, "name", lists)
        found.append(_reverse("reverse_name", lambda answer: any(_has_name(given, name) for name in answer.names)))
    if setting.reverse_is:
        missing, unverified = "missing" in setting.reverse_is, "unverified" in setting.reverse_is
        found.append(
            _reverse(
                "reverse_is",
                lambda answer: missing if not answer.names else unverified and not answer.verified,
            )
        )
    found += _from_header(setting, lists, own)
    found += _authentication(setting)
    if zone := setting.dns_list:
        found.append(
            Condition(
                "dns_list",
                CLIENT,
                lambda _facts, answer: points_of(answer, codes) is not None,
                lambda facts: Question("listed", facts.client, zone),
            )
        )
    return found


def points_of(answer: Answer, codes: Sequence[str]) -> int | None:
    """Return the points of a DNS list's answer, None if no reply counts, 0 if the rule's own points apply."""
    if not codes:
        return 0 if answer.codes else None
    points = [weight for reply in answer.codes for code in codes if (weight := weight_of(code, reply)) is not None]
    return max(points, key=abs, default=None)


def weight_of(code: str, reply: str) -> int | None:
    """Return the points of a reply if it matches `CODE` or `CODE=POINTS`, 0 without points, None if it does not."""
    pattern, points = parse_code(code)
    numbers = [int(number) for number in reply.split(".")]
    matches = all(low <= number <= high for (low, high), number in zip(pattern, numbers, strict=True))
    return points if matches else None


@lru_cache(maxsize=1000)
def parse_code(text: str) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the ranges and the points of `CODE` or `CODE=POINTS`; raise ValueError."""
    code, equals, points = text.partition("=")
    ranges = []
    for number in code.split("."):
        low, dash, high = ("0", "-", "255") if number == "*" else number.partition("-")
        ranges.append((int(low), int(high if dash else low)))
    if len(ranges) != 4 or any(not 0 <= low <= high <= 255 for low, high in ranges):
        raise ValueError(text)
    if equals and not -1000 <= int(points) <= 1000:
        raise ValueError(text)
    return tuple(ranges), int(points) if equals else 0


def _client_is(kinds: Collection[str]) -> list[Condition]:
    traits = frozenset(kinds)
    return [Condition("client_is", HELO, lambda facts, _answer: not traits.isdisjoint(facts.traits))] if traits else []


def _sender_is(kinds: Collection[str], own: Own) -> Condition:
    asks = "no_server" in kinds or "null_mx" in kinds
    states = {"none" if kind == "no_server" else kind for kind in kinds}

    def known(facts: Facts) -> bool:
        """Return whether it holds without an answer of DNS."""
        sender = facts.sender
        if sender.null:
            return "empty" in kinds
        return "own" in kinds and own.is_domain(sender.domain)

    def question(facts: Facts) -> Question | None:
        domain = facts.sender.domain
        return None if not domain or domain.startswith("[") or known(facts) else Question("mail", domain)

    def holds(facts: Facts, answer: Answer) -> bool:
        return known(facts) or answer.servers in states

    return Condition("sender_is", SENDER, holds, question if asks else None)


def _authors(facts: Facts) -> list[Mailbox]:
    return [mailbox for field in facts.authors for mailbox in field]


def _from_header(setting: Conditions, lists: Mapping[str, Table], own: Own) -> Iterator[Condition]:
    """Yield the conditions for the header field From."""
    if setting.from_header:
        tables = _names(setting.from_header, "address", lists)

        def is_listed(facts: Facts, _answer: Answer) -> bool:
            return any(_has_mailbox(tables, author.local, author.domain) for author in _authors(facts))

        yield Condition("from_header", MESSAGE, is_listed)
    if setting.from_is:
        yield Condition("from_is", MESSAGE, _from_is(setting.from_is, own))


def _from_is(kinds: Collection[str], own: Own) -> Callable[[Facts, Answer], bool]:
    def holds(facts: Facts, _answer: Answer) -> bool:
        authors = _authors(facts)
        return (
            ("empty" in kinds and not authors)
            or ("several" in kinds and len(facts.authors) > 1)
            or ("own" in kinds and any(own.is_domain(author.domain) for author in authors))
        )

    return holds


def _authentication(setting: Conditions) -> list[Condition]:
    """Return the conditions for results of SPF, DKIM, DMARC and ARC."""
    found = []
    if setting.spf:
        found.append(_result("spf", SENDER, setting.spf, lambda facts: facts.spf))
    for name in ("dkim", "dmarc", "arc"):
        if wanted := getattr(setting, name):
            question = Question(name, "")
            found.append(_result(name, RESULTS, wanted, lambda _facts, question=question: question))  # type: ignore[misc]
    return found


def _result(name: str, stage: int, wanted: Collection[str], question: Callable[[Facts], Question | None]) -> Condition:
    return Condition(name, stage, lambda _facts, answer: answer.result in wanted, question)


def _reverse(name: str, holds: Callable[[Answer], bool]) -> Condition:
    return Condition(
        name, CLIENT, lambda _facts, answer: holds(answer), lambda facts: Question("reverse", facts.client)
    )


def name_tables(entries: Sequence[str], lists: Mapping[str, Table]) -> list[NameTable]:
    """Return the tables of names, or of lists of names, in a setting."""
    return _names(entries, "name", lists)


def _tables(entries: Sequence[str], kind: str, lists: Mapping[str, Table]) -> list[NetworkTable]:
    return [table for table in _resolve(entries, kind, lists) if isinstance(table, NetworkTable)]


def _names(entries: Sequence[str], kind: str, lists: Mapping[str, Table]) -> list[NameTable]:
    return [table for table in _resolve(entries, kind, lists) if isinstance(table, NameTable)]


def _resolve(entries: Sequence[str], kind: str, lists: Mapping[str, Table]) -> list[Table]:
    """Return the lists that are named, and a table of the other entries."""
    own = new_table(kind)
    for entry in entries:
        if not entry.startswith("@"):
            own.add(entry)
    own.close()
    named = [lists[entry[1:]] for entry in entries if entry.startswith("@")]
    return [own, *named] if len(own) else named


def _has_name(tables: Sequence[NameTable], name: str) -> bool:
    return any(table.contains(name) for table in tables)


def _has_mailbox(tables: Sequence[NameTable], local: str, domain: str) -> bool:
    if not domain:
        return False
    lower = local.lower()
    return any(table.contains_address(lower, domain) for table in tables)


def _address_in(helo: str) -> str:
    """Return the address that a HELO name is, with or without brackets, or an empty string."""
    text = helo[1:-1] if _LITERAL.fullmatch(helo) else helo
    try:
        return str(ipaddress.ip_address(text[5:] if text[:5].lower() == "ipv6:" else text))
    except ValueError:
        return ""


def _is_literal(helo: str) -> bool:
    return bool(_LITERAL.fullmatch(helo)) and _address_in(helo) != ""


def _is_bare(helo: str) -> bool:
    if _LITERAL.fullmatch(helo):
        return False
    return "." not in helo.removesuffix(".") or _address_in(helo) != ""


_HELO: Mapping[str, Callable[[str], bool]] = {"bare": _is_bare, "literal": _is_literal}
