# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for reports: the rows of its tables, read from the result of mail_plan or a saved file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ...module_utils._iptables import handover
from .rows import Destination, External, Gateway, MxRecords, Permit, Route, Row, Rule, Server, Static

FORMAT = "campus.mailgate plan"
VERSION = 1
TABLES = ("gateways", "routes", "mx", "static", "permits", "external", "destinations", "rules")
# Absent from earlier plans: a plan without rows in them has the fingerprint that it had.
_LATER_TABLES = ("external", "destinations", "rules")
# Keys of the module's result that a saved plan omits: `text` has a file of its own, the rest is Ansible's.
_TRANSIENT = ("text", "changed", "failed", "invocation", "deprecations", "diff", "exception")
_REQUIRED = ("campus", "hosts", "gateways", "routes", "sendmail", "mx", "border")

T = TypeVar("T")


class InvalidPlan(ValueError):
    """The input is not a plan that this version can read; the text says why and how to fix it."""


@dataclass(frozen=True)
class Plan:
    """A whole plan, or the part of one faculty.

    ``fingerprint`` is equal for two plans exactly when their tables are; people can match a printed page with a
    plan by it. ``data`` is the input that the plan was read from.
    """

    campus: Mapping[str, Any]
    gateways: tuple[Gateway, ...] = ()
    routes: tuple[Route, ...] = ()
    mx: tuple[MxRecords, ...] = ()
    static: tuple[Static, ...] = ()
    permits: tuple[Permit, ...] = ()
    external: tuple[External, ...] = ()
    destinations: tuple[Destination, ...] = ()
    rules: tuple[Rule, ...] = ()
    servers: tuple[Server, ...] = ()
    borders: tuple[str, ...] = ()
    proof: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    fingerprint: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def faculties(self) -> tuple[str, ...]:
        """Return the faculties that have a server, in order."""
        return tuple(sorted({server.faculty for server in self.servers} - {""}, key=natural_key))

    def for_faculty(self, faculty: str) -> Plan:
        """Return the part of one faculty: the rows of its domains and servers, and all gateways."""

        def own(rows: Iterable[T]) -> tuple[T, ...]:
            return tuple(row for row in rows if getattr(row, "faculty", None) == faculty)

        return replace(
            self,
            routes=own(self.routes),
            mx=own(self.mx),
            static=own(self.static),
            permits=own(self.permits),
            external=own(self.external),
            destinations=own(self.destinations),
            rules=own(self.rules),
        )

    def rows(self, table: str) -> Sequence[Row]:
        """Return the rows of one of `TABLES`."""
        rows: Sequence[Row] = getattr(self, table)
        return rows


