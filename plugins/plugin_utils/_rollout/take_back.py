# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run can be taken back as a whole, and in which steps. Pure.

The steps are those of remove.yml: border, MX records, gateways, routes. They are safe only for what a run has added or
set, so a run that has removed or moved mail is refused: site.yml and rollout.yml do that in their order, with checks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .runs import Run

_MTAS = ("sendmail_routes", "postfix_routes")
_ZONES = "bind_mx zones"
_STEPS = {
    "border": ("border_firewall",),
    "dns": (_ZONES, "bind_mx"),
    "gateways": ("clamav", "gateway"),
    "routes": _MTAS,
}
"""What each step restores."""
_SHOWN = 3


class Refused(Exception):
    """The run is not taken back, and nothing was changed. The message is one line for the admin."""


@dataclass(frozen=True)
class Plan:
    """How a run is taken back.

    Attributes:
        steps: The hosts of `border`, `dns`, `gateways`, `routes` and `accepting`; the last are mail servers that will
            accept less, so they come when no host routes mail there any more.
        roles: For each host, the roles of which it had something before the run: their files are restored.
        new: For each host, the roles of which it had nothing: they are removed.
        leaving: The domains that a gateway will not route any more.
    """

    steps: dict[str, list[str]]
    roles: dict[str, list[str]]
    new: dict[str, list[str]]
    leaving: list[str] = field(default_factory=list)


def require_run(run: Run) -> None:
    """Require that a run is one that can be taken back at all.

    Raises:
        Refused: It is not.
    """
    if run.taken_back:
        raise Refused(f"Run {run.id} is already taken back, by run {run.taken_back}. Nothing was changed.")
    if run.takes_back or run.what.split(" ")[0] in ("rollback", "remove"):
        raise Refused(
            f"Run {run.id} ({run.what}) took something back, and is not taken back itself. Nothing was changed. Use "
            "rollout or site, which check what each step rests on."
        )


def plan(
    run: Run,
    answers: Sequence[Mapping[str, Any]],
    hosts: Sequence[str],
    exchanges: Collection[str],
    accept: Collection[str] = (),
) -> Plan:
    """Return how a run is taken back.

    Args:
        run: Its record.
        answers: For each host that was asked what host_run returned with the state checked, and in `left` the MX
            records that others have changed since.
        hosts: All hosts of the plan that this collection changes; gateways in the order in which they are changed.
        exchanges: The names of the gateways in MX records.
        accept: Hosts that need not be asked.

    Raises:
        Refused: The run cannot be taken back.
    """
    found = {str(each["host"]): each for each in answers if each.get("found") is not None}
    _require_hosts(run, found, hosts, accept)
    changed = {
        host: each for host, each in found.items() if each["found"] and not each["found"]["taken_back"] and _by(each)
    }
    if not changed and not any(each["found"] for each in found.values()):
        raise Refused(
            f"No host keeps anything of run {run.id}: it changed no files, or is too old. Nothing was changed."
        )
    _require_unchanged(run, changed)
    _require_order(run, changed, exchanges)
    ordered = [host for host in hosts if host in changed]
    steps = {step: [host for host in ordered if _by(changed[host]) & set(by)] for step, by in _STEPS.items()}
    less = [host for host in steps["routes"] if _loses(changed[host])]
    steps["routes"] = [host for host in steps["routes"] if host not in less]
    new = {host: sorted(_roles(_by(changed[host])) - _roles(_known(changed[host]))) for host in ordered}
    return Plan(
        {**steps, "accepting": less},
        {host: sorted(_roles(_by(changed[host])) - set(new[host])) for host in ordered},
        new,
        sorted({domain for each in changed.values() for domain in _leaving(each)}),
    )


def _require_hosts(run: Run, found: Collection[str], hosts: Sequence[str], accept: Collection[str]) -> None:
    """Require an answer of all hosts that the run has changed, or may have changed."""
    needed = set(run.files) | set(run.hosts) if run.ended else set(run.files) | set(run.hosts) | set(hosts)
    missing = sorted(needed - set(found) - set(accept))
    if missing:
        how = "were changed by it" if run.ended else "may have been changed by it, as it did not reach its end"
        raise Refused(
            f"Run {run.id} was not taken back, nothing was changed: {_listed(missing)} could not be asked, and {how}. "
            "Make these hosts reachable. If they are gone, or you have restored them yourself: "
            f"-e mailgate_remove_accept={','.join(missing)}"
        )


