# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No message that mail readers take in more than one way passes a real clamd with its infection."""

from __future__ import annotations

import outcomes
from ambiguous_mail import ambiguous


class TestAmbiguousMessages:
    async def test_none_passes_with_its_infection(self, real_clamd):
        found = await outcomes.inspect_all(real_clamd.socket, ambiguous(), lambda name: name.partition(" ")[0])
        assert found.bad == [], f"\n{found}"
