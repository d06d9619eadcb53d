# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands with an action as their first word, such as `mailgate ban list`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Run = Callable[[argparse.Namespace], int]


class Actions:
    """The actions of a command."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        """Require an action from the parser."""
        self._commands = parser.add_subparsers(required=True, metavar="ACTION")

    def add(self, name: str, run: Run, text: str) -> argparse.ArgumentParser:
        """Return the parser of an action, with a sentence of help; `run` returns the exit status."""
        action = self._commands.add_parser(name, help=text, description=text)
        action.set_defaults(run=run)
        return action

    def add_list(self, run: Run, text: str) -> None:
        """Add the action `list`, which prints a table or JSON."""
        listing = self.add("list", run, text)
        listing.add_argument("--format", choices=("table", "json"), default="table")
        listing.add_argument("--json", action="store_const", const="json", dest="format", help="as --format json")
