# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The zones of a BIND server, read from the output of `named-checkconf -p` (no comments, includes resolved)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeAlias

Block: TypeAlias = "list[Statement]"
Statement: TypeAlias = "list[str | Block]"

_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([{};])|([^\s"{};]+))')
_QUOTED_OR_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|/\*.*?\*/|(?://|#)[^\n]*', re.DOTALL)
PRIMARY = frozenset({"primary", "master"})
SECONDARY = frozenset({"secondary", "slave"})
_SERVER_LISTS = frozenset({"primaries", "masters", "remote-servers"})
_SESSION_KEY = "/run/named/session.key"
_NOBODY = frozenset({"none", "!any", ""})


@dataclass(frozen=True, slots=True)
class ServedZone:
    """A zone statement.

    Attributes:
        name: The zone's name, in lower case without the final dot.
        view: Its view, "" without views.
        kind: Its type, such as `primary`.
        file: The path of its file, or "".
        directory: The directory of relative paths, or "".
        journal: The path of its journal, if it is set.
        obstacles: The reasons why its file must not be edited.
        updates: The statement that permits RFC 2136 updates, or "".
        keys: The TSIG keys that this statement names.
        session_key: The file of BIND's own key for `update-policy local`, or "".
        signed: Whether BIND signs the zone itself.
        differences: Whether BIND keeps a journal of the changes in an edited file.
        primaries: The addresses that a secondary zone is transferred from.
    """

    name: str
    view: str
    kind: str
    file: str
    directory: str
    journal: str
    obstacles: tuple[str, ...]
    updates: str = ""
    keys: tuple[str, ...] = ()
    session_key: str = ""
    signed: bool = False
    differences: bool = False
    primaries: tuple[str, ...] = ()


def parse(text: str) -> Block:
    """Parse statements into nested lists: words as str, `{ }` as lists; raise ValueError for unbalanced braces."""
    stack: list[Block] = [[]]
    statement: Statement = []
    open_statements: list[Statement] = []
    for match in _TOKEN.finditer(text):
        quoted, mark, word = match.groups()
        if mark == "{":
            open_statements.append(statement)
            stack.append([])
            statement = []
        elif mark == "}":
            if not open_statements:
                raise ValueError("closing brace without an opening brace")
            block = stack.pop()
            statement = open_statements.pop()
            statement.append(block)
        elif mark == ";":
            if statement:
                stack[-1].append(statement)
            statement = []
        else:
            statement.append(word if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    if open_statements:
        raise ValueError("opening brace without a closing brace")
    return stack[0]


def served_zones(text: str) -> list[ServedZone]:
    """Return every zone of every view, in order; without views the view is ""."""
    top = parse(text)
    options = [inner for statement in top if statement[0] == "options" for inner in _block(statement)]
    lists = {str(s[1]): _block(s) for s in top if s[0] in _SERVER_LISTS and len(s) > 1 and isinstance(s[1], str)}
    found = [_zone(statement, "", options, lists) for statement in top if statement[0] == "zone"]
    for view in top:
        if view[0] == "view":
            inner = _block(view)
            found += [_zone(zone, str(view[1]), [*inner, *options], lists) for zone in inner if zone[0] == "zone"]
    return found


def zone_list(text: str) -> list[str]:
    """Return name, class and view of every zone statement, in the order and form of `named-checkconf -l`."""
    top = parse(text)
    views = [(str(s[1]), _class(s, "IN"), _block(s)) for s in top if s[0] == "view"] or [("_default", "IN", top)]
    return [
        f"{zone[1]} {_class(zone, rclass)} {view}"
        for view, rclass, block in views
        for zone in block
        if zone[0] == "zone"
    ]


def _class(statement: Statement, default: str) -> str:
    """Return the class that a zone or view statement states after its name."""
    return next((str(word) for word in statement[2:3] if isinstance(word, str)), default)


def _block(statement: Statement) -> Block:
    """Return the statements in the first `{ }` of a statement."""
    return next((part for part in statement if isinstance(part, list)), [])


class _Statements:
    """The statements of a zone, and those of its view and of `options` that it inherits."""

    def __init__(self, own: Block, inherited: Block) -> None:
        self._own, self._inherited = own, inherited

    def find(self, name: str, *, inherit: bool = True) -> Statement | None:
        """Return the statement that applies, None without one."""
        return next((s for s in [*self._own, *(self._inherited if inherit else [])] if s[0] == name), None)

    def value(self, name: str, *, inherit: bool = True) -> str:
        """Return the first value of the statement that applies, "" without one."""
        found = self.find(name, inherit=inherit)
        return str(found[1]) if found and len(found) > 1 else ""


def _zone(statement: Statement, view: str, inherited: Block, lists: Mapping[str, Block]) -> ServedZone:
    """Return a zone from its statement."""
    options = _Statements(_block(statement), inherited)
    kind = "in-view" if options.find("in-view", inherit=False) else options.value("type", inherit=False)
    file, directory = options.value("file", inherit=False), options.value("directory")
    if file and directory:
        file = str(PurePosixPath(directory) / file)
    name = str(statement[1]).rstrip(".").lower() or "."
    found = ServedZone(name, view, kind, file, directory, options.value("journal", inherit=False), ())
    if kind in SECONDARY:
        return replace(found, primaries=tuple(_primaries(options, lists)))
    if kind not in PRIMARY:
        return found
    obstacles = []
    if options.value("masterfile-format") not in {"", "text"}:
        obstacles.append(f"its file is not text (masterfile-format {options.value('masterfile-format')})")
    if options.value("database", inherit=False) or options.find("dlz", inherit=False):
        obstacles.append("it is not served from a file")
    updates, keys, session_key = _updates(options)
    return replace(
        found,
        obstacles=tuple(obstacles),
        updates=updates,
        keys=tuple(dict.fromkeys(key.rstrip(".").lower() for key in keys)),
        session_key=session_key,
        signed=any(
            options.value(name) not in {"", "none", "no", "off", "insecure"}
            for name in ("dnssec-policy", "inline-signing", "auto-dnssec")
        ),
        differences=options.value("ixfr-from-differences") in {"yes", "primary", "master"},
    )


def _primaries(options: _Statements, lists: Mapping[str, Block]) -> Iterator[str]:
    """Yield the addresses in a zone's list of primaries and in the named lists that it contains."""
    statement = options.find("primaries", inherit=False) or options.find("masters", inherit=False)
    waiting = [str(item[0]) for item in _block(statement)] if statement else []
    seen: set[str] = set()
    while waiting:
        word = waiting.pop(0)
        if word in lists and word not in seen:
            waiting[:0] = [str(item[0]) for item in lists[word]]
        elif word not in seen:
            yield word
        seen.add(word)


def _updates(options: _Statements) -> tuple[str, Sequence[str], str]:
    """Return the statement that permits dynamic updates, the keys that it names and the file of BIND's own key."""
    policy, allowed = options.find("update-policy", inherit=False), options.find("allow-update")
    if policy:
        keys = [str(grant[1]) for grant in _block(policy) if len(grant) > 1]
        return "update-policy", keys, (options.value("session-keyfile") or _SESSION_KEY) if "local" in policy else ""
    if allowed and not {" ".join(map(str, s)) for s in _block(allowed)} <= _NOBODY:
        return "allow-update", list(_keys(_block(allowed))), ""
    return "", (), ""


def _keys(acl: Block) -> Iterator[str]:
    """Yield the key names in an address match list and in the lists within it."""
    for statement in acl:
        if statement[0] == "key" and len(statement) > 1:
            yield str(statement[1])
        yield from _keys(_block(statement))


def tsig_keys(text: str) -> dict[str, tuple[str, str]]:
    """Parse `key` statements, as in a key file of BIND; return algorithm and secret (base64) by name."""
    found = {}
    for statement in parse(_QUOTED_OR_COMMENT.sub(lambda match: match[1] or " ", text)):
        if statement[0] == "key" and len(statement) > 1:
            values = {str(s[0]): str(s[1]) for s in _block(statement) if len(s) > 1}
            if {"algorithm", "secret"} <= set(values):
                found[str(statement[1]).rstrip(".").lower()] = values["algorithm"], values["secret"]
    return found
