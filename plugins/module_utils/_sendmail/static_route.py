# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The old form of a campus's routes: sendmail.cf made by the CF package from a sendmail.def with STATIC_ROUTE_FILE.

Source: CF 3.7W (WIDE project), `sendmail.def` and its `static-route` file: `STATIC domain mailer:[host]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .._routes.table import in_order
from .settings import Settings
from .tables import addresses, hop

_STATIC = re.compile(r"^\s*STATIC_ROUTE_FILE\s*=\s*(?P<quote>['\"]?)(?P<path>[^'\"\s#]+)(?P=quote)", re.MULTILINE)
_SHOWN = 40


@dataclass
class Adoption:
    """A static-route file beside the plan.

    Attributes:
        equal: Domains with the planned route.
        conflicts: Domains with another one, in words.
        extra: Domains that the plan does not have, in words.
        missing: Planned domains that the file does not have.
        unread: Lines that are no route.
    """

    equal: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """Return the lists for people."""
        parts = [f"same route in the plan: {len(self.equal)}", f"only in the plan: {', '.join(self.missing) or 'none'}"]
        for name, lines in (
            ("another route", self.conflicts),
            ("not in the plan", self.extra),
            ("not read", self.unread),
        ):
            more = [f"{name}: {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
            parts += [*(f"{name}: {line}" for line in lines[:_SHOWN]), *more]
        return parts


def static_route_path(definition: str) -> str | None:
    """Return the STATIC_ROUTE_FILE of a sendmail.def; None without one."""
    match = _STATIC.search(definition)
    return match["path"] if match else None


def read_routes(text: str) -> tuple[dict[str, tuple[int, str]], list[str]]:
    """Return the routes of a static-route file, with line number and value by domain, and other lines.

    Forms: `STATIC domain mailer:[host]`, and `GW mailer:[host]` followed by `DOM domain` lines; `.suffix` is all
    names below one.
    """
    found, unread = {}, []
    gateway = ""
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split("#")[0].split()
        if words and words[0].upper() == "STATIC":
            words = words[1:]
        elif len(words) == 2 and words[0].upper() == "GW":
            gateway = words[1]
            continue
        elif len(words) == 2 and words[0].upper() == "DOM" and gateway:
            words = [words[1], gateway]
        if len(words) == 2 and ":" in words[1]:
            domain = words[0].lower().rstrip(".")
            found[f"*{domain}" if domain.startswith(".") else domain] = number, words[1]
        elif words:
            unread.append(f"line {number}: {line.strip()!r}")
    return found, unread


def adoption(name: str, text: str, settings: Settings) -> Adoption:
    """Compare a static-route file with the plan."""
    routes, unread = read_routes(text)
    result = Adoption(unread=[f"{name}, {line}" for line in unread])
    planned: Mapping[str, str] = {r.domain: hop(r) for r in settings.routes}
    for domain, (number, value) in routes.items():
        where = f"{name}, line {number}: {domain} {value}"
        if domain in planned:
            same = addresses(value) == addresses(planned[domain])
            (result.equal if same else result.conflicts).append(
                domain if same else f"{where}; the plan: {domain} {planned[domain]}"
            )
        elif domain in settings.local:
            result.conflicts.append(f"{where}; the plan: {domain} is local")
        else:
            result.extra.append(where)
    result.missing = in_order(set(planned) - set(routes))
    return result
