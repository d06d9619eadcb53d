# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters for delivery status notifications (RFC 3461): checked for syntax and passed on unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mailgate.smtp.reply import Reply

MAIL_PARAMETERS = ("RET", "ENVID")
RCPT_PARAMETERS = ("NOTIFY", "ORCPT")

_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})"
# Hexadecimal digits in lower case and an empty or long ENVID are common, and next hops accept them.
# utf-8-addr (RFC 6533) may contain UTF-8 itself; only its ASCII form is accepted.
_SYNTAX = {
    "RET": re.compile(r"FULL|HDRS", re.IGNORECASE),
    "ENVID": re.compile(rf"{_XTEXT}{{0,500}}"),
    "NOTIFY": re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}", re.IGNORECASE),
    "ORCPT": re.compile(rf"[A-Za-z0-9-]{{1,40}};{_XTEXT}{{0,500}}"),
}


def check(parameters: Mapping[str, str | None]) -> Reply | None:
    """Return the reply that rejects malformed parameters, or None."""
    for name, syntax in _SYNTAX.items():
        if name in parameters and not syntax.fullmatch(parameters[name] or ""):
            return Reply.of(501, f"5.5.4 Bad {name} parameter syntax")
    return None


def wants_success(notify: str) -> bool:
    """Return whether a recipient's parameters ask for a notification of success."""
    return notify.startswith("NOTIFY=") and "SUCCESS" in notify.partition(" ")[0].upper()


def select(parameters: Mapping[str, str | None], names: Sequence[str]) -> str:
    """Return those of `names` that were given, in the form in which they are passed on."""
    if not parameters:
        return ""
    return " ".join(f"{name}={parameters[name]}" for name in names if parameters.get(name))
