# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Parser of the output of iptables-save and ipset, and its comparison with the rendered chains. Pure, no I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from .model import INBOUND, MARK, OUTBOUND, PARENT, RATE_SCALE, RATE_UNITS, Table, short

CHAINS = (INBOUND, OUTBOUND)


@dataclass(frozen=True)
class Saved:
    """The managed part of the output of iptables-save.

    `jumps` are (position in the parent chain from 1, rule). `references` are an admin's own rules, each with its
    `-A CHAIN`, that use a managed chain.
    """

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    jumps: tuple[tuple[int, str], ...] = ()
    references: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules of the managed chains, each with its `-A CHAIN`."""
        return tuple(f"-A {name} {rule}" for name, rules in self.chains.items() for rule in rules)


def parse_set(text: str) -> dict[str, str]:
    """Return the comment of each address from the output of `ipset save NAME`."""
    entries: dict[str, str] = {}
    for line in text.splitlines():
        words = split_rule(line)
        if len(words) >= 3 and words[0] == "add":
            comment = words[words.index("comment") + 1] if "comment" in words[3:] else ""
            entries[short(words[2])] = comment
    return entries


def parse_save(text: str, known: Iterable[str] = ()) -> Saved:
    """Return the managed chains and what uses them from the output of `iptables-save -t filter`.

    A jump is managed if it has the comment `model.MARK`, or if it is among the known ones: releases before 0.3.0 wrote
    no comment.
    """
    keys = {rule_key(rule) for rule in known}
    position = 0
    rules: dict[str, list[str]] = {}
    jumps: list[tuple[int, str]] = []
    references: list[str] = []
    for raw in text.splitlines():
        line = re.sub(r"^\[\d+:\d+\] ", "", raw)
        word, _space, rest = line.partition(" ")
        if line.startswith(":") and word[1:] in CHAINS:
            rules.setdefault(word[1:], [])
        elif word == "-A":
            chain, _space, rule = rest.partition(" ")
            position += chain == PARENT
            if chain in CHAINS:
                rules.setdefault(chain, []).append(rule)
            elif not _USES.search(rule):
                pass
            elif chain == PARENT and is_managed_jump(rule, keys):
                jumps.append((position, rule))
            else:
                references.append(line)
    return Saved({name: tuple(rules[name]) for name in CHAINS if name in rules}, tuple(jumps), tuple(references))


_USES = re.compile(rf"(?:^| )(?:-j|-g|--jump|--goto) (?:{INBOUND}|{OUTBOUND})$")


def is_managed_jump(rule: str, keys: Container[tuple[tuple[str, ...], ...]]) -> bool:
    """Return whether a rule that jumps to a managed chain is managed itself, by its comment or one of these keys."""
    words = split_rule(rule)
    comment = words[words.index("--comment") + 1 :][:1] if "--comment" in words else []
    return comment == [MARK] or rule_key(rule) in keys


def file_jumps(text: str) -> list[str]:
    """Return the jumps in a file that `Table.text` wrote, without `-I CHAIN PLACE`."""
    return re.findall(rf"^-I {PARENT} \d+ (.+)$", text, re.MULTILINE)


def has_our_marks(saved: Saved) -> bool:
    """Return whether the chains in the kernel are managed, or so empty that nobody loses anything by a takeover.

    Our chains have a jump with our comment, or rules with our sets. Somebody else's chain of this name has neither.
    """
    marked = bool(saved.jumps) or any("--match-set mailgate-" in rule for rule in saved.rules)
    return marked or not saved.rules


def split_rule(rule: str) -> list[str]:
    """Split a rule into words as iptables-restore does: in double quotes a backslash escapes the next character."""
    words: list[str] = []
    word, quoted, started, escaped = "", False, False, False
    for char in rule:
        if escaped:
            word, escaped = word + char, False
        elif char == "\\" and quoted:
            escaped = True
        elif char == '"':
            quoted, started = not quoted, True
        elif char.isspace() and not quoted:
            if word or started:
                words.append(word)
            word, started = "", False
        else:
            word += char
    if word or started:
        words.append(word)
    return words


# Options with their default value, which some versions of iptables-save print and others omit.
_DEFAULTS = {
    ("--limit-burst", "5"),
    ("--log-level", "4"),
    ("--log-level", "warning"),
    ("--nflog-group", "0"),
    ("--nflog-threshold", "1"),
    ("--source", "0.0.0.0/0"),
    ("--source", "::/0"),
    ("--destination", "0.0.0.0/0"),
    ("--destination", "::/0"),
}
LONG = {"-s": "--source", "-d": "--destination", "-p": "--protocol", "-i": "--in-interface", "-o": "--out-interface"}
LONG.update({"-j": "--jump", "-g": "--goto", "--src": "--source", "--dst": "--destination"})
LONG.update({"--dport": "--destination-port", "--sport": "--source-port"})


def rule_key(rule: str) -> tuple[tuple[str, ...], ...]:
    """Return a key that is equal for two rules with the same meaning.

    All matches of a rule must apply, so their order is ignored. Masks, rates, flags and defaults are normalized.
    `-m NAME` is omitted, unless NAME alone is the match.
    """
    parts = _parts(split_rule(rule))
    protocols = {part[1:] for part in parts if part[0] == "--protocol"}
    without_options = {"-m", "--jump", "--goto"}
    key: list[tuple[str, ...]] = []
    for index, part in enumerate(parts):
        if part[0] != "-m":
            key += [part] if part not in _DEFAULTS else []
        elif part[1:] not in protocols and (index + 1 == len(parts) or parts[index + 1][0] in without_options):
            key.append(part)
    return tuple(sorted(key))


def _parts(words: list[str]) -> list[tuple[str, ...]]:
    """Group words into options with normalized values; `!` becomes part of the option that it negates."""
    groups: list[list[str]] = []
    negated = ""
    for word in words:
        if word == "!":
            negated = "!"
        elif word.startswith("-") or not groups:
            groups.append([negated + LONG.get(word, word)])
            negated = ""
        else:
            groups[-1].append(word)
    return [_normalized(group[0], group[1:]) for group in groups]


def _normalized(option: str, values: list[str]) -> tuple[str, ...]:
    """Return an option with its values in one form."""
    name = option.lstrip("!")
    try:
        if name in {"--source", "--destination"}:
            values = [str(ipaddress.ip_network(values[0], strict=False))]
        elif name == "--limit":
            values = [str(_period(values[0]))]
        elif name == "--syn":
            return option.replace(name, "--tcp-flags"), "ACK,FIN,RST,SYN", "SYN"
        elif name in {"--ctstate", "--tcp-flags"}:
            values = [",".join(sorted(value.split(","))) for value in values]
    except (ValueError, IndexError, ZeroDivisionError):
        pass  # an unmanaged rule in an unknown form is compared as it is
    return (option, *values)


def _period(rate: str) -> int:
    """Convert `10/minute`, `10/min` or `10/m` to the kernel's period in 1/10000 s."""
    count, _slash, unit = rate.partition("/")
    unit = unit or "second"
    seconds = next((RATE_UNITS[name] for name in RATE_UNITS if name.startswith(unit)), 0)
    return RATE_SCALE * seconds // int(count)


