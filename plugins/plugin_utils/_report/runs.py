# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kept runs as text and as plain data: the records of the controller with what each host has kept."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._rollout.runs import Run
from .columns import plain, table

_NONE = "none"


@dataclass(frozen=True)
class Kept:
    """A run with what each host has kept of it, as host_run returns it."""

    run: Run
    hosts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, list[str]]:
        """The paths and names of MX records by host: what the host says, else what the record has."""
        found = {host: list(items) for host, items in self.run.files.items()}
        for host, each in self.hosts.items():
            if items := _items(each):
                found[host] = items
        return dict(sorted(found.items()))


def merge(records: Sequence[Run], answers: Iterable[Mapping[str, Any]]) -> list[Kept]:
    """Return all runs, the latest first."""
    hosts: dict[str, dict[str, Mapping[str, Any]]] = {}
    for answer in answers:
        for each in answer.get("runs", ()):
            hosts.setdefault(str(each["name"]), {})[str(answer["host"])] = each
    found = {run.id: Kept(run, hosts.get(run.id, {})) for run in records}
    for name, kept in hosts.items():
        if name not in found and any(_items(each) for each in kept.values()):
            began = min(int(each["began"]) for each in kept.values())
            run = Run(f"{name}.json", began, "not known", "not known: no record on this controller")
            found[name] = Kept(run, kept)
    return sorted(found.values(), key=lambda each: (each.run.began, each.run.name), reverse=True)


def text(runs: Sequence[Kept], unasked: Sequence[str] = ()) -> str:
    """Return the list of runs."""
    if not runs:
        lines = ["No run is kept."]
    else:
        rows = [
            [each.run.id, _when(each.run.began), each.run.who, each.run.what, _hosts(each), end(each)] for each in runs
        ]
        lines = [
            "Runs, the latest first:",
            "",
            *table(["Run", "When (UTC)", "Who", "What", "Hosts changed", "End"], rows),
        ]
        lines += ["", "One run in full: runs -e run=RUN. Take one back: rollback -e run=RUN"]
    return "\n".join(lines + _unasked(unasked))


def full_text(kept: Kept, unasked: Sequence[str] = ()) -> str:
    """Return one run in full, with the differences that are still known."""
    run = kept.run
    lines = [
        f"Run {run.id}",
        f"  When: {_when(run.began)} UTC" + (f" to {_when(run.ended)} UTC" if run.ended else ""),
        f"  Who:  {run.who}",
        f"  What: {run.what}",
        f"  End:  {end(kept)}",
    ]
    for host, items in kept.changed.items():
        each = kept.hosts.get(host)
        lines += ["", f"{host}: {len(items)} changed"]
        if each is None:
            lines += [f"  {item}" for item in items]
            continue
        for file in each.get("files", ()):
            lines.append(f"  {file['path']}: {file['change']} by {file['by']}; now {file['now']}")
            lines += [f"    {plain(line)}" for line in _difference(file.get("diff"))]
        lines += [
            f"  MX {zone['owner']} in zone {zone['zone']}: {_mx(zone['before'])} -> {_mx(zone['after'])}"
            for zone in each.get("zones", ())
        ]
    if not kept.changed:
        lines += ["", "No host keeps a change of this run."]
    return "\n".join(lines + _unasked(unasked))


def as_dict(kept: Kept) -> dict[str, Any]:
    """Return a run as plain data."""
    run = kept.run
    return {
        "run": run.id,
        "began": run.began,
        "ended": run.ended,
        "who": run.who,
        "what": run.what,
        "end": end(kept),
        "takes_back": run.takes_back,
        "taken_back": run.taken_back,
        "changed": kept.changed,
        "phases": {host: list(parts) for host, parts in run.hosts.items()},
        "hosts": {host: dict(each) for host, each in kept.hosts.items()},
    }


def end(kept: Kept) -> str:
    """Return how a run ended."""
    if kept.run.taken_back:
        return f"taken back by {kept.run.taken_back}"
    if kept.run.ended:
        return "complete"
    if any(each.get("taken_back") for each in kept.hosts.values()):
        return "taken back in part"
    return "not complete: interrupted, failed, or still in progress"


def _hosts(kept: Kept) -> str:
    changed = kept.changed
    if changed:
        return f"{len(changed)}: " + ", ".join(f"{host} ({len(items)})" for host, items in changed.items())
    return ", ".join(f"{host} ({', '.join(parts)})" for host, parts in kept.run.hosts.items()) or _NONE


def _items(each: Mapping[str, Any]) -> list[str]:
    names = sorted({f"MX {zone['owner']}" for zone in each.get("zones", ())})
    return [str(file["path"]) for file in each.get("files", ())] + names


def _difference(diff: Mapping[str, str] | None) -> list[str]:
    if not diff:
        return []
    lines = difflib.unified_diff(
        diff["before"].splitlines(), diff["after"].splitlines(), "before", "after", lineterm="", n=1
    )
    return list(lines)


def _mx(records: Iterable[Sequence[Any]]) -> str:
    return ", ".join(f"{preference} {str(target).rstrip('.')}" for preference, target in records) or _NONE


def _unasked(hosts: Sequence[str]) -> list[str]:
    return ["", "Could not be asked: " + ", ".join(hosts)] if hosts else []


def _when(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC):%Y-%m-%d %H:%M:%S}"
