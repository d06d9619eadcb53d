# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real and generated messages before a real clamd: the clean pass unchanged, the infected never with the infection.

`make bench BENCHES=infected` prints what became of each kind.
"""

from __future__ import annotations

import outcomes
import pytest
from archives import BSDTAR
from archives import MISSING as NO_BSDTAR
from infected_mail import CORPORA, NO_CORPORA, ZIP, b64, corpus

from mailgate import message
from mailgate.content import Judgement

needs_corpora = pytest.mark.skipif(not CORPORA.is_dir(), reason=NO_CORPORA)


@needs_corpora
async def test_every_real_message_passes_unchanged(real_clamd):
    found = await outcomes.real(real_clamd.socket)
    assert found.total["passed"] == found.total.total() >= 130, f"\n{found}\n{found.bad}"
    assert [name for name, raw in corpus() if message.bare_newlines(raw)] == []


@needs_corpora
@pytest.mark.slow
async def test_no_real_message_passes_with_an_infection_anywhere(real_clamd):
    found = await outcomes.infected(real_clamd.socket)
    assert found.bad == [], f"\n{found}"
    assert found.total.total() > 700
    assert found.total["stripped"] > found.total["refused"], f"\n{found}"


async def test_no_evasion_passes_with_its_infection(real_clamd):
    found = await outcomes.evading(real_clamd.socket)
    assert found.bad == [], f"\n{found}"
    assert found.total["stripped"] > 60, f"\n{found}"


@pytest.mark.skipif(not BSDTAR, reason=NO_BSDTAR)
async def test_no_evasion_passes_with_an_infected_rar(real_clamd):
    found = await outcomes.evading_in_rar(real_clamd.socket)
    assert found.bad == [], f"\n{found}"
    assert found.total["stripped"] > 60, f"\n{found}"


async def test_no_composed_message_passes_infected(real_clamd):
    found = await outcomes.composed(real_clamd.socket, range(1000))
    assert found.bad == [], f"\n{found}"
    assert found.rows["infected to a reader"]["stripped"] > 50, f"\n{found}"


@pytest.mark.slow
async def test_no_composed_message_passes_infected_of_many(real_clamd):
    found = await outcomes.composed(real_clamd.socket, range(1000, 7000))
    assert found.bad == [], f"\n{found}"


def test_table_tells_bad_from_good():
    raw = b"Subject: x\r\n\r\nhello\r\n"
    found = outcomes.Outcomes()
    found.count("a", "clean", raw, Judgement("deliver", raw), clean=True)
    found.count("a", "passed", raw, Judgement("deliver", raw), clean=False)
    found.count("a", "other", raw, Judgement("deliver", raw + b"x"), clean=True)
    found.count("b", "bad", raw, Judgement("deliver", raw + b64(ZIP), removed=("x",)), clean=False)
    assert found.bad == ["passed", "other", "bad"]
    assert [line.split() for line in str(found).splitlines()] == [
        ["messages", *outcomes.COLUMNS],
        ["a", "3", "1", "0", "0", "1", "1"],
        ["b", "1", "0", "0", "0", "0", "1"],
        ["all", "4", "1", "0", "0", "1", "2"],
    ]
