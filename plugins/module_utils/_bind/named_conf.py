# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The zones of a BIND server, read from the output of `named-checkconf -p` (no comments, includes resolved)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeAlias

Block: TypeAlias = "list[Statement]"
Statement: TypeAlias = "list[str | Block]"

_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([{};])|([^\s"{};]+))')
_PRIMARY = frozenset({"primary", "master"})
_SESSION_KEY = "/run/named/session.key"
_NOBODY = frozenset({"none", "!any", ""})


@dataclass(frozen=True, slots=True)
class ServedZone:
    """A zone statement. `file` and `directory` are paths or "", `obstacles` say why its file must not be edited.

    `updates` tells that it takes RFC 2136 updates, by which statement; then `keys` are the TSIG keys that it names, and
    `session_key` is the file of BIND's own key for `update-policy local`. `signed` tells that BIND signs it itself,
    `differences` that BIND makes a journal of what an edited file changes.
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


def parse(text: str) -> Block:
    """Reads statements into nested lists: words as str, `{ }` as lists; ValueError for unbalanced braces."""
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
                raise ValueError("a closing brace without an opening one")
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
        raise ValueError("an opening brace is never closed")
    return stack[0]


def served_zones(text: str) -> list[ServedZone]:
    """Lists every zone of every view, in order; the view is "" when there are none."""
    top = parse(text)
    options = [inner for statement in top if statement[0] == "options" for inner in _block(statement)]
    found = [_zone(statement, "", options) for statement in top if statement[0] == "zone"]
    for view in top:
        if view[0] == "view":
            inner = _block(view)
            found += [_zone(zone, str(view[1]), [*inner, *options]) for zone in inner if zone[0] == "zone"]
    return found


def _block(statement: Statement) -> Block:
    return next((part for part in statement if isinstance(part, list)), [])


def _zone(statement: Statement, view: str, around: Block) -> ServedZone:
    own = _block(statement)

    def find(name: str, *, inherit: bool = True) -> Statement | None:
        return next((s for s in [*own, *(around if inherit else [])] if s[0] == name), None)

    def value(name: str, *, inherit: bool = True) -> str:
        found = find(name, inherit=inherit)
        return str(found[1]) if found and len(found) > 1 else ""

    kind = value("type", inherit=False)
    if find("in-view", inherit=False):
        kind = "in-view"
    file, directory = value("file", inherit=False), value("directory")
    if file and directory:
        file = str(PurePosixPath(directory) / file)
    name = str(statement[1]).rstrip(".").lower() or "."
    found = ServedZone(name, view, kind, file, directory, value("journal", inherit=False), ())
    if kind not in _PRIMARY:
        return found
    obstacles = []
    if value("masterfile-format") not in {"", "text"}:
        obstacles.append(f"its file is not text (masterfile-format {value('masterfile-format')})")
    if value("database", inherit=False) or find("dlz", inherit=False):
        obstacles.append("it is not served from a file")
    policy, allowed = find("update-policy", inherit=False), find("allow-update")
    updates, session_key = "", ""
    keys: tuple[str, ...] = ()
    if policy:
        updates, keys = "update-policy", tuple(str(grant[1]) for grant in _block(policy) if len(grant) > 1)
        if "local" in policy:
            session_key = value("session-keyfile") or _SESSION_KEY
    elif allowed and not {" ".join(map(str, s)) for s in _block(allowed)} <= _NOBODY:
        updates, keys = "allow-update", tuple(_keys(_block(allowed)))
    return replace(
        found,
        obstacles=tuple(obstacles),
        updates=updates,
        keys=tuple(dict.fromkeys(key.rstrip(".").lower() for key in keys)),
        session_key=session_key,
        signed=any(
            value(name) not in {"", "none", "no", "off", "insecure"}
            for name in ("dnssec-policy", "inline-signing", "auto-dnssec")
        ),
        differences=value("ixfr-from-differences") in {"yes", "primary", "master"},
    )


def _keys(acl: Block) -> Iterator[str]:
    """Finds the key names of an address match list, also in lists within it."""
    for statement in acl:
        if statement[0] == "key" and len(statement) > 1:
            yield str(statement[1])
        yield from _keys(_block(statement))


def tsig_keys(text: str) -> dict[str, tuple[str, str]]:
    """Reads `key` statements, as in a key file of BIND: by name, each one's algorithm and secret (base64)."""
    found = {}
    for statement in parse(text):
        if statement[0] == "key" and len(statement) > 1:
            values = {str(s[0]): str(s[1]) for s in _block(statement) if len(s) > 1}
            if {"algorithm", "secret"} <= set(values):
                found[str(statement[1]).rstrip(".").lower()] = values["algorithm"], values["secret"]
    return found
