# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that two configurations must answer alike but for planned domains: pure functions, no I/O.

An admin's configuration is taken as it is: what counts is what sendmail answers about each address that it handles.

Source: the Sendmail Installation and Operations Guide (address test mode, -bv).
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .._routes.table import Route
from . import adopt, tables
from .settings import Settings
from .trial import EXTERNAL_CLIENT, FOREIGN_DOMAIN, PROBE_LABEL, PROBE_USER

#: Questions asked at most; of more, a choice at even distances.
LIMIT = 2000
#: Of each kind of question, at least so many, if there are.
_LEAST = 50
_CLIENTS = 60
_SHOWN = 40
_BATCH = 400

_SENTINEL = re.compile(r"^(?:> )*mgq(\d+)$")
_LAST = "mgq999999"
_NOISE = re.compile(r"Cracked address|Parsing |Trying |== Ruleset|.*: Name server timeout|.*Transient parse error")
_CALL = re.compile(r"^\S+ +(input|returns): ?(.*)$")
_VERIFIED = re.compile(r"^(.*?)\.\.\. (.*)$")
_T = TypeVar("_T")
_LOCALHOST = ("127.0.0.1", "localhost", "OK")
_EXTERNAL = (EXTERNAL_CLIENT, FOREIGN_DOMAIN, "FAIL")


@dataclass(frozen=True)
class Question:
    """Commands for `sendmail -bt`, of which the last one's answer counts.

    Attributes:
        commands: The commands.
        domain: The domain of the address; "" without one.
        client: Address, name and `${client_resolve}` of the client.
        kind: `parse`, `check` or `try`.
    """

    commands: tuple[str, ...]
    domain: str = ""
    client: tuple[str, str, str] = _LOCALHOST
    kind: str = "parse"

    def __str__(self) -> str:
        """Return the question for people."""
        asked = " ".join(self.commands).replace("/tryflags ER /parse", "mail for")
        return f"{asked} (client {self.client[0]})" if self.kind == "check" else asked


