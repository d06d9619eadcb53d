# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real and generated messages before a real clamd: the clean pass unchanged, the infected never with the infection."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest
from infected_mail import CORPORA, NO_CORPORA, corpus, evasions, everywhere, still_infected

from mailgate import message
from mailgate.config import Scan
from mailgate.content import Judgement, Rules, screen
from mailgate.content_policy import Attachments, ContentPolicy
from mailgate.notices import Notice
from mailgate.scanner import Scanner

RULES = Rules(ContentPolicy(over_limits="refuse"), Attachments(), Notice("en", "gw1.univ.example"))
needs_corpora = pytest.mark.skipif(not CORPORA.is_dir(), reason=NO_CORPORA)


async def judge_all(real_clamd, messages: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes, Judgement]]:
    scanner = Scanner(Scan(socket=str(real_clamd.socket), max_signature_days=0), lambda *_, **__: None)

    async def judge(name: str, raw: bytes) -> tuple[str, bytes, Judgement]:
        until = asyncio.get_running_loop().time() + 30
        return name, raw, await screen(raw, lambda pieces: scanner.scan(pieces, until), RULES)

    return [await judge(name, raw) for name, raw in messages]


@needs_corpora
async def test_every_real_message_passes_unchanged(real_clamd):
    judged = await judge_all(real_clamd, corpus())
    assert len(judged) >= 130
    assert [(name, one.refusal, one.found) for name, raw, one in judged if one.content != raw or one.header] == []
    assert [name for name, raw, _ in judged if message.bare_newlines(raw)] == []


@needs_corpora
@pytest.mark.slow
async def test_no_real_message_passes_with_an_infection_anywhere(real_clamd):
    messages = [(f"{name}: {place}", raw) for name, clean in corpus() for place, raw in everywhere(clean)]
    assert len(messages) > 700
    report(await judge_all(real_clamd, messages), lambda name: name.rpartition(": ")[2].rstrip("0123456789 "))


async def test_no_evasion_passes_with_its_infection(real_clamd):
    report(await judge_all(real_clamd, evasions()), lambda name: name.partition(" ")[0])


def report(judged: list[tuple[str, bytes, Judgement]], group) -> None:
    """Print what became of the messages, and fail for each that is delivered infected."""
    table: dict[str, Counter[str]] = {}
    bad = []
    for name, raw, one in judged:
        outcome = "refused" if one.refusal else "stripped" if one.removed else "passed"
        if one.content and still_infected(one.content):
            bad.append(name)
            outcome = "INFECTED"
        elif outcome == "passed":
            assert one.content == raw
        table.setdefault(group(name), Counter())[outcome] += 1
    columns = ["stripped", "refused", "passed", "INFECTED"]
    print(f"\n{'':32}" + "".join(f"{column:>10}" for column in columns))
    for name, counts in sorted(table.items()):
        print(f"{name:32}" + "".join(f"{counts[column]:>10}" for column in columns))
    total = sum(table.values(), Counter())
    print(f"{'all':32}" + "".join(f"{total[column]:>10}" for column in columns))
    assert bad == []
