# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a rollout: their order, those that a run selects, and the part of the plan that concerns a faculty."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PHASES = ("survey", "routes", "gateways", "ttl", "mx", "observe", "block")
STEPS = {"routes": "routes", "gateways": "gateways", "mx": "dns", "block": "border"}
"""The steps of playbooks/site.yml that phases run."""

NO_FACULTY = "-"
"""Stands for the domains and servers of no faculty."""

BACK = ("observe", "mx", "ttl", "gateways", "routes", "survey")
"""The phases to which a rollout can be taken back, in the order in which this is done."""
_BACK_OF_A_FACULTY = ("observe", "mx", "ttl", "gateways")


@dataclass(frozen=True)
class Selection:
    """What a run is to do: phases in their order, for these faculties; none of them stands for the whole campus."""

    phases: tuple[str, ...]
    faculties: tuple[str, ...] = ()


class SelectionRefused(ValueError):
    """The variables of a run are not valid; the text has one line for each problem."""


def select(plan: Mapping[str, Any], phase: str, to: str, faculty: str) -> Selection:
    """Return the selection of a run of rollout.yml.

    Args:
        plan: The whole plan.
        phase: The only phase, or "".
        to: The last phase, or "".
        faculty: Faculties, separated by commas, or "".

    Raises:
        SelectionRefused: With all problems.
    """
    faculties, problems = _faculties(plan, faculty)
    problems = [*_unknown("phase", phase, PHASES), *_unknown("to", to, PHASES), *problems]
    if phase and to:
        problems.append("phase and to are both set. Set phase to run one phase, or to to run all phases up to it")
    if problems:
        raise SelectionRefused("\n".join(problems))
    phases = (phase,) if phase else PHASES[: PHASES.index(to) + 1] if to else PHASES
    if faculties and "mx" in phases and any(plan.get("mx_outside", {}).values()):
        raise SelectionRefused(
            "faculty: the external zones of split DNS are written as a whole, so MX records cannot be changed for one "
            "faculty. Run the phase mx without faculty; mailgate_keep_mx keeps the records of single servers"
        )
    return Selection(phases, faculties)


def select_back(plan: Mapping[str, Any], to: str, faculty: str) -> Selection:
    """Return the selection of a run of rollback.yml: the phases that are taken back, the last one first.

    Raises:
        SelectionRefused: With all problems.
    """
    faculties, problems = _faculties(plan, faculty)
    missing = [] if to else [f"to is not set. Set it to the phase that is to stay: {', '.join(BACK)}"]
    problems = [*missing, *_unknown("to", to, BACK), *problems]
    if faculties and to in BACK and to not in _BACK_OF_A_FACULTY:
        problems.append(
            f"to: the gateways and their routes serve all faculties, so one faculty can be taken back to "
            f"{_listed(_BACK_OF_A_FACULTY, 'or')} only. Without MX records that name them they get no mail of it"
        )
    if faculties and to in ("ttl", "gateways") and any(plan.get("mx_outside", {}).values()):
        problems.append(
            "faculty: the external zones of split DNS are written as a whole, so MX records cannot be taken back for "
            "one faculty"
        )
    if problems:
        raise SelectionRefused("\n".join(problems))
    after = PHASES[PHASES.index(to) + 1 :]
    return Selection(tuple(reversed(after)), faculties)


def _unknown(name: str, value: str, known: Sequence[str]) -> list[str]:
    if not value or value in known:
        return []
    return [f"{name}: '{value}' is not a phase. Use one of {', '.join(known)}"]


def _faculties(plan: Mapping[str, Any], text: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the faculties in a text, and the problems."""
    wanted = tuple(dict.fromkeys(filter(None, (each.strip() for each in text.split(",")))))
    known = faculties_of(plan)
    unknown = [each for each in wanted if each not in known]
    if not unknown:
        return wanted, []
    text = _listed([f"'{each}'" for each in unknown], "and")
    verb = "is not a faculty" if len(unknown) == 1 else "are not faculties"
    return wanted, [f"faculty: {text} {verb} with a mail domain in the inventory. Known: {', '.join(known)}"]


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def faculties_of(plan: Mapping[str, Any]) -> list[str]:
    """Return the faculties that have a mail domain, sorted; `NO_FACULTY` last."""
    found = {str(route["faculty"]) for route in plan["routes"]}
    return [*sorted(found - {""}), *([NO_FACULTY] if "" in found else [])]


def domains_of(plan: Mapping[str, Any], faculty: str) -> frozenset[str]:
    """Return the mail domains of a faculty."""
    name = "" if faculty == NO_FACULTY else faculty
    return frozenset(str(route["domain"]) for route in plan["routes"] if route["faculty"] == name)


def servers_of(plan: Mapping[str, Any], faculty: str) -> list[str]:
    """Return the final servers of a faculty's domains and its other mail servers, without the gateways."""
    name = "" if faculty == NO_FACULTY else faculty
    return [
        host
        for host, values in plan["hosts"].items()
        if values["faculty"] == name
        and {"servers", "destinations"} & set(values["kinds"])
        and "gateways" not in values["kinds"]
    ]


def addresses_of(plan: Mapping[str, Any], hosts: Iterable[str], router: str) -> list[str]:
    """Return the addresses of servers that a router blocks: those without a permit."""
    permitted = {str(permit["address"]) for permit in plan["border"].get(router, {}).get("permits", ())}
    found = (plan["hosts"][host][key] for host in hosts for key in ("address", "address6"))
    return [address for address in dict.fromkeys(found) if address and address not in permitted]


def narrow(plan: Mapping[str, Any], faculties: Collection[str]) -> dict[str, Any]:
    """Return the plan with what concerns these faculties.

    MX records are those of their domains. A mail server keeps its own domains, and gets routes and relayed domains of
    these faculties only; its other routes stay as they are. Gateways serve all faculties, so their tables stay whole.
    `concerned` are the routes about which gateways must be asked.
    """
    if not faculties:
        return {**plan, "concerned": plan["routes"]}
    domains = frozenset().union(*(domains_of(plan, faculty) for faculty in faculties))
    gateways = {gateway["host"] for gateway in plan["gateways"]}
    return {
        **plan,
        "partial": True,
        "concerned": [route for route in plan["routes"] if route["domain"] in domains],
        "sendmail": {
            host: table if host in gateways else _table(table, domains) for host, table in plan["sendmail"].items()
        },
        "mx": {server: _zones(zones, domains) for server, zones in plan["mx"].items()},
    }


def _table(table: Mapping[str, Any], domains: Collection[str]) -> dict[str, Any]:
    return {
        "local": table["local"],
        "relay": [domain for domain in table["relay"] if domain in domains],
        "static": [line for line in table["static"] if line["domain"] in domains],
    }


def _zones(zones: Iterable[Mapping[str, Any]], domains: Collection[str]) -> list[dict[str, Any]]:
    found = [{**zone, "owners": [each for each in zone["owners"] if each["owner"] in domains]} for zone in zones]
    return [zone for zone in found if zone["owners"]]
