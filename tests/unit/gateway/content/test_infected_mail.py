# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No infected message passes a real clamd in any form that hides the infection."""

from __future__ import annotations

import asyncio

import outcomes
import pytest
from infected_mail import CORPORA, HEAD, INFECTED, NO_CORPORA, TEXT, ZIP, b64, corpus, multi
from sample_archives import BSDTAR
from sample_archives import MISSING as NO_BSDTAR

from mailgate.content.decodings import FIRST_FIELDS
from mailgate.content.screen import ContentDecision
from mailgate.scan.clamd import AS_MAIL, Clamd, Finding
from mailgate.smtp import lines

needs_corpora = pytest.mark.skipif(not CORPORA.is_dir(), reason=NO_CORPORA)


def forwarded(first: bytes) -> bytes:
    inner = INFECTED if INFECTED.startswith(first) else first + b"x\r\n" + INFECTED
    return HEAD + multi(TEXT, b"Content-Type: message/rfc822\r\n\r\n" + inner)


class TestRealMessages:
    @needs_corpora
    @pytest.mark.slow
    async def test_every_real_message_passes_unchanged(self, real_clamd):
        found = await outcomes.real(real_clamd.socket)
        assert found.total["passed"] == found.total.total() >= 130, f"\n{found}\n{found.bad}"
        assert [name for name, raw in corpus() if lines.lines_of(raw).have_bare_newlines()] == []

    @needs_corpora
    @pytest.mark.slow
    async def test_no_real_message_passes_with_an_infection_anywhere(self, real_clamd):
        found = await outcomes.infected(real_clamd.socket)
        assert found.bad == [], f"\n{found}"
        assert found.total.total() > 700
        assert found.total["stripped"] > found.total["refused"], f"\n{found}"


class TestEvasions:
    @pytest.mark.slow
    async def test_no_evasion_passes_with_its_infection(self, real_clamd):
        found = await outcomes.evading(real_clamd.socket)
        assert found.bad == [], f"\n{found}"
        assert found.total["stripped"] > 60, f"\n{found}"

    @pytest.mark.slow
    @pytest.mark.skipif(not BSDTAR, reason=NO_BSDTAR)
    async def test_no_evasion_passes_with_an_infected_rar(self, real_clamd):
        found = await outcomes.evading_in_rar(real_clamd.socket)
        assert found.bad == [], f"\n{found}"
        assert found.total["stripped"] > 60, f"\n{found}"

    @pytest.mark.parametrize("first", FIRST_FIELDS)
    async def test_clamd_recognizes_a_forwarded_message_by_its_first_field(self, real_clamd, first):
        until = asyncio.get_running_loop().time() + 600
        verdict = await Clamd(str(real_clamd.socket), 1).scan((AS_MAIL, forwarded(first)), until)
        assert verdict.finding is Finding.INFECTED

    async def test_a_forwarded_message_may_begin_with_any_field(self, real_clamd):
        names = (b"X-Foo: ", b"from: ", b"FROM: ", b"Sender: ", b"content-description: ", b"Date:", b"Comments: ")
        messages = [(name.decode(), forwarded(name)) for name in (*names, *FIRST_FIELDS)]
        found = await outcomes.inspect_all(real_clamd.socket, messages, lambda name: name)
        assert found.bad == [] and found.total["stripped"] == len(messages), f"\n{found}"


class TestComposedMessages:
    @pytest.mark.slow
    async def test_no_composed_message_passes_infected(self, real_clamd):
        found = await outcomes.composed(real_clamd.socket, range(200))
        assert found.bad == [], f"\n{found}"
        assert found.rows["infected to a reader"]["stripped"] > 10, f"\n{found}"

    @pytest.mark.slow
    @pytest.mark.parametrize("first", range(200, 7000, 850))
    async def test_no_composed_message_of_many_passes_infected(self, real_clamd, first):
        found = await outcomes.composed(real_clamd.socket, range(first, first + 850))
        assert found.bad == [], f"\n{found}"
        assert found.rows["infected to a reader"]["stripped"] > 42, f"\n{found}"

    def test_the_table_separates_bad_from_good(self):
        raw = b"Subject: x\r\n\r\nhello\r\n"
        found = outcomes.Outcomes()
        found.count("a", "clean", raw, ContentDecision("deliver", raw), clean=True)
        found.count("a", "passed", raw, ContentDecision("deliver", raw), clean=False)
        found.count("a", "other", raw, ContentDecision("deliver", raw + b"x"), clean=True)
        found.count("b", "bad", raw, ContentDecision("deliver", raw + b64(ZIP), removed=("x",)), clean=False)
        assert found.bad == ["passed", "other", "bad"]
        assert [line.split() for line in str(found).splitlines()] == [
            ["messages", *outcomes.COLUMNS],
            ["a", "3", "1", "0", "0", "1", "1"],
            ["b", "1", "0", "0", "0", "0", "1"],
            ["all", "4", "1", "0", "0", "1", "2"],
        ]
