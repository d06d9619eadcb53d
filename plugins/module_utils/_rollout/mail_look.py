# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mail server has of a rollout: the part of rollout_facts that nearly all hosts of a campus are asked for."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from .._keep.command import run as run_command
from .._mta.system import look
from .._mta.verdict import judge
from .._results import displayable
from . import tables

Run = Callable[..., tuple[int, str, str]]
"""Runs a command, with a text on standard input if there is one; returns exit status, standard output and error."""


def mail_look(run: Run, said: str, gateway: bool) -> dict[str, Any]:
    """Return the kind of the mail server, the problems with it, and its tables.

    Args:
        run: How to run commands.
        said: The mailgate_mta of the inventory, "" without one.
        gateway: Whether the host is a gateway.
    """
    verdict = judge(look(run), said, gateway)
    return {"kind": verdict.kind, "problems": list(verdict.problems), **tables.server(verdict.kind, run)}


def answer(arguments: Mapping[str, Any]) -> str:
    """Return the facts of a mail server that is no gateway, in one line of JSON; `arguments` has `said`."""
    facts = {"time": int(time.time()), "host": socket.gethostname()}
    return json.dumps(displayable(facts | {"mail": mail_look(run_command, arguments["said"], gateway=False)}))
