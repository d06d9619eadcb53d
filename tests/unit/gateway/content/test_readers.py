# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight mail readers find no infection in what the gateway delivers; `bench.infected_readers` looks for longer."""

from __future__ import annotations

import pytest
from infected_mail import HEAD, INFECTED, TEXT, ZIP, multi
from mutated_mail import MARKS, Mutator

from bench import infected_readers
from mailgate.content import mime, screen
from tests.readers import readers

# Messages; some 25 a second on one processor.
_MESSAGES = 600
MISSING = readers.missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


def test_all_readers_extract_a_plain_attachment():
    found = readers.extract([HEAD + multi(TEXT), HEAD + multi(TEXT, INFECTED)], MARKS)
    assert {file.reader for file in found} == set(readers.NAMES)
    assert {(file.message, file.content) for file in found} == {(1, ZIP)}


def test_a_seed_names_a_message():
    assert [Mutator(seed).message() for seed in range(20)] == [Mutator(seed).message() for seed in range(20)]


def test_no_reader_finds_an_infection_in_what_is_delivered():
    found = infected_readers.run(range(_MESSAGES), 600)
    assert found.bad == {} and found.harmed == {}, f"\n{found}"
    assert found.outcomes.total() + found.clean.total() == _MESSAGES
    assert found.clean["unchecked"] < found.clean.total() / 10, f"\n{found}"
    assert found.outcomes["stripped"] > _MESSAGES / 5, f"\n{found}"


def test_the_readers_see_what_a_gateway_without_rescans_delivers(monkeypatch):
    monkeypatch.setattr(screen, "suspicious_parts", lambda *_: iter(()))
    monkeypatch.setattr(mime, "is_plain", lambda *_: True)
    mime._cached_header.cache_clear()
    assert infected_readers.run(range(200), 600).bad
    mime._cached_header.cache_clear()
