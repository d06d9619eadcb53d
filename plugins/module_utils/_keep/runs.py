# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host keeps of each run: a directory `runs/NAME` in the store, with copies of what was there before it.

A run is a playbook with a record on the controller, which gives its name to modules by the variable MAILGATE_RUN of the
environment: `NAME`, or `NAME/OTHER` for one that takes the run OTHER back. Without it, only the copies at first touch
are kept.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .._replace import replace_all

NAME = "runs"
"""The directory of the runs in the store."""
VARIABLE = "MAILGATE_RUN"
KEPT_RUNS = 50
KEPT_DAYS = 90

_FORMAT = "campus.mailgate run on a host"
_FILE = "run.json"
_RUN = re.compile(r"\d{8}T\d{6}Z-\d+")
_DAY = 86400


@dataclass(frozen=True)
class HostRun:
    """A run on this host.

    Attributes:
        name: Its name, which begins with the time.
        began: The time of the first change on this host, in seconds since 1970.
        ended: The time when the run was complete, 0 if it was not.
        takes_back: The run that it takes back; "" for none.
        taken_back: The run that has taken it back on this host; "" for none.
        first: For each role that changed something, whether the host had nothing of it before.
        tables: The domains and routes that a role had before its first change in this run.
    """

    name: str
    began: int
    ended: int = 0
    takes_back: str = ""
    taken_back: str = ""
    first: Mapping[str, bool] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)


def current() -> str:
    """Return the name of the run that is in progress, "" without one."""
    name = os.environ.get(VARIABLE, "").partition("/")[0]
    return name if is_name(name) else ""


def is_name(name: str) -> bool:
    """Return whether a text is a name of a run, and so a name of a directory that is ours."""
    return _RUN.fullmatch(name) is not None


def directory(store: Path, name: str) -> Path:
    """Return the directory of a run."""
    return store / NAME / name


def read(store: Path, name: str) -> HostRun | None:
    """Return a run; None if nothing of it is kept here.

    Raises:
        ValueError: Its file cannot be read.
    """
    path = directory(store, name) / _FILE
    try:
        data = json.loads(path.read_bytes())
        if data.pop("format") != _FORMAT:
            raise ValueError("the format differs")
        return HostRun(**data)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}. Restore it, or remove the directory") from error


def kept(store: Path) -> list[HostRun]:
    """Return all runs that are kept, the oldest first; what cannot be read is left out.

    Raises:
        OSError: The store cannot be read.
    """
    found = []
    for path in (store / NAME).glob("*"):
        try:
            run = read(store, path.name) if is_name(path.name) else None
        except ValueError:
            continue
        found += [run] if run else []
    return sorted(found, key=lambda run: (run.began, run.name))


def begin(store: Path, name: str, by: str, *, first: bool) -> None:
    """Record that a role is about to change something in this run.

    Raises:
        OSError: The store cannot be written.
    """
    other = os.environ.get(VARIABLE, "").partition("/")[2]
    run = _readable(store, name) or HostRun(name, int(time.time()), takes_back=other)
    if by not in run.first:
        write(store, replace(run, first={**run.first, by: first}))


def knows(store: Path, name: str, by: str) -> bool:
    """Return whether a role has begun to change something in this run; raise OSError if that cannot be read."""
    run = _readable(store, name)
    return run is not None and by in run.first


def note_table(store: Path, by: str, table: Any) -> None:
    """Record the domains and routes that a role had before its first change in the run in progress.

    Raises:
        OSError: The store cannot be written.
    """
    name = current()
    run = _readable(store, name) if name else None
    if run and by not in run.tables:
        write(store, replace(run, tables={**run.tables, by: table}))


def write(store: Path, run: HostRun) -> None:
    """Write what is known of a run.

    Raises:
        OSError: The store cannot be written.
    """
    path = directory(store, run.name) / _FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    data = json.dumps({"format": _FORMAT, **asdict(run)}, indent=1) + "\n"
    replace_all({path: before}, {path: data.encode()}, modes={path: 0o600})


def old(runs: Sequence[HostRun], now: int, count: int = KEPT_RUNS, days: int = KEPT_DAYS) -> list[str]:
    """Return the names of runs to remove: all but the latest `count`, and those older than `days`.

    A run that is not complete stays until it is taken back, or a later one is complete: that has done what was left.
    """
    ordered = sorted(runs, key=lambda run: (run.began, run.name), reverse=True)
    complete = max((run.began for run in ordered if run.ended and not run.taken_back), default=0)
    return [
        run.name
        for place, run in enumerate(ordered)
        if (place >= count or run.began < now - days * _DAY) and (run.ended or run.taken_back or run.began < complete)
    ]


def prune(store: Path, count: int, days: int) -> list[str]:
    """Remove old runs; return their names.

    Raises:
        OSError: One cannot be removed.
    """
    names = old(kept(store), int(time.time()), count, days)
    for name in names:
        shutil.rmtree(directory(store, name))
    return names


def _readable(store: Path, name: str) -> HostRun | None:
    """Return a run as `read`; raise OSError if it cannot be read, so that nothing is changed."""
    try:
        return read(store, name)
    except ValueError as error:
        raise OSError(str(error)) from error