def as_saved(table: Table) -> Saved:
    """Return what the kernel has after this table is loaded."""
    return Saved({chain.name: chain.rules for chain in table.chains}, tuple(enumerate(table.jumps, 1)))


def same(table: Table, saved: Saved) -> bool:
    """Return whether the kernel has exactly these chains, with one jump to each, first in the parent chain."""
    return _meaning(as_saved(table)) == _meaning(saved)


def gone(saved: Saved) -> bool:
    """Return whether nothing managed is left, except empty chains that an admin's own rules use."""
    return not saved.jumps and not saved.rules and all(_used(name, saved) for name in saved.chains)


def _used(chain: str, saved: Saved) -> bool:
    """Return whether an admin's own rule uses a chain."""
    return any(rule.split()[-1] == chain for rule in saved.references)


def _meaning(saved: Saved) -> object:
    """Return a value that is equal for chains and jumps with the same meaning."""
    chains = {name: [rule_key(rule) for rule in rules] for name, rules in saved.chains.items()}
    return chains, [(position, rule_key(rule)) for position, rule in saved.jumps]


def listing(saved: Saved, like: Table | None = None) -> str:
    """Return what the kernel has as text; write rules as their equivalents in `like`, so that a diff is short."""
    known = (*like.rules, *like.jumps) if like else ()
    wording = {rule_key(rule): rule for rule in known}
    lines = [f":{name}" for name in saved.chains]
    lines += [wording.get(rule_key(rule), rule) for rule in saved.rules]
    lines += [f"-I {PARENT} {position} {wording.get(rule_key(rule), rule)}" for position, rule in saved.jumps]
    return "\n".join([*lines, ""]) if lines else ""


def foreign(saved: Saved, known: Iterable[str]) -> list[str]:
    """Return the rules in the managed chains that are not among the known ones: manual changes."""
    keys = {rule_key(rule) for rule in known}
    return [rule for rule in saved.rules if rule_key(rule) not in keys]
