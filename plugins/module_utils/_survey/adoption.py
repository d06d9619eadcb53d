# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan would change in the mail of a host, and which of its own entries contradict the plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._keep.blocks import BlockError, without
from .._routes.table import Route
from .._sendmail import tables
from .._sendmail.settings import Settings, normalize
from .._sendmail.tables import read_present

_SHOWN = 60
Conflict = dict[str, str]


def planned(table: Mapping[str, Any]) -> Settings:
    """Return the settings of a host's table in the plan: `local`, `relay` and `static`."""
    routes = [
        Route(
            str(each["domain"]),
            str(each["next_hop"]),
            str(each.get("host", "")),
            tuple(map(str, each.get("next_hops", ()))),
        )
        for each in table.get("static", ())
    ]
    return normalize(
        Settings(
            "", (), tuple(map(str, table.get("local", ()))), tuple(map(str, table.get("relay", ()))), tuple(routes)
        )
    )


def sendmail(table: Mapping[str, Any], mail: Mapping[str, Any], texts: Mapping[str, str], names: str) -> dict[str, Any]:
    """Compare a sendmail with the plan.

    Args:
        table: The host's table of the plan.
        mail: The facts of the host, from `sendmail.facts`.
        texts: The sources of its tables.
        names: Its file local-host-names.
    """
    settings = planned(table)
    access = texts.get("access", "")
    generated = read_present(names, texts.get("mailertable", ""), access) is not None
    own = {} if generated else dict(tables.map_entries(_theirs(texts.get("mailertable", ""))))
    host_names = [] if generated else mail.get("local", ())
    present = dict(tables.map_entries(texts.get("mailertable", "")))
    found = _compare(settings, present, own, host_names, mail.get("virtual", ()))
    found["conflicts"] += [
        {"kind": "access", "domain": "", "theirs": text, "ours": ""}
        for text in tables.access_conflicts(access, settings)
    ]
    known = {*mail.get("relay", ())}
    found["relay_added"] = [each for each in settings.relay if each.removeprefix("*.") not in known]
    found["local_added"] = [each for each in settings.local if each not in mail.get("local", ()) and each[0] != "*"]
    return _bounded(found)


def postfix(table: Mapping[str, Any], mail: Mapping[str, Any]) -> dict[str, Any]:
    """Compare a Postfix with the plan."""
    settings = planned(table)
    routes = dict(mail.get("routes", {}))
    found = _compare(settings, routes, routes, mail.get("local", ()), mail.get("virtual", ()))
    known = {*mail.get("relay", ())}
    taken = {*mail.get("local", ()), *mail.get("virtual", ())}
    found["relay_added"] = [each for each in settings.relay if each.removeprefix("*.") not in known]
    found["local_added"] = [each for each in settings.local if each.removeprefix("*.") not in taken]
    return _bounded(found)


def _compare(
    settings: Settings,
    present: Mapping[str, str],
    own: Mapping[str, str],
    host_names: Sequence[str],
    virtual: Sequence[str],
) -> dict[str, Any]:
    """Return the routes to add, and the conflicts of the admin's own entries."""
    conflicts: list[Conflict] = []
    added = []
    taken, virtually = set(host_names), set(virtual)
    for route in settings.routes:
        key = route.domain.removeprefix("*")
        ours = tables.hop(route)
        if tables.addresses(present.get(key, "")) != route.hops:
            added.append(route.domain)
            if key in own:
                conflicts.append({"kind": "route", "domain": route.domain, "theirs": own[key], "ours": ours})
        if key in taken:
            conflicts.append({"kind": "local", "domain": route.domain, "theirs": "", "ours": ours})
        elif key in virtually:
            conflicts.append({"kind": "virtual", "domain": route.domain, "theirs": "", "ours": ours})
    for domain in settings.local:
        value = own.get(domain.removeprefix("*"), "")
        if value and not value.startswith(("local:", "virtual:", "lmtp:", "error:")):
            conflicts.append({"kind": "away", "domain": domain, "theirs": value, "ours": ""})
    return {"routes_added": added, "routes": len(settings.routes), "conflicts": conflicts}


def _theirs(text: str) -> str:
    """Return a file without our marked blocks."""
    try:
        return without(text)
    except BlockError:
        return text


def _bounded(found: dict[str, Any]) -> dict[str, Any]:
    """Return the result with a bounded number of names in each list, and their true numbers."""
    counts = {f"{name}_count": len(value) for name, value in found.items() if isinstance(value, list)}
    return {name: value[:_SHOWN] if isinstance(value, list) else value for name, value in found.items()} | counts
