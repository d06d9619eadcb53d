# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan would change in the mail of a host, and which of its own entries contradict the plan. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .._keep.blocks import BlockError
from .._keep.blocks import found as blocks_in
from .._routes.table import Route
from .._sendmail import tables
from .._sendmail.settings import Settings, normalize
from .._sendmail.tables import read_present
from .sendmail import words

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
    ours = {*words(names)} - {*words(_theirs(names))}
    host_names = [] if generated else [each for each in mail.get("local", ()) if each not in ours]
    present = dict(tables.map_entries(texts.get("mailertable", "")))
    found = _compare(settings, present, own, host_names, mail.get("virtual", ()))
    found["conflicts"] += [
        {"kind": "access", "domain": "", "theirs": text, "ours": ""}
        for text in tables.access_conflicts(_theirs(access), settings)
    ]
    known = {*mail.get("relay", ())}
    found["relay_added"] = [each for each in settings.relay if each.removeprefix("*.") not in known]
    found["local_added"] = [each for each in settings.local if each not in mail.get("local", ()) and each[0] != "*"]
    return _bounded(found)


def postfix(table: Mapping[str, Any], mail: Mapping[str, Any], ours: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Compare a Postfix with the plan; `ours` has the entries of each parameter that are this collection's."""
    settings = planned(table)
    routes = dict(mail.get("routes", {}))
    own = {key: value for key, value in routes.items() if key not in ours.get("transport_maps", ())}
    names = [each for each in mail.get("local", ()) if each not in ours.get("mydestination", ())]
    found = _compare(settings, routes, own, names, mail.get("virtual", ()))
    known = _bare(mail.get("relay", ()))
    taken = _bare([*mail.get("local", ()), *mail.get("virtual", ())])
    found["relay_added"] = [each for each in settings.relay if each.removeprefix("*.") not in known]
    found["local_added"] = [each for each in settings.local if each.removeprefix("*.") not in taken]
    return _bounded(found)


def _bare(domains: Iterable[str]) -> set[str]:
    """Return domains without the sign of a wildcard."""
    return {each.removeprefix("*.") for each in domains}


def _compare(
    settings: Settings,
    present: Mapping[str, str],
    own: Mapping[str, str],
    host_names: Iterable[str],
    virtual: Iterable[str],
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
    """Return a file with empty lines in place of our marked blocks, so that the other lines keep their numbers."""
    try:
        ours = blocks_in(text)
    except BlockError:
        return text
    for block in reversed(ours):
        text = text[: block.start] + "\n" * text.count("\n", block.start, block.stop) + text[block.stop :]
    return text


def _bounded(found: dict[str, Any]) -> dict[str, Any]:
    """Return the result with a bounded number of names in each list, and their true numbers."""
    counts = {f"{name}_count": len(value) for name, value in found.items() if isinstance(value, list)}
    return {name: value[:_SHOWN] if isinstance(value, list) else value for name, value in found.items()} | counts
