# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of runs on the controller: when, who, what, which hosts; and which of them are old. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_FORMAT = "campus.mailgate run"
KEPT_RUNS = 50
KEPT_DAYS = 90
_SUFFIX = ".json"


@dataclass(frozen=True)
class Run:
    """One run of site.yml, rollout.yml or rollback.yml.

    Attributes:
        name: The name of its record, which begins with the time.
        began: The time in seconds since 1970.
        ended: The time of its end, 0 if it did not reach it.
        who: The user, and the host of the controller.
        what: The playbook with the variables of the run.
        hosts: The hosts that have changed, each with what has changed, in the phases of the rollout.
        files: The hosts on which files have changed, each with the paths, and the names whose MX records have.
        takes_back: The run that it takes back, "" for none.
        taken_back: The run that has taken it back as a whole, "" for none.
    """

    name: str
    began: int
    who: str
    what: str
    ended: int = 0
    hosts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    takes_back: str = ""
    taken_back: str = ""

    @property
    def id(self) -> str:
        """The name that a person gives: without the suffix of the file."""
        return self.name.removesuffix(_SUFFIX)

    @property
    def end(self) -> str:
        """How it ended: `complete`, `taken back` or `not complete`."""
        return "taken back" if self.taken_back else "complete" if self.ended else "not complete"


def campus_name(campus: str) -> str:
    """Return the name of the directory of a campus."""
    return re.sub(r"[^A-Za-z0-9]+", "-", campus).strip("-") or "campus"


def as_text(run: Run, states: Mapping[str, Any]) -> str:
    """Return the content of a record; `states` is what each host had before the run."""
    return json.dumps({"format": _FORMAT, "run": asdict(run), "states": states}, indent=1) + "\n"


def read(text: str) -> tuple[Run, dict[str, Any]]:
    """Return a record; raise ValueError if it is none."""
    try:
        data = json.loads(text)
        if data["format"] != _FORMAT:
            raise ValueError(f"the format is {data['format']!r}")
        return Run(**data["run"]), dict(data["states"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"it has no valid {error}") from error


def old(runs: Iterable[Run], now: int, count: int = KEPT_RUNS, days: int = KEPT_DAYS) -> list[str]:
    """Return the names of records to remove: all but the latest `count`, and those older than `days`.

    A run that is not complete stays until it is taken back, or a later one is complete: that has done what was left.
    """
    ordered = sorted(runs, key=lambda run: run.began, reverse=True)
    limit = now - days * 86400
    complete = max((run.began for run in ordered if run.ended and not run.taken_back), default=0)
    return [
        run.name
        for place, run in enumerate(ordered)
        if (place >= count or run.began < limit) and (run.ended or run.taken_back or run.began < complete)
    ]


def changed_files(answers: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the paths and names of MX records that a run changed on each host, from results of host_run."""
    found = {}
    for answer in answers:
        run = answer.get("found") or {}
        paths = [file["path"] for file in run.get("files", ())]
        names = sorted({f"MX {zone['owner']}" for zone in run.get("zones", ())})
        if paths or names:
            found[str(answer["host"])] = paths + names
    return found


def host_states(answers: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what each host has, in a form that only changes when the host was changed."""
    found: dict[str, dict[str, Any]] = {}
    for answer in answers:
        facts = answer.get("facts") or {}
        state: dict[str, Any] = {}
        if mail := facts.get("mail"):
            state["routes"] = {key: mail.get(key) for key in ("written", "local", "relay", "routes")}
        if gateway := facts.get("gateway"):
            state["gateways"] = {"written": gateway["written"], "routes": gateway["routes"]}
        if zones := facts.get("zones"):
            state["ttl"] = {o["owner"]: o["ttl"] for zone in zones for o in zone.get("owners", ())}
            state["mx"] = {o["owner"]: o["mx"] for zone in zones for o in zone.get("owners", ())}
        if border := facts.get("border"):
            state["block"] = {each["address"]: each["refuses"] for each in border["counters"]}
        if state:
            found[str(answer["host"])] = state
    return found


def changes(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the hosts that have changed, each with what has; a host that was not asked at both times is left out."""
    found = {
        host: [part for part in after[host] if part in before[host] and after[host][part] != before[host][part]]
        for host in after
        if host in before
    }
    return {host: parts for host, parts in found.items() if parts}
