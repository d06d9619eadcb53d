# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options for domains and routes of the modules that configure a mail server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .table import Route

ARGUMENTS = {
    "local": {"type": "list", "elements": "str", "default": []},
    "relay": {"type": "list", "elements": "str", "default": []},
    "routes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "domain": {"type": "str", "required": True},
            "next_hop": {"type": "str", "required": True},
            "host": {"type": "str", "default": ""},
            "next_hops": {"type": "list", "elements": "str", "default": []},
            "distance": {"type": "int", "default": 1},
        },
    },
    "external": {"type": "list", "elements": "str", "default": []},
    "distance": {"type": "int"},
    "partial": {"type": "bool", "default": False},
}


def table(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `Table` by name, from options that Ansible has validated."""
    routes = (Route(**{**route, "next_hops": tuple(route["next_hops"])}) for route in given["routes"])
    domains = {name: tuple(given[name]) for name in ("local", "relay", "external")}
    return {**domains, "routes": tuple(routes)}
