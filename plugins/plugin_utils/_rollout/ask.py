# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to read on a host for the state of a rollout. Pure: a plan in, options of rollout_facts out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .phases import addresses_of
from .steps import questions


def arguments(plan: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the options of the module rollout_facts for a host, empty if it has no function.

    Args:
        plan: The plan, or without `sendmail`, or narrowed to some faculties.
        host: The name of the host.
    """
    kinds = set(plan["hosts"][host]["kinds"])
    asked = questions({**plan, "routes": plan.get("concerned", plan["routes"])}, host)
    found: dict[str, Any] = {}
    if kinds & {"servers", "gateways"}:
        found["functions"] = ["mail", *(["gateway"] if "gateways" in kinds else [])]
        found["mail"] = mta if (mta := plan["hosts"][host].get("mta", "")) in ("sendmail", "postfix") else ""
    if asked["smtp"]:
        found["smtp"] = [{key: each[key] for key in ("host", "address", "domains")} for each in asked["smtp"]]
    if asked["zones"]:
        found["zones"] = asked["zones"]
        found["exchanges"] = [str(gateway["exchange"]).lower().rstrip(".") for gateway in plan["gateways"]]
    border = plan["border"].get(host)
    if border and border.get("managed", True):
        gateways = {gateway["host"] for gateway in plan["gateways"]}
        servers = [
            name
            for name, values in plan["hosts"].items()
            if {"servers", "destinations"} & set(values["kinds"]) and name not in gateways
        ]
        found["outside_interfaces"] = list(border["outside_interfaces"])
        found["servers"] = addresses_of(plan, servers, host)
    return found