@dataclass
class Handled:
    """What a configuration handles.

    Attributes:
        names: Aliases.
        classes: The content of classes by name.
        entries: The entries of maps by name.
        mailers: The mailers that are defined.
    """

    names: list[str] = field(default_factory=list)
    classes: dict[str, list[str]] = field(default_factory=dict)
    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    mailers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Difference:
    """A question that two configurations answer differently."""

    question: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return the question with both answers."""
        return f"{self.question}: before {self.before!r}, after {self.after!r}"


def recipients(handled: Handled) -> dict[str, list[str]]:
    """Return addresses that the configuration handles, by what they are."""
    domains = [name for name in handled.classes.get("w", []) if "." in name and not name.startswith("[")]
    some = handled.names[:2]
    host = next(iter(domains), "localhost")
    found = {
        "local names": ["root", PROBE_USER, *(f"{user}@{host}" for user in ("root", PROBE_USER))],
        "aliases": [name for name in handled.names if _plain(name)],
        "local domains": [f"{user}@{name}" for name in domains for user in (PROBE_USER, "root", *filter(_plain, some))],
        "foreign": [f"{PROBE_USER}@{FOREIGN_DOMAIN}", f"{PROBE_USER}@[192.0.2.1]"],
        "relay domains": [f"{PROBE_USER}@{d}" for d in _dotted(handled.classes.get("R", []))],
        "virtual domains": [f"{PROBE_USER}@{d}" for d in _dotted(handled.classes.get("{VirtHost}", []))],
    }
    for name in ("virtuser", "generics", "domaintable", "mailertable", "access"):
        found[name] = [address for key in handled.entries.get(name, {}) for address in _addresses(key)]
    return {kind: [a for a in dict.fromkeys(each) if _plain(a)] for kind, each in found.items()}


def questions(handled: Handled) -> dict[str, list[Question]]:
    """Return the questions about everything that the configuration handles, by what they are about."""
    asked = {
        kind: [Question(("/tryflags ER", f"/parse {address}"), domain_of(address)) for address in addresses]
        for kind, addresses in recipients(handled).items()
    }
    clients = [_LOCALHOST, _EXTERNAL, *_evenly(_clients(handled), _CLIENTS)]
    local = next((n for n in handled.classes.get("w", []) if "." in n and n[0] != "["), "localhost")
    targets = [f"{PROBE_USER}@{FOREIGN_DOMAIN}", f"root@{local}", "root"]
    asked["relaying"] = [_check(f"check_rcpt {address}", address, client) for client in clients for address in targets]
    external = [a for each in recipients(handled).values() for a in each if "@" in a]
    asked["acceptance"] = [_check(f"check_rcpt {address}", address, _EXTERNAL) for address in dict.fromkeys(external)]
    asked["clients"] = [
        _check(f"check_relay {name} $| {address}", "", (address, name, resolve)) for address, name, resolve in clients
    ]
    access = handled.entries.get("access", {})
    senders = [key.partition(":")[2] for key in access if key.startswith(("from:", "spam:"))]
    senders = [a for key in senders for a in _addresses(key)] + [f"root@{local}", f"{PROBE_USER}@{FOREIGN_DOMAIN}"]
    asked["senders"] = [_check(f"check_mail {a}", a, _EXTERNAL) for a in dict.fromkeys(senders) if _plain(a)]
    asked["rewriting"] = list(_rewriting(handled, local))
    return asked


def chosen(asked: Mapping[str, Sequence[Question]], limit: int = LIMIT) -> list[Question]:
    """Return all questions, or of too many a choice of each kind at even distances."""
    total = sum(map(len, asked.values()))
    if total <= limit:
        return [question for each in asked.values() for question in each]
    found = []
    for each in asked.values():
        found += _evenly(each, max(min(len(each), _LEAST), limit * len(each) // total))
    return found


def script(asked: Iterable[Question]) -> str:
    """Return the input for `sendmail -bt`."""
    lines: list[str] = []
    client = None
    for number, question in enumerate(asked):
        if question.client != client:
            client = question.client
            lines += (
                f".D{{client_{name}}}{value}" for name, value in zip(("addr", "name", "resolve"), client, strict=True)
            )
        # sendmail prints the macro's value, which separates the answers.
        lines += [*question.commands[:-1], f".D{{mgq}}mgq{number}", "${mgq}", question.commands[-1]]
    return "".join(f"{line}\n" for line in [*lines, f".D{{mgq}}{_LAST}", "${mgq}"])


def is_complete(output: str) -> bool:
    """Return whether sendmail has answered all questions."""
    return any(line.endswith(_LAST) for line in output.splitlines()[-3:])


def answers(asked: Sequence[Question], output: str) -> list[str]:
    """Return the answers in the output of `sendmail -bt` for `script(asked)`; "" for one that is missing."""
    sections: dict[int, list[str]] = {}
    current: list[str] = []
    for line in output.splitlines():
        match = _SENTINEL.match(line)
        if match:
            current = sections[int(match[1])] = []
        else:
            current.append(re.sub(r"^(> )+", "", line))
    return [_answer(question, sections.get(number, [])) for number, question in enumerate(asked)]


def compare(
    asked: Sequence[Question], before: Sequence[str], after: Sequence[str], settings: Settings, ours: Iterable[str]
) -> list[Difference]:
    """Return the answers that differ and may not.

    Args:
        asked: The questions.
        before: The answers of the running configuration.
        after: Those of the new one.
        settings: The plan: routed domains must have the planned route.
        ours: Domains of an earlier plan, whose answers may change.
    """
    former = set(ours)
    found = []
    for question, old, new in zip(asked, before, after, strict=True):
        if old == new:
            continue
        planned = adopt.planned_for(question.domain, settings) if question.domain else None
        if isinstance(planned, Route) and question.kind == "parse":
            wanted = f"host {tables.hop(planned)},"
            if wanted.lower() not in f"{new},".lower():
                found.append(Difference(str(question), old, f"{new} (planned: {wanted.rstrip(',')})"))
        elif planned is None and not _within(question.domain, former):
            found.append(Difference(str(question), old, new))
    return found


def verified(output: str) -> dict[str, str]:
    """Return the answers of `sendmail -bv` by address."""
    found = {}
    for line in output.splitlines():
        match = _VERIFIED.match(line)
        if match:
            found[match[1]] = match[2]
    return found


def compare_verified(
    before: Mapping[str, str], after: Mapping[str, str], settings: Settings, ours: Iterable[str]
) -> list[Difference]:
    """Return the differences between the answers of `sendmail -bv`, as `compare` does; `ours` may have names too."""
    former, found = set(ours), []
    for address in dict.fromkeys([*before, *after]):
        old, new = before.get(address, "not resolved"), after.get(address, "not resolved")
        domain = domain_of(address)
        planned = adopt.planned_for(domain, settings) if domain else None
        if old != new and planned is None and not _within(domain or address.lower(), former):
            found.append(Difference(f"sendmail -bv {address}", old, new))
    return found


def batches(addresses: Iterable[str], limit: int = LIMIT) -> list[list[str]]:
    """Return addresses for `sendmail -bv`, in a few groups."""
    few = _evenly([a for a in dict.fromkeys(addresses) if not a.startswith("-")], limit)
    return [few[start : start + _BATCH] for start in range(0, len(few), _BATCH)]


def listed(found: Sequence[Difference]) -> list[str]:
    """Return the differences for people, the first ones of many."""
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return [*map(str, found[:_SHOWN]), *more]


def domain_of(address: str) -> str:
    """Return the domain of an address; "" for a local name."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


