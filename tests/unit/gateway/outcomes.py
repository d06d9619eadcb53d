# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions taken on messages with a real clamd, as a table: passed unchanged, stripped, rejected, still infected."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from composed_mail import Composer, readers_find
from infected_mail import RAR, corpus, evasions, everywhere, still_infected

from mailgate.config import Attachments, Scan
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy
from mailgate.content.screen import ContentDecision, Rules, screen
from mailgate.scan.scanner import Scanner

RULES = Rules(ContentPolicy(over_limits="refuse"), Attachments(), Notice("en", "gw1.univ.example"))
COLUMNS = ("passed", "stripped", "refused", "changed", "INFECTED")
# Rows of the evasions by the first word of their names, where that is not a row itself.
KINDS = {
    **dict.fromkeys(("before", "behind", "closed", "delimiter", "never", "opened", "multipart"), "boundaries"),
    **dict.fromkeys(("kind", "two", "no"), "types"),
    **dict.fromkeys(("BOM", "first", "header", "junk", "space"), "headers"),
    **dict.fromkeys(("inside",), "inside message/*"),
    **dict.fromkeys(("2", "10", "28", "50", "100"), "nested, up to 100 deep"),
    **dict.fromkeys(("archive", "tar.gz", "tnef"), "archives, winmail.dat"),
    **dict.fromkeys(("base64", "encoding", "quoted-printable"), "encodings"),
    **dict.fromkeys(("uuencode", "x-uuencode", "yenc"), "uuencode, yEnc"),
    "name": "names",
    "several": "several infected parts",
}

AT_A_TIME = 8

T = TypeVar("T")
Messages = Iterable[tuple[str, bytes]]


@dataclass
class Outcomes:
    """Counts by row and column, and the names of wrongly delivered messages."""

    rows: dict[str, Counter[str]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)

    def count(self, row: str, name: str, raw: bytes, result: ContentDecision, *, clean: bool) -> None:
        """Count a message; a clean message must pass unchanged, an infected one must not."""
        if result.content and (still_infected(result.content) or (not clean and result.content == raw)):
            outcome = "INFECTED"
        elif result.refusal:
            outcome = "refused"
        elif result.removed:
            outcome = "stripped"
        else:
            outcome = "passed" if result.content == raw and not result.header else "changed"
        if outcome in ("changed", "INFECTED"):
            self.bad.append(name)
        self.rows.setdefault(row, Counter())[outcome] += 1

    @property
    def total(self) -> Counter[str]:
        """Return the sum of all rows."""
        return sum(self.rows.values(), Counter())

    def __str__(self) -> str:
        width = max(map(len, [*self.rows, "all"])) + 2
        lines = [" " * width + "".join(f"{name:>10}" for name in ("messages", *COLUMNS))]
        for name, counts in [*sorted(self.rows.items()), *([("all", self.total)] if len(self.rows) > 1 else [])]:
            numbers = (counts.total(), *(counts[column] for column in COLUMNS))
            lines.append(f"{name:{width}}" + "".join(f"{number:>10}" for number in numbers))
        return "\n".join(lines)


async def inspect_all(socket: Path, messages: Messages, row: Callable[[str], str], *, clean: bool = False) -> Outcomes:
    """Inspect each message (name, content) with the clamd at `socket`; `row` is the row of the table by name.

    Unless they are `clean`, none may pass.
    """
    scanner = Scanner(Scan(socket=str(socket), max_signature_days=0), lambda *_, **__: None)
    outcomes = Outcomes()

    async def inspect(message: tuple[str, bytes]) -> None:
        name, raw = message
        outcomes.count(row(name), name, raw, await _screen(scanner, raw), clean=clean)

    await _each(messages, inspect)
    return outcomes


async def _screen(scanner: Scanner, raw: bytes) -> ContentDecision:
    deadline = asyncio.get_running_loop().time() + 600
    return await screen(raw, lambda pieces: scanner.scan(pieces, deadline), RULES)


async def _each(items: Iterable[T], inspect: Callable[[T], Awaitable[None]]) -> None:
    """Inspect several at a time, so that neither this process nor clamd waits for the other."""
    left = iter(items)

    async def inspect_next() -> None:
        for item in left:
            await inspect(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(inspect_next())


async def real(socket: Path) -> Outcomes:
    """Inspect real messages, by source."""
    return await inspect_all(socket, corpus(), lambda name: name.partition("/")[0], clean=True)


async def infected(socket: Path) -> Outcomes:
    """Inspect real messages with an infection at each possible place, by place."""
    messages = ((f"{name}: {place}", raw) for name, clean in corpus() for place, raw in everywhere(clean))
    return await inspect_all(socket, messages, lambda name: name.rpartition(": ")[2].rstrip("0123456789 "))


async def evading(socket: Path) -> Outcomes:
    """Inspect messages that hide an infection from some mail readers, by kind."""
    return await inspect_all(socket, evasions(), lambda name: KINDS[name.partition(" ")[0]])


async def composed(socket: Path, seeds: range) -> Outcomes:
    """Inspect random messages, by whether a mail reader finds the infection; none of these may pass."""
    scanner = Scanner(Scan(socket=str(socket), max_signature_days=0), lambda *_, **__: None)
    outcomes = Outcomes()

    async def inspect(seed: int) -> None:
        raw = Composer(seed).message()
        result = await _screen(scanner, raw)
        found = readers_find(result.content) if result.content else []
        outcome = "INFECTED" if found else "refused" if result.refusal else "stripped" if result.removed else "passed"
        if found:
            outcomes.bad.append(f"seed {seed}: {', '.join(found)}")
        row = "infected to a reader" if readers_find(raw) else "so broken that it is not"
        outcomes.rows.setdefault(row, Counter())[outcome] += 1

    await _each(seeds, inspect)
    return outcomes


async def evading_in_rar(socket: Path) -> Outcomes:
    """Inspect the same with a RAR in place of a zip, except two that no reader opens."""
    text = tuple(f"inside {kind!r} in base64" for kind in (b"message", b"text/rfc822-headers"))
    messages = ((name, raw) for name, raw in evasions(RAR) if name not in text)
    return await inspect_all(socket, messages, lambda name: KINDS[name.partition(" ")[0]])
