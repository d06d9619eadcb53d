# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the order of the steps depends on, before a run and now: the routes and the blocked addresses of a host."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .._iptables.router import DIRECTORY, FILES
from .._keep import kept, runs
from .._keep.text import content, decode
from . import direct, tables

Run = Callable[[list[str], str], "tuple[int, str, str]"]
"""Runs a command with a text on standard input; returns exit status, standard output and standard error."""

_KINDS = {"sendmail_routes": "sendmail", "postfix_routes": "postfix"}


def present_of(store: Path, run: runs.HostRun, command: Run) -> dict[str, Any]:
    """Return what a run has changed here, each part with `before` and `now`; a part that it did not change is left out.

    Returns:
        For a role of a mail server `local`, `relay` and `routes`; for `gateway` `routes`; for `border` the addresses
        whose port 25 is blocked.

    Raises:
        KeptError: A copy cannot be read.
    """
    directory = runs.directory(store, run.name)
    found: dict[str, Any] = {}
    for role, before in run.tables.items():
        now = tables.server(_KINDS[role], command)
        found[role] = {"before": before, "now": {key: now.get(key) or type(before[key])() for key in before}}
    routes = kept.read(Path(os.path.realpath(tables.ROUTES)), directory)
    if routes:
        old, new = kept.original(routes, directory), content(Path(routes.path))
        found["gateway"] = {
            name: {"routes": tables.parse_routes(decode(data or b""))} for name, data in (("before", old), ("now", new))
        }
    rules = {name: kept.read(Path(os.path.realpath(DIRECTORY / name)), directory) for name in FILES}
    if any(rules.values()):
        now_texts = {name: content(DIRECTORY / name) for name in FILES}
        old_texts = {
            name: kept.original(record, directory) if record else now_texts[name] for name, record in rules.items()
        }
        found["border"] = {"before": _refused(old_texts.values()), "now": _refused(now_texts.values())}
    return found


def _refused(texts: Iterable[bytes | None]) -> list[str]:
    """Return the addresses and networks whose port 25 these rules block."""
    lines = [line for data in texts if data for line in decode(data).splitlines()]
    # As the kernel lists them, with counters.
    text = "\n".join(
        f"[0:0] {line}" if line.startswith("-A ") else line.replace(" counter ", " counter packets 0 bytes 0 ")
        for line in lines
    )
    return sorted({each.address for each in direct.counters(text) if each.refuses})