def _require_unchanged(run: Run, changed: Mapping[str, Mapping[str, Any]]) -> None:
    """Require that nothing of the run has changed since."""
    later = sorted({other for each in changed.values() for other in each.get("later", ())}, reverse=True)
    if later:
        raise Refused(
            f"Run {run.id} was not taken back, nothing was changed: later runs changed the same files. Take back "
            f"first, in this order: {', '.join(later)}"
        )
    since = [f"{host}: {line}" for host, each in changed.items() for line in (*each["problems"], *each.get("left", ()))]
    if since:
        raise Refused(
            f"Run {run.id} was not taken back, nothing was changed: {_listed(since, '; ')}. Restore what the run has "
            "written there, or take back the phases: rollback -e to=PHASE"
        )


def _require_order(run: Run, changed: Mapping[str, Mapping[str, Any]], exchanges: Collection[str]) -> None:
    """Require that the reverse order never interrupts mail."""
    known = {by for step in _STEPS.values() for by in step}
    problems = []
    for host, each in changed.items():
        for by in sorted(_by(each) - known):
            what = "external zones" if by == "bind_mx external zones" else by
            problems.append(f"{host}: it changed {what}, which follow from other data")
        for role, part in each["present"].items():
            if role in _MTAS or role == "gateway":
                problems += [f"{host}: {line}" for line in _moved(part["before"], part["now"])]
        border = each["present"].get("border", {"before": [], "now": []})
        closing = sorted(set(border["before"]) - set(border["now"]))
        if closing:
            problems.append(f"{host}: it opened port 25 of {_listed(closing)}")
        problems += [f"{host}: {line}" for line in _returning(each["found"]["zones"], exchanges)]
    if problems:
        raise Refused(
            f"Run {run.id} was not taken back, nothing was changed: it also removed or moved mail "
            f"({_listed(problems, '; ')}). Restore the inventory of before, and run site or rollout, which do this in "
            "a safe order."
        )


def _moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what a table had before and has no more, or otherwise."""
    found = [
        f"{domain} is not accepted any more"
        for domain in sorted((set(before.get("local", ())) | set(before.get("relay", ()))) - _accepted(now))
    ]
    routes = now.get("routes", {})
    return found + [
        f"the route of {domain} was {'changed' if domain in routes else 'removed'}"
        for domain, hops in sorted(before.get("routes", {}).items())
        if routes.get(domain) != hops
    ]


def _returning(zones: Iterable[Mapping[str, Any]], exchanges: Collection[str]) -> list[str]:
    """Return the names that would have MX records of a gateway again which they have no more."""
    names = {each.rstrip(".").lower() for each in exchanges}
    found = []
    for zone in zones:
        before, after = ({str(record[1]).rstrip(".").lower() for record in zone[key]} for key in ("before", "after"))
        if (before - after) & names:
            found.append(f"{zone['owner']} had MX records of the gateways")
    return found


def _by(answer: Mapping[str, Any]) -> set[str]:
    """Return what has changed a host in the run."""
    zones = {_ZONES} if answer["found"]["zones"] else set()
    return {str(file["by"]) for file in answer["found"]["files"]} | zones | set(answer["found"]["first"])


def _known(answer: Mapping[str, Any]) -> set[str]:
    """Return those of which the host had something before."""
    return _by(answer) - set(answer["found"]["first"])


def _roles(by: Iterable[str]) -> set[str]:
    """Return the roles; bind_mx keeps its zones under another name than its files."""
    return {"bind_mx" if each == _ZONES else each for each in by}


def _accepted(table: Mapping[str, Any]) -> set[str]:
    return set(table.get("local", ())) | set(table.get("relay", ()))


def _loses(answer: Mapping[str, Any]) -> bool:
    """Return whether a mail server will accept less."""
    parts = [part for role, part in answer["present"].items() if role in _MTAS]
    return any(_accepted(part["now"]) - _accepted(part["before"]) for part in parts)


def _leaving(answer: Mapping[str, Any]) -> set[str]:
    part = answer["present"].get("gateway")
    return set(part["now"]["routes"]) - set(part["before"]["routes"]) if part else set()


def _listed(items: Sequence[str], separator: str = ", ") -> str:
    more = len(items) - _SHOWN
    return separator.join(items[:_SHOWN]) + (f"{separator}and {more} more" if more > 0 else "")
