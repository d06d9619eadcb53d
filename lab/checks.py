# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a Molecule scenario's program: each is printed, and the exit status is 1 if one is not as expected."""

from __future__ import annotations

import sys
from typing import NoReturn

_different = 0


def check(what: str, expected: object, seen: object) -> None:
    """Print one check and count a difference."""
    global _different  # noqa: PLW0603  one program, one count
    _different += expected != seen
    print(f"{'ok  ' if expected == seen else 'DIFF'} {what}: expected {expected!r}, saw {seen!r}", flush=True)


def finish() -> NoReturn:
    """End the program."""
    sys.exit(1 if _different else 0)
