# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that commands print without a traceback; here, so that the command line need not import what raises them."""

from __future__ import annotations


class Failure(Exception):
    """Something cannot be done; the text says why. Commands exit with status 1."""


class Invalid(ValueError):
    """Invalid input; `problems` lists every problem with its place. Commands exit with status 2."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
