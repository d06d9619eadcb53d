# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the tests: long ones first, so that none runs alone at the end while other processors are idle."""

from __future__ import annotations

import pytest

#: Scenarios that take more than some minutes, the longest first.
LONG = (
    "verify", "rollout", "site_resume", "gateway", "default", "border_neighbours", "two_stage", "lived_in",
    "shared_state", "site_order", "take_back",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the scenarios of LONG to the front."""

    def place(item: pytest.Item) -> int:
        callspec = getattr(item, "callspec", None)
        scenario = callspec.params.get("scenario") if callspec else None
        return LONG.index(scenario) if scenario in LONG else len(LONG)

    items.sort(key=place)
