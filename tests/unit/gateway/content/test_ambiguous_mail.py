# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No message that mail readers take in more than one way passes a real clamd with its infection."""

from __future__ import annotations

import contextlib

import outcomes
import pytest
from ambiguous_mail import GZIP, ambiguous, shown
from gateway_doubles import EICAR
from infected_mail import RAR, ZIP, evasions
from sample_archives import BSDTAR
from sample_archives import MISSING as NO_BSDTAR

from mailgate.content.readings import TooComplexError, all_decodings


class TestAmbiguousMessages:
    async def test_none_passes_with_its_infection(self, real_clamd):
        found = await outcomes.inspect_all(real_clamd.socket, ambiguous(), lambda name: name.partition(" ")[0])
        assert found.bad == [], f"\n{found}"

    @pytest.mark.skipif(not BSDTAR, reason=NO_BSDTAR)
    async def test_none_passes_with_an_infected_rar(self, real_clamd):
        found = await outcomes.inspect_all(real_clamd.socket, ambiguous(RAR), lambda name: name.partition(" ")[0])
        assert found.bad == [], f"\n{found}"

    async def test_no_text_shows_its_signature_to_readers_only(self, real_clamd):
        found = await outcomes.inspect_all(real_clamd.socket, shown(), lambda name: name.partition(" ")[0])
        assert found.bad == [], f"\n{found}"


class TestSamples:
    """A sample whose signature shows without opening an archive proves nothing about opening it."""

    @pytest.mark.parametrize("payload", [ZIP, RAR, GZIP], ids=["zip", "rar", "gzip"])
    def test_no_archive_shows_the_signature(self, payload):
        assert EICAR not in payload
        assert EICAR not in payload.replace(b"\n", b"\r\n").replace(b"\r\n", b"")

    @pytest.mark.parametrize("make", [evasions, ambiguous])
    @pytest.mark.parametrize("payload", [ZIP, RAR], ids=["zip", "rar"])
    def test_no_message_shows_the_signature_in_any_transfer_encoding(self, make, payload):
        shown = []
        for name, raw in make(payload):
            with contextlib.suppress(TooComplexError):
                shown += [name for data in (raw, raw.replace(b"\r\n", b""), *all_decodings(raw)) if EICAR in data]
        assert shown == []
