# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes for delivery status notifications (RFC 3461): checked for form, and passed on as they came."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mailgate.smtp.reply import Reply

OF_MAIL = ("RET", "ENVID")
OF_RCPT = ("NOTIFY", "ORCPT")

_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
# utf-8-addr (RFC 6533) may hold UTF-8 as such; it is passed on in ASCII form only.
_FORMS = {
    "RET": re.compile(r"FULL|HDRS", re.IGNORECASE),
    "ENVID": re.compile(rf"{_XTEXT}{{1,100}}"),
    "NOTIFY": re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}", re.IGNORECASE),
    "ORCPT": re.compile(rf"[A-Za-z0-9-]{{1,40}};{_XTEXT}{{1,500}}"),
}


def check(parameters: Mapping[str, str | None]) -> Reply | None:
    """Refusal of parameters that are malformed, or None."""
    for name, form in _FORMS.items():
        if name in parameters and not form.fullmatch(parameters[name] or ""):
            return Reply.of(501, f"5.5.4 {name} is malformed (RFC 3461)")
    return None


def wants_success(wishes: str) -> bool:
    """Whether a recipient's `wishes`, as they are sent on, ask for a notice of success."""
    return wishes.startswith("NOTIFY=") and "SUCCESS" in wishes.partition(" ")[0].upper()


def wishes(parameters: Mapping[str, str | None], names: Sequence[str]) -> str:
    """Those of `names` that were given, as they are sent on."""
    return " ".join(f"{name}={parameters[name]}" for name in names if name in parameters)
