# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of rollout_record: the records of runs on the controller."""

from __future__ import annotations

import getpass
import os
import re
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._rollout import runs

ARGUMENTS = {
    "state": {"type": "str", "choices": ["begin", "end", "list"], "required": True},
    "directory": {"type": "path", "required": True},
    "campus": {"type": "str", "required": True},
    "what": {"type": "str", "default": ""},
    "name": {"type": "str", "default": ""},
    "answers": {"type": "list", "elements": "dict", "default": []},
    "keep_runs": {"type": "int", "default": runs.KEPT_RUNS},
    "keep_days": {"type": "int", "default": runs.KEPT_DAYS},
    "count": {"type": "int", "default": 5},
}

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of rollout_record. Records are for people: no phase reads them."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin or end a record, or return the latest ones."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS)
        result["changed"] = False
        campus = re.sub(r"[^A-Za-z0-9]+", "-", args["campus"]).strip("-") or "campus"
        directory = Path(args["directory"]) / campus
        if args["state"] == "list":
            return result | {"runs": [asdict(run) for run in self._all(directory)[: args["count"]]]}
        if self._task.check_mode:
            return result | {"name": ""}
        try:
            name = self._begin(directory, args) if args["state"] == "begin" else self._end(directory, args)
        except (OSError, ValueError) as error:
            raise AnsibleActionFail(f"the record of this run cannot be written: {directory}: {error}") from None
        return result | {"name": name}

    def _begin(self, directory: Path, args: dict[str, Any]) -> str:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in runs.old(self._all(directory), int(time.time()), args["keep_runs"] - 1, args["keep_days"]):
            (directory / name).unlink(missing_ok=True)
        now = int(time.time())
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{os.getppid()}.json"
        run = runs.Run(name, now, f"{getpass.getuser()}@{socket.gethostname()}", args["what"])
        self._write(directory / name, run, runs.host_states(args["answers"]))
        return name

    def _end(self, directory: Path, args: dict[str, Any]) -> str:
        run, states = runs.read((directory / args["name"]).read_text(encoding="utf-8"))
        changed = runs.changes(states, runs.host_states(args["answers"]))
        self._write(directory / args["name"], replace(run, ended=int(time.time()), hosts=changed), states)
        return str(args["name"])

    @staticmethod
    def _write(path: Path, run: runs.Run, states: dict[str, Any]) -> None:
        staged = path.with_suffix(".new")
        staged.write_text(runs.as_text(run, states), encoding="utf-8")
        staged.chmod(0o600)
        staged.replace(path)

    @staticmethod
    def _all(directory: Path) -> list[runs.Run]:
        """Return all records, the latest first; a file that is none is a warning."""
        found = []
        for path in directory.glob("*.json"):
            try:
                found.append(replace(runs.read(path.read_text(encoding="utf-8"))[0], name=path.name))
            except (OSError, ValueError) as error:
                display.warning(f"{path} is not a record of a run: {error}")
        return sorted(found, key=lambda run: (run.began, run.name), reverse=True)