def _answer(question: Question, lines: Iterable[str]) -> str:
    """Return the part of an answer that counts."""
    result, rest = "", []
    for line in lines:
        call = _CALL.match(line)
        if call:
            result = call[2] if call[1] == "returns" else result
        elif line.strip() and not _NOISE.match(line):
            rest.append(line.strip())
    if question.kind == "check":
        return " ".join([*rest, re.sub(r"\s+", " ", result).strip()]).strip()
    return "; ".join(rest)


def _check(command: str, address: str, client: tuple[str, str, str]) -> Question:
    return Question((command,), domain_of(address), client, "check")


def _rewriting(handled: Handled, local: str) -> Iterable[Question]:
    """Return questions about what each mailer makes of addresses in the envelope and header."""
    keys = [a for key in handled.entries.get("generics", {}) for a in _addresses(key)]
    masqueraded = [f"{PROBE_USER}@{d}" for d in _dotted(handled.classes.get("M", []))[:_LEAST]]
    addresses = ["root", f"root@{local}", f"{PROBE_USER}@{FOREIGN_DOMAIN}", *masqueraded, *keys]
    for mailer in handled.mailers:
        for address in dict.fromkeys(a for a in addresses if _plain(a)):
            for flags in ("ES", "HS", "ER", "HR"):
                yield Question((f"/tryflags {flags}", f"/try {mailer} {address}"), domain_of(address), kind="try")


def _clients(handled: Handled) -> list[tuple[str, str, str]]:
    """Return a client for each line that names clients."""
    keys = [k.removeprefix("connect:") for k in handled.entries.get("access", {}) if _names_client(k)]
    return list(dict.fromkeys(filter(None, (_client(key) for key in [*keys, *handled.classes.get("R", [])]))))


def _names_client(key: str) -> bool:
    return key.startswith(("connect:", "ipv6:")) or (":" not in key and "@" not in key)


def _client(key: str) -> tuple[str, str, str] | None:
    """Return a client within a network or a domain, in the notation of access and relay-domains."""
    if re.fullmatch(r"\d{1,3}(\.\d{1,3}){0,3}\.?", key):
        parts = key.rstrip(".").split(".")
        return ".".join([*parts, *["1"] * (4 - len(parts))]), FOREIGN_DOMAIN, "FAIL"
    if key.lower().startswith("ipv6:"):
        groups = key[5:].rstrip(":")
        try:
            padded = ipaddress.IPv6Address(groups if groups.count(":") == 7 or "::" in groups else f"{groups}::1")
        except ValueError:
            return None
        return "IPv6:" + ":".join(f"{int(part, 16):x}" for part in padded.exploded.split(":")), FOREIGN_DOMAIN, "FAIL"
    name = key.lstrip(".")
    return ("192.0.2.99", name, "OK") if re.fullmatch(r"[\w.-]+", name) and name else None


def _addresses(key: str) -> list[str]:
    """Return addresses for a key of a map: of an address itself, of a domain one of its users."""
    bare = re.sub(r"^(?:to|from|connect|spam|[a-z]+):", "", key)
    if bare.startswith("@"):
        return [f"{PROBE_USER}{bare}"]
    if "@" in bare:
        return [bare.rstrip("@") if bare.endswith("@") else bare.replace("+*", "+x")]
    if re.fullmatch(r"[\d.]*", bare) or bare.startswith("ipv6"):
        return []
    if "." not in bare:
        return [bare]
    return [f"{PROBE_USER}@{PROBE_LABEL}{bare}" if bare.startswith(".") else f"{PROBE_USER}@{bare}"]


def _dotted(names: Iterable[str]) -> list[str]:
    """Return the names of a class that are domains; of `.suffix`, one within."""
    found = [f"{PROBE_LABEL}{name}" if name.startswith(".") else name for name in names]
    return [name for name in found if "." in name and not re.fullmatch(r"[\d.]+|\[.*", name)]


def _plain(text: str) -> bool:
    """Return whether sendmail's test mode can read an address as it is."""
    return (
        bool(text) and text.isascii() and not re.search(r"[\s\"`'()<>,;\\|$\x00-\x1f]", text) and text[0] not in "-/:#"
    )


def _within(domain: str, former: Iterable[str]) -> bool:
    """Return whether a domain is one of others, or in a `*.suffix` of them."""
    return any(domain == each or (each.startswith("*.") and domain.endswith(each[1:])) for each in former)


def _evenly(items: Sequence[_T], limit: int) -> list[_T]:
    """Return at most `limit` items at even distances."""
    if len(items) <= limit:
        return list(items)
    return [items[math.floor(n * len(items) / limit)] for n in range(limit)]