def load(text: str, name: str) -> Plan:
    """Return the plan in a saved file; ``name`` is the name of the file, for errors.

    Raises:
        InvalidPlan: it is not a saved plan, or one of another version.
    """
    again = "Use the plan.json that an earlier run of playbooks/plan.yml wrote"
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidPlan(f"{name} is not valid JSON ({error}). {again}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidPlan(f"{name} is not a saved plan: its 'format' is not '{FORMAT}'. {again}")
    if data.get("version") != VERSION:
        raise InvalidPlan(
            f"{name} is a plan of version {data.get('version')!r}; this collection reads version {VERSION}. "
            "Save the plan again with this version of the collection"
        )
    return read(data, name)


def read(data: Mapping[str, Any], name: str = "plan") -> Plan:
    """Return the rows of a plan that `mail_plan` returned; ``name`` is for errors.

    Raises:
        InvalidPlan: a key is missing or has an unexpected structure.
    """
    missing = [part for part in _REQUIRED if part not in data]
    if missing:
        raise InvalidPlan(f"{name} lacks {', '.join(missing)}. Use the whole result of campus.mailgate.mail_plan")
    try:
        plan = _read(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidPlan(f"{name} has an unexpected structure ({reason}). Compute the plan again") from None
    return replace(plan, fingerprint=_fingerprint(plan), data=data)


def saved(plan: Plan) -> dict[str, Any]:
    """Return the content of a saved plan, for `load`."""
    kept = {key: value for key, value in plan.data.items() if key not in _TRANSIENT and not key.startswith("_ansible")}
    return {"format": FORMAT, "version": VERSION, "fingerprint": plan.fingerprint, **kept}


def _read(data: Mapping[str, Any]) -> Plan:
    hosts: Mapping[str, Mapping[str, Any]] = data["hosts"]
    faculty_of = {name: str(host["faculty"]) for name, host in hosts.items()}
    routes = [
        Route(
            route["domain"],
            _texts(route["next_hops"]),
            _texts(route.get("ask", route["next_hops"])),
            route["home"],
            route["faculty"],
        )
        for route in data["routes"]
    ]
    return Plan(
        campus=dict(data["campus"]),
        gateways=tuple(Gateway(each["host"], _addresses(each), int(each["preference"])) for each in data["gateways"]),
        routes=tuple(sorted(routes, key=lambda route: (natural_key(route.faculty), domain_key(route.domain)))),
        mx=_mx(data, {route.domain: route.faculty for route in routes}),
        static=tuple(_static(data["sendmail"], faculty_of)),
        permits=_permits(data["border"], faculty_of),
        external=tuple(
            External(each["domain"], each["within"], each["faculty"]) for each in data.get("external") or ()
        ),
        servers=tuple(
            Server(
                name,
                host["address"] or host["address6"],
                host["hub"],
                host["faculty"],
                "servers" in host["kinds"],
            )
            for name, host in hosts.items()
            if {"servers", "destinations"} & set(host["kinds"])
        ),
        destinations=_destinations(data),
        rules=_rules(data["border"]),
        borders=tuple(data["border"]),
        proof=dict(data.get("proof") or {}),
        methods=dict(data.get("methods") or {}),
        warnings=_texts(data.get("warnings") or ()),
    )


def natural_key(text: str) -> tuple[list[tuple[int, str]], str]:
    """Return the sort key that puts ``f2`` before ``f10``."""
    parts = re.split(r"([0-9]+)", text)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts], text


def domain_key(domain: str) -> tuple[str, str]:
    """Return the sort key that puts ``*.x`` beside ``x``."""
    return (domain.removeprefix("*."), domain)


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    if isinstance(values, str | bytes):
        raise TypeError(f"{values!r} is not a list")
    return tuple(str(value) for value in values)


def _addresses(host: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(address for address in (host["address"], host["address6"]) if address)


def _mx(data: Mapping[str, Any], faculty_of: Mapping[str, str]) -> tuple[MxRecords, ...]:
    views = {"inside": data["mx"], "outside": data["mx_outside"]} if data.get("mx_outside") else {"": data["mx"]}
    records: dict[tuple[str, str, str, tuple[tuple[int, str], ...]], list[str]] = {}
    for view, servers in views.items():
        for server, zones in servers.items():
            for zone in zones:
                for owner in zone["owners"]:
                    lines = tuple((int(mx["preference"]), str(mx["exchange"])) for mx in owner["mx"])
                    records.setdefault((zone["zone"], view, owner["owner"], lines), []).append(server)
    rows = [
        MxRecords(zone, view, owner, lines, tuple(names), faculty_of.get(owner, ""))
        for (zone, view, owner, lines), names in records.items()
    ]
    place = {zone: number for number, zone in enumerate(dict.fromkeys(row.zone for row in rows))}
    return tuple(sorted(rows, key=lambda row: (place[row.zone], row.view, domain_key(row.owner))))


def _static(tables: Mapping[str, Any], faculty_of: Mapping[str, str]) -> Iterable[Static]:
    for server, table in tables.items():
        faculty = faculty_of.get(server, "")
        relay = set(table["relay"])
        known = set()
        for domain in table["local"]:
            known.add(domain)
            yield Static(server, domain, (), server, domain in relay, faculty)
        for line in table["static"]:
            domain = line["domain"]
            known.add(domain)
            hops = _texts(line["next_hops"]) if "next_hops" in line else (str(line["next_hop"]),)
            yield Static(server, domain, hops, line["host"], domain in relay, faculty)
        for domain in sorted(relay - known):
            yield Static(server, domain, (), "", True, faculty)


def _permits(borders: Mapping[str, Any], faculty_of: Mapping[str, str]) -> tuple[Permit, ...]:
    routers: dict[tuple[str, ...], list[str]] = {}
    for router, border in borders.items():
        for permit in border["permits"]:
            key = tuple(str(permit[part]) for part in ("host", "address", "reason", "owner", "until"))
            routers.setdefault(key, []).append(router)
    return tuple(
        Permit(host, address, reason, owner, until, tuple(names), faculty_of.get(host, ""))
        for (host, address, reason, owner, until), names in routers.items()
    )


def _destinations(data: Mapping[str, Any]) -> tuple[Destination, ...]:
    domains: dict[str, list[str]] = {}
    for route in data["routes"]:
        domains.setdefault(route["home"], []).append(route["domain"])
    gateways = tuple(str(each["host"]) for each in data["gateways"])
    return tuple(
        Destination(
            name, _addresses(host), tuple(sorted(domains.get(name, ()), key=domain_key)), gateways, host["faculty"]
        )
        for name, host in data["hosts"].items()
        if "destinations" in host["kinds"]
    )


def _rules(borders: Mapping[str, Any]) -> tuple[Rule, ...]:
    return tuple(
        Rule(router, each.order, each.source, each.destination, each.port, each.action, each.comment)
        for router, border in borders.items()
        if not border.get("managed", True)
        for each in handover.entries(handover.guard_of(border))
    )


def _fingerprint(plan: Plan) -> str:
    tables = [table for table in TABLES if table not in _LATER_TABLES or plan.rows(table)]
    rows = [sorted(repr(row) for row in plan.rows(table)) for table in tables]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]
