# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes that a mail server or a gateway has now, read from its files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._keep import text
from .._postfix import tables as postfix
from .._postfix import trial
from .._routes.transition import Present
from .._sendmail import block, forms, system
from .._sendmail import tables as sendmail
from .._sendmail.system import SendmailError

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]

ROUTES = Path("/etc/mailgate/routes")
UNIT = "mailgate.service"
_POSTFIX = Path("/etc/postfix")


def server(kind: str, run: Callable[[list[str], str], tuple[int, str, str]]) -> dict[str, Any]:
    """Return the tables of a mail server that this collection has written.

    Args:
        kind: `sendmail` or `postfix`.
        run: Runs a command with a text on standard input; returns exit status, standard output and standard error.

    Returns:
        `written`, and, if this is true, `local`, `relay` and `routes`, which has the next hops of each domain.
    """
    found = _postfix_tables() if kind == "postfix" else _sendmail_tables(run)
    if found is None:
        return {"written": False}
    return {
        "written": True,
        "local": sorted(found.local),
        "relay": sorted(found.relay),
        "routes": {domain: list(hops) for domain, hops in sorted(found.routes.items())},
    }


def _postfix_tables() -> Present | None:
    read = (text.read(_POSTFIX / name) for name in (trial.TRANSPORT, trial.LOCAL, trial.RELAY))
    return postfix.read_present(*read)


def _sendmail_tables(run: Callable[[list[str], str], tuple[int, str, str]]) -> Present | None:
    mc = text.read(system.ETC_MAIL / "sendmail.mc")
    if mc is None:
        return None
    if forms.is_ours(mc):
        names = ("local-host-names", "mailertable", "access")
        return sendmail.read_present(*(text.read(system.ETC_MAIL / name) or "" for name in names))
    with tempfile.TemporaryDirectory(prefix="mailgate-") as stage:
        try:
            return block.present(run, Path(stage))
        except SendmailError:
            return None


def gateway(run: Run, path: Path = ROUTES, unit: str = UNIT) -> dict[str, Any]:
    """Return whether a gateway's service runs, and the next hops of each domain in its delivery table."""
    status, out, _error = run(["systemctl", "is-active", unit])
    try:
        routes = parse_routes(path.read_text(encoding="utf-8"))
    except OSError:
        return {"written": False, "active": False, "routes": {}}
    return {"written": True, "active": status == 0 and out.strip() == "active", "routes": routes}


def parse_routes(content: str) -> dict[str, list[str]]:
    """Return the next hops of each domain in a delivery table; `-` marks a domain that a provider hosts."""
    found = {}
    for line in content.splitlines():
        words = line.split()
        if len(words) > 1 and not line.startswith("#") and words[1] != "-":
            found[words[0]] = words[1].split(",")
    return found
