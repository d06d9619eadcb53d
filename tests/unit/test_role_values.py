# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of role variables are the same in every run: they are a part of the record of what was applied."""

from __future__ import annotations

import re
from pathlib import Path

ROLES = Path(__file__).resolve().parents[2] / "roles"
# Ansible's filters of sets return their elements in no order, which is another one in each process.
SETS = re.compile(r"\| *(?:difference|intersect|symmetric_difference|union)\b")


def test_lists_from_sets_are_sorted():
    unsorted = [
        f"{path.relative_to(ROLES)}: {line}"
        for folder in ("defaults", "vars")
        for path in sorted(ROLES.glob(f"*/{folder}/**/*.yml"))
        for line in path.read_text().splitlines()
        if SETS.search(line) and "| sort" not in line
    ]
    assert unsorted == []
