# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All faults of a campus in the order of their importance, and those that a baseline acknowledges. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from ..._verify.questions import Plan
from . import deliveries, dns, hosts, outbound, smtp
from .deliveries import Delivery
from .fault import ERROR, Fault
from .limits import Limits

_KEYS = frozenset({"fault", "reason", "until"})


class BaselineError(ValueError):
    """The baseline is not valid; each problem is one line."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An entry of a baseline: a fault's name, with `*` for any characters, why it stays, and its last day."""

    fault: str
    reason: str
    until: datetime.date


@dataclass(frozen=True)
class Verdict:
    """The result of a verification.

    Attributes:
        faults: The faults that count, the most important first.
        acknowledged: Those that a baseline acknowledges, each with its entry.
        hosts: How many hosts were read.
        probes: How many vantage points probed.
        checks: How many answers were compared with the plan.
        messages: The test messages.
    """

    faults: Sequence[Fault]
    acknowledged: Sequence[tuple[Fault, Acknowledged]]
    hosts: int
    probes: int
    checks: int
    messages: Sequence[Delivery] = ()

    @property
    def errors(self) -> int:
        """Return how many of the faults are errors."""
        return sum(fault.level == ERROR for fault in self.faults)


def judge(
    plan: Plan,
    answers: Sequence[Mapping[str, Any]],
    probes: Sequence[Mapping[str, Any]],
    *,
    limits: Limits,
    now: float,
    baseline: Sequence[Acknowledged] = (),
    sent: Sequence[Mapping[str, Any]] = (),
    found: Sequence[Mapping[str, Any]] = (),
    servers: Sequence[str] = (),
    routers: Mapping[str, Mapping[str, Any]] | None = None,
) -> Verdict:
    """Judge all answers of hosts and vantage points.

    Args:
        plan: The result of mail_plan.
        answers: The results of mail_verify on the hosts.
        probes: Its results at the vantage points.
        limits: The limits for warnings.
        now: The time of the controller.
        baseline: Acknowledged faults.
        sent: The results of mail_verify at the vantage point that sent test messages.
        found: Its results on the final servers of these.
        servers: The addresses outside of the campus that hosts connected to.
        routers: `outbound.VARIABLES` of the border routers, without those that cannot be read.
    """
    messages = deliveries.deliveries(plan, sent, found)
    every: dict[str, Fault] = {}
    usable = []
    if not probes:
        _add(every, [Fault("vantage", "-", {"reason": "no vantage point is in this run"})], "")
    for probe in probes:
        if any(answer["state"] != smtp.NO_ROUTE for answer in probe["smtp"]["servers"]):
            usable.append(probe)
        else:
            reason = probe["unreachable_reason"] or "no route to the mail servers"
            _add(every, [Fault("vantage", str(probe["host"]), {"reason": reason})], "")
    _add(every, hosts.judge(plan, answers, limits, now), "")
    for probe in usable:
        _add(every, dns.judge(plan, probe, limits, now), str(probe["host"]))
    services = {str(answer["host"]): (answer.get("facts") or {}).get("service") or {} for answer in answers}
    fronted = {host for host, service in services.items() if service.get("front")}
    _add(every, smtp.judge(plan, usable, limits, now, fronted), "")
    _add(every, deliveries.judge(messages, sent), "")
    rules = outbound.rules(plan, routers or {}, now)
    _add(every, outbound.judge(plan, servers, rules, answers, probes), "")
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    counting, acknowledged = [], []
    for fault in sorted(_without_consequences(every.values()), key=lambda fault: fault.rank):
        entry = next((each for each in baseline if fnmatchcase(fault.id, each.fault)), None)
        if entry and entry.until >= today:
            acknowledged.append((fault, entry))
            continue
        counting.append(fault)
        if entry:
            values = {"until": entry.until.isoformat(), "reason": entry.reason}
            counting.append(Fault("expired_baseline", fault.host, values, key=fault.kind))
    return Verdict(
        faults=sorted(counting, key=lambda fault: fault.rank),
        acknowledged=acknowledged,
        hosts=sum(bool(answer.get("facts")) for answer in answers),
        probes=len(usable),
        checks=sum(map(_checks, usable)) + sum(len(answer.get("outbound", ())) for answer in answers),
        messages=messages,
    )


def _add(found: dict[str, Fault], faults: Iterable[Fault], place: str) -> None:
    """Add faults; one that several vantage points find is one fault."""
    for fault in faults:
        earlier = found.get(fault.id, fault)
        seen = dict.fromkeys([*earlier.seen, *fault.seen, *([place] if place else [])])
        found[fault.id] = replace(earlier, seen=tuple(seen))


def _without_consequences(faults: Iterable[Fault]) -> list[Fault]:
    """Leave out what only repeats the cause: the probes of a host that is down, or the same loss at another place."""
    every = list(faults)
    down = {fault.host for fault in every if fault.kind == "unreachable"}
    missing = {fault.host for fault in every if fault.kind == "route_missing"}
    hidden, lost = {"closed", "silent", "session"}, {"refused", "deferred"}
    return [
        fault
        for fault in every
        if not (fault.kind in hidden and fault.host in down) and not (fault.kind in lost and fault.host in missing)
    ]


def _checks(probe: Mapping[str, Any]) -> int:
    answers = probe.get("dns") or {}
    count = len(answers.get("mx", ()))
    for server in probe["smtp"]["servers"]:
        count += 1 + len(server["domains"]) + len(server["unknown"]) + int(server["relay"].get("tried", 0))
    for zone in answers.get("zones", ()):
        count += sum(len(server["mx"]) for server in zone["servers"])
    return count


def read_baseline(entries: object, name: str) -> list[Acknowledged]:
    """Return the entries of a baseline file.

    Raises:
        BaselineError: It has problems; the message lists all, one a line.
    """
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise BaselineError(f"{name}: not a list. Write a list of entries with fault, reason and until")
    found, problems = [], []
    for number, entry in enumerate(entries, 1):
        where = f"{name}: entry {number}"
        if not isinstance(entry, Mapping) or set(entry) != _KEYS:
            problems.append(f"{where}: must have fault, reason and until, and nothing else")
            continue
        until = entry["until"]
        try:
            day = until if isinstance(until, datetime.date) else datetime.date.fromisoformat(str(until))
        except ValueError:
            problems.append(f"{where}: until: {str(until)!r} is not a valid date. Write for example 2027-03-31")
            continue
        if not str(entry["reason"] or "").strip():
            problems.append(f"{where}: reason is empty. Say why the fault stays")
        elif not str(entry["fault"] or "").strip("* "):
            problems.append(f"{where}: fault is empty or acknowledges everything. Copy the name from the report")
        else:
            found.append(Acknowledged(str(entry["fault"]), str(entry["reason"]), day))
    if problems:
        raise BaselineError("\n".join(problems))
    return found
