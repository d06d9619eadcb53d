# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the daemon ran before the first change: recorded once, so that it can be as it was."""

from __future__ import annotations

import json
from pathlib import Path

from .._keep import kept
from .._replace import replace_all
from .change import BY
from .system import Run

SERVICE = "sendmail"
DROP_INS = Path("/etc/systemd/system/sendmail.service.d")
_UNITS = ("/usr/lib/systemd/", "/lib/systemd/", "/etc/systemd/")


def _path() -> Path:
    return kept.STORE / f"{BY}-service.json"


def record(run: Run) -> None:
    """Record whether the service is enabled, running and a unit of its own, before the first change of a file."""
    path = _path()
    if path.exists() or any(each.by == BY for each in kept.records(kept.STORE)):
        return
    states = {
        name: run(["systemctl", command, "--quiet", SERVICE], "")[0] == 0
        for name, command in (("enabled", "is-enabled"), ("active", "is-active"))
    }
    # systemd generates a unit for a host that has the init script only.
    _status, unit, _errors = run(["systemctl", "show", "--property=FragmentPath", "--value", SERVICE], "")
    states["native"] = unit.startswith(_UNITS)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_all({path: None}, {path: json.dumps(states).encode() + b"\n"}, modes={path: 0o600})


def supervised(directory: Path = DROP_INS) -> bool:
    """Return whether the role's drop-in is there, or an empty directory that an interrupted removal has left."""
    return (directory / "mailgate.conf").exists() or (directory.is_dir() and not any(directory.iterdir()))


def recorded() -> dict[str, bool]:
    """Return what was recorded; {} without a record."""
    try:
        found: dict[str, bool] = json.loads(_path().read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found
