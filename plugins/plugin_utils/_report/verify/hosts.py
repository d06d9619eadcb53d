# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what the hosts show of themselves: service, scanner, queue, files, rules, clock. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..._verify.questions import Plan
from .fault import Fault
from .limits import Limits
from .ways import route_faults

_SIGNED = re.compile(r"/\d+/\w{3} (\w{3} +\d+ [\d:]+ \d{4})")
_DAY = 86400
_UNDETERMINED = 2
_SCANNER = "clamd"


def judge(plan: Plan, answers: Sequence[Mapping[str, Any]], limits: Limits, now: float) -> Iterator[Fault]:
    """Yield the faults that the hosts show of themselves."""
    for answer in answers:
        host = str(answer["host"])
        if answer["unreachable_reason"]:
            if answer["functions"]:
                yield Fault("unreachable", host, {"reason": answer["unreachable_reason"]})
            continue
        if facts := answer.get("facts"):
            yield from _host(host, facts, answer, limits)
            yield from _service(host, facts, limits, now)
            yield from _border(host, facts, now)
    yield from _versions(answers)
    yield from route_faults(plan, answers)
    yield from _permits(plan, limits, now)


def _host(host: str, facts: Mapping[str, Any], answer: Mapping[str, Any], limits: Limits) -> Iterator[Fault]:
    for problem in (facts.get("mta") or {}).get("problems", ()):
        yield Fault("second_mta", host, {"text": problem})
    for each in facts.get("kept") or ():
        yield Fault("drift", host, {"path": each["path"], "state": each["state"]}, key=each["path"])
    queue = facts.get("queue") or {}
    hours = int(queue.get("oldest") or 0) // 3600
    if queue.get("messages", 0) > limits.queue_messages or hours >= limits.queue_hours:
        yield Fault("queue", host, {"count": queue["messages"], "hours": hours})
    if facts.get("lowered"):
        yield Fault("lowered", host)
    clock = float(facts.get("clock") or 0)
    early, late = float(answer["started"]) - clock, clock - float(answer["ended"])
    if clock and max(early, late) > limits.clock_seconds:
        yield Fault("clock", host, {"seconds": int(max(early, late))})
    notes = [*facts.get("notes", ()), *(f"{name}: it took too long" for name in facts.get("missed", ()))]
    for note in notes:
        yield Fault("unread", host, {"text": note}, key=note.partition(":")[0])


def _service(host: str, facts: Mapping[str, Any], limits: Limits, now: float) -> Iterator[Fault]:
    service = facts.get("service")
    if not service:
        return
    if service["error"]:
        yield Fault("service", host, {"text": service["error"]}, key="status")
    for line in service["failed"]:
        name = line.partition(":")[0].partition(" ")[0]
        yield Fault("scanner" if name == _SCANNER else "service", host, {"text": line}, key=name)
    if service["routes_error"]:
        yield Fault("service", host, {"text": service["routes_error"]}, key="routes")
    made = signatures_of(service["clamd"]) or float(facts.get("signatures") or 0)
    days = int((now - made) / _DAY)
    if made and days > limits.signature_days:
        yield Fault("signatures", host, {"days": days})


def signatures_of(version: str) -> float:
    """Return when the signatures of a clamd were made, from its VERSION; 0 if it does not say."""
    match = _SIGNED.search(version)
    if not match:
        return 0.0
    try:
        made = datetime.datetime.strptime(" ".join(match[1].split()), "%b %d %H:%M:%S %Y")
    except ValueError:
        return 0.0
    return made.replace(tzinfo=datetime.UTC).timestamp()


def _border(host: str, facts: Mapping[str, Any], now: float) -> Iterator[Fault]:
    for way in (facts.get("router") or {}).get("ways", ()):
        if way["fate"] == "blocked":
            values = {"address": way["address"], "text": "; ".join(way["rules"])}
            yield Fault("blocked", host, values, key=way["address"])
    guard = facts.get("guard")
    if not guard:
        return
    if guard["problems"] or guard["status"] == 1:
        yield Fault("rules", host, {"text": "; ".join(guard["problems"][:3]) or guard["error"]})
    elif guard["status"]:
        yield Fault("rules" if guard["status"] != _UNDETERMINED else "unread", host, {"text": guard["error"]})
    if guard["stopped"] or guard["active"] != "active":
        yield Fault("guard", host, {"text": guard["stopped"] or guard["active"] or "-"})
    if guard["repairs"] and guard["last"] > now - _DAY:
        yield Fault("repairs", host, {"by": ", ".join(guard["by"]) or "unknown"})


def _versions(answers: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    found = {
        str(answer["host"]): str(answer["facts"]["service"]["version"])
        for answer in answers
        if (answer.get("facts") or {}).get("service")
    }
    latest = max(found.values(), key=_numbers, default="")
    for host, version in found.items():
        if version and version != latest:
            yield Fault("versions", host, {"found": version, "other": latest})


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _permits(plan: Plan, limits: Limits, now: float) -> Iterator[Fault]:
    """Yield the permits that end soon; one that has ended is a problem of the plan."""
    last = datetime.datetime.fromtimestamp(now + limits.permit_days * _DAY, datetime.UTC).date().isoformat()
    ending = {
        (permit["host"], permit["address"]): permit["until"]
        for border in plan.get("border", {}).values()
        for permit in border["permits"]
        if permit["until"] and permit["until"] <= last
    }
    for (host, address), until in ending.items():
        yield Fault("permit_ends", host, {"address": address, "until": until}, key=address)
