# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of rules and lists that concern more than one setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from mailgate.config import Config
from mailgate.rule_settings import Conditions, ListSetting, RuleSetting
from mailgate.rules.conditions import parse_code
from mailgate.rules.entries import EXPECTED, new_table
from mailgate.rules.lists import load_list

# Conditions on the received message.
_OF_MESSAGE = ("from_header", "from_is", "dkim", "dmarc", "arc")
# Kinds of lists that a condition may name.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "client": ("network",),
    "client_name": ("name",),
    "reverse_name": ("name",),
    "helo": ("name",),
    "sender": ("address", "name"),
    "recipient": ("address", "name"),
    "from_header": ("address", "name"),
}


def problems_of(config: Config) -> Iterator[tuple[str, str]]:
    """Yield key and text of each problem; files are not read."""
    names: set[str] = set()
    for number, rule in enumerate(config.rules, 1):
        key = f"rules[{number}] ({rule.name})"
        if rule.name in names:
            yield key, "another rule has this name"
        names.add(rule.name)
        yield from _rule_problems(key, rule, config.lists)
    yield from _references("refusal.exempt", config.refusal.exempt, ("network",), config.lists)
    yield from _references("bans.never", config.bans.never, ("network",), config.lists)
    yield from _references("rates.relay_unlimited", config.rates.relay_unlimited, ("network",), config.lists)
    yield from _authentication_problems(config)
    yield from _spam_problems(config)
    refusal = config.refusal
    if 0 < refusal.refuse_score < refusal.tag_score:
        yield "refusal.tag_score", f"must not be above refuse_score ({refusal.refuse_score})"
    if 0 < refusal.strict_refuse_score < refusal.strict_tag_score:
        yield "refusal.strict_tag_score", f"must not be above strict_refuse_score ({refusal.strict_refuse_score})"
    for score, limit in (("greylist_score", "refuse_score"), ("strict_greylist_score", "strict_refuse_score")):
        if 0 < (refused := getattr(refusal, limit)) < getattr(refusal, score):
            yield f"refusal.{score}", f"must not be above {limit} ({refused})"
    for name, setting in config.lists.items():
        yield from _list_problems(f"lists.{name}", setting)


def _authentication_problems(config: Config) -> Iterator[tuple[str, str]]:
    setting, needed = config.authentication, "requires authentication.evaluate = true"
    yield from _references("authentication.arc_sealers", setting.arc_sealers, ("name",), config.lists)
    if setting.evaluate:
        return
    if setting.dmarc != "off":
        yield "authentication.dmarc", needed
    for domain, chosen in config.domains.items():
        if chosen.get("dmarc", "off") != "off":
            yield f'domains."{domain}".dmarc', needed
    for number, rule in enumerate(config.rules, 1):
        for table, conditions in (("when", rule.when), ("unless", rule.unless)):
            for name in ("dkim", "dmarc", "arc"):
                if getattr(conditions, name):
                    yield f"rules[{number}] ({rule.name}).{table}.{name}", needed


def _spam_problems(config: Config) -> Iterator[tuple[str, str]]:
    setting = config.rspamd
    for score, limit in (("tag_score", "refuse_score"), ("strict_tag_score", "strict_refuse_score")):
        if 0 < (refused := getattr(setting, limit)) < getattr(setting, score):
            yield f"rspamd.{score}", f"must not be above {limit} ({refused})"
    if setting.socket:
        return
    for domain, chosen in config.domains.items():
        if chosen.get("spam", "off") != "off":
            yield f'domains."{domain}".spam', "requires rspamd.socket"


def list_file_problems(lists: Mapping[str, ListSetting]) -> list[str]:
    """Return the problems in the files of all lists, with file and line."""
    return [
        problem
        for name, setting in lists.items()
        if setting.file
        for problem in load_list(name, ListSetting(setting.kind, file=setting.file)).problems
    ]


def _rule_problems(key: str, rule: RuleSetting, lists: Mapping[str, ListSetting]) -> Iterator[tuple[str, str]]:
    if rule.when == Conditions():
        yield f"{key}.when", "must have at least one condition"
    for table, conditions in (("when", rule.when), ("unless", rule.unless)):
        for item in fields(Conditions):
            if item.name in _KINDS:
                entries = getattr(conditions, item.name)
                yield from _references(f"{key}.{table}.{item.name}", entries, _KINDS[item.name], lists)
    if rule.codes and not rule.when.dns_list:
        yield f"{key}.codes", "requires when.dns_list"
    if rule.action == "score":
        if not rule.score and not all(parse_code(code)[1] for code in rule.codes or ("*.*.*.*",)):
            yield f"{key}.score", "must not be 0, unless each of codes has points (CODE=POINTS)"
    elif rule.score or any("=" in code for code in rule.codes):
        yield f"{key}.score", 'points require action = "score"'
    if rule.action in ("allow", "tag", "greylist") and (rule.reply or rule.reply_ja):
        yield f"{key}.reply", f"the action {rule.action} sends no reply"
    late = [name for name in _OF_MESSAGE if getattr(rule.when, name) or getattr(rule.unless, name)]
    if rule.action == "greylist" and late:
        yield f"{key}.action", f"a sender is greylisted at RCPT, when {' and '.join(late)} are not known yet"
    if rule.reply_ja and not rule.reply:
        yield f"{key}.reply_ja", "requires reply, since most clients get ASCII only"


def _references(
    key: str, entries: tuple[str, ...], kinds: tuple[str, ...], lists: Mapping[str, ListSetting]
) -> Iterator[tuple[str, str]]:
    for entry in entries:
        if not entry.startswith("@"):
            continue
        found = lists.get(entry[1:])
        if not found:
            yield key, f"no list {entry[1:]}; lists are {', '.join(lists) or 'not set'}"
        elif found.kind not in kinds:
            yield key, f"list {entry[1:]} is of kind {found.kind}; must be of kind {' or '.join(kinds)}"


def _list_problems(key: str, setting: ListSetting) -> Iterator[tuple[str, str]]:
    if not setting.file and not setting.entries:
        yield key, "must have a file or entries"
    table = new_table(setting.kind)
    for entry in setting.entries:
        try:
            table.add(entry)
        except ValueError:
            yield f"{key}.entries", f"{entry!r} is not {EXPECTED[setting.kind]}"
