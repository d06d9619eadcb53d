# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for the routes of a plan: of a faculty, or of one domain by the match that gateways use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils._inventory.names import Patterns, domain_pattern


def mail_routes(plan: Any, faculty: str | None = None) -> list[Any]:
    """Return a plan's routes, or those of one faculty; raise an error for an unknown faculty."""
    routes = _routes(plan)
    if faculty is None:
        return list(routes)
    own = [route for route in routes if route["faculty"] == faculty]
    if not own:
        known = sorted({str(route["faculty"]) for route in routes} - {""})
        raise AnsibleFilterError(f"mail_routes: unknown faculty '{faculty}'; known ones are {', '.join(known)}")
    return own


def mail_route(plan: Any, domain: str) -> Any:
    """Return the route of a domain: the exact one, else that of the longest suffix, else None."""
    try:
        name = domain_pattern(domain)
    except ValueError as error:
        raise AnsibleFilterError(f"mail_route: {error}") from None
    routes: dict[str, Any] = {route["domain"]: route for route in _routes(plan)}
    if isinstance(plan, Mapping):
        routes |= {each["domain"]: "" for each in plan.get("external") or ()}  # excepted from wildcards
    return Patterns(routes.items()).find(name) or None


def _routes(plan: Any) -> Sequence[Mapping[str, Any]]:
    routes = plan.get("routes") if isinstance(plan, Mapping) else plan
    if not isinstance(routes, Sequence) or isinstance(routes, str) or not all(map(_is_route, routes)):
        raise AnsibleFilterError("the input must be the result of campus.mailgate.mail_plan, or its 'routes'")
    return routes


def _is_route(value: object) -> bool:
    return isinstance(value, Mapping) and "domain" in value and "faculty" in value


class FilterModule:
    """The filters mail_routes and mail_route."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"mail_routes": mail_routes, "mail_route": mail_route}
