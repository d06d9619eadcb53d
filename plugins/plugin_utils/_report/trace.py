# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all gateways and inner servers know of a mail, in one list by time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .columns import plain
from .translations import N_, translations

# Clocks of two hosts differ, and a server logs a message before it answers.
MARGIN_SECONDS = 300
_NOTHING = N_("No gateway that answered has a record of it.")
_UNREACHABLE = N_("{host} did not answer; what it knows is missing.")
_NOW = N_("Now, by {host}:")


def questions(answers: Mapping[str, Sequence[Mapping[str, Any]]], plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what to ask the servers that accepted mail: by host `ids`, `queues` and `since`.

    Args:
        answers: The traces of each gateway, by host, as `mailgate trace --json` prints them.
        plan: The plan; servers that others maintain are not asked.
    """
    hosts = {
        address: name
        for name, host in plan["hosts"].items()
        if "servers" in host["kinds"]
        for address in (host["address"], host["address6"])
        if address
    }
    found: dict[str, dict[str, Any]] = {}
    for event, trace in _events(_each_once(answers)):
        host = hosts.get(str(event.get("next_hop", "")).rpartition(":")[0].strip("[]"))
        if event.get("event") != "delivered" or host is None:
            continue
        asked = found.setdefault(host, {"ids": [], "queues": [], "since": float("inf")})
        asked["since"] = min(asked["since"], _time(event) - MARGIN_SECONDS)
        asked["queues"] += [str(event["queue_id"])] if event.get("queue_id") else []
        asked["ids"] += [str(each["message_id"]) for each in trace["events"] if each.get("message_id")]
    return found


def _events(answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    for traces in answers.values():
        for trace in traces:
            for event in trace["events"]:
                yield event, trace


def _each_once(answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return each trace once: that of its own gateway if it answered.

    With an event database, gateways answer with the mails of all; events of others have a field `gateway`.
    """
    own = {host: [trace for trace in traces if not _is_foreign(trace)] for host, traces in answers.items()}
    known = {trace["id"] for traces in own.values() for trace in traces}
    for host, traces in answers.items():
        for trace in traces:
            if trace["id"] not in known:
                known.add(trace["id"])
                own[host].append(trace)
    return own


def _is_foreign(trace: Mapping[str, Any]) -> bool:
    events = trace.get("events", ())
    return bool(events) and all("gateway" in event for event in events)


def _time(entry: Mapping[str, Any]) -> float:
    when = entry.get("time")
    return float(when) if isinstance(when, (int, float)) else 0.0


def merged(
    answers: Mapping[str, Sequence[Mapping[str, Any]]],
    logs: Mapping[str, Sequence[Mapping[str, Any]]],
    missing: Sequence[str],
    language: str,
    remarks: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return the lines to show.

    Args:
        answers: The traces of each gateway, by host.
        logs: The lines of the logs of servers, by host, as the module mail_log returns them.
        missing: Gateways that did not answer.
        language: Language of the texts that the gateways did not write.
        remarks: What each gateway says is missing in its answer, by host.
    """
    answers = _each_once(answers)
    catalog = translations(language)
    steps = [
        (_time(step), host, f"{trace['id']}  {step['text']}")
        for host, traces in answers.items()
        for trace in traces
        for step in trace["steps"]
    ]
    steps += [(_time(line), host, f"{line['queue']}  {line['text']}") for host, lines in logs.items() for line in lines]
    width = max((len(host) for _time, host, _text in steps), default=0)
    shown = [f"{_when(moment)}  {host:{width}}  {plain(text)}" for moment, host, text in sorted(steps)]
    if not steps:
        shown.append(catalog.gettext(_NOTHING))
    for host, traces in answers.items():
        now = [f"  {trace['id']}  {plain(text)}" for trace in traces for text in trace["now"]]
        if now:
            shown += ["", catalog.gettext(_NOW).format(host=host), *now]
    shown += [f"{host}: {plain(line.removeprefix('mailgate: '))}" for host, lines in remarks.items() for line in lines]
    return shown + [catalog.gettext(_UNREACHABLE).format(host=host) for host in missing]


def _when(moment: float) -> str:
    """Return a time in UTC, since the hosts may have other time zones than the controller."""
    if not moment:
        return f"{'-':20}"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
