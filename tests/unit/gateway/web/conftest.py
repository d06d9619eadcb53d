# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page over a state directory, shared by the tests that change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from web_site import Web, web_site


@pytest.fixture
async def web(tmp_path) -> AsyncIterator[Web]:
    async with web_site(tmp_path) as made:
        yield made
