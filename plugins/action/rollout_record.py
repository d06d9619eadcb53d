# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of rollout_record: the records of runs on the controller."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._report import runs as report
from ..plugin_utils._rollout import runs

ARGUMENTS = {
    "state": {"type": "str", "choices": ["begin", "update", "end", "list", "show"], "required": True},
    "directory": {"type": "path", "required": True},
    "campus": {"type": "str", "required": True},
    "what": {"type": "str", "default": ""},
    "name": {"type": "str", "default": ""},
    "answers": {"type": "list", "elements": "dict", "default": []},
    "run": {"type": "str", "default": ""},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "dest": {"type": "path"},
    "keep_runs": {"type": "int", "default": runs.KEPT_RUNS},
    "keep_days": {"type": "int", "default": runs.KEPT_DAYS},
    "count": {"type": "int", "default": 5},
    "takes_back": {"type": "str", "default": ""},
    "changed": {"type": "list", "elements": "dict", "default": []},
    "required": {"type": "bool", "default": True},
    "keep_empty": {"type": "bool", "default": True},
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
        directory = Path(args["directory"]) / runs.campus_name(args["campus"])
        if args["state"] == "list":
            found = records(directory)[: args["count"] or None]
            return result | {"runs": [asdict(run) for run in found]}
        if args["state"] == "show":
            return result | self._show(directory, args)
        if self._task.check_mode or (args["state"] != "begin" and not args["name"]):
            return result | {"name": "", "run": "", "environment": {}}
        try:
            name = self._begin(directory, args) if args["state"] == "begin" else self._end(directory, args)
        except (OSError, ValueError) as error:
            problem = f"the record of this run cannot be written: {directory}: {error}"
            if args["required"]:
                raise AnsibleActionFail(problem) from None
            display.warning(f"{problem}. The run goes on, but it cannot be listed or taken back as a whole")
            return result | {"name": "", "run": "", "environment": {}}
        back = f"/{args['takes_back']}" if args["takes_back"] else ""
        run = name.removesuffix(".json")
        return result | {"name": name, "run": run, "environment": {"MAILGATE_RUN": run + back} if run else {}}

    def _show(self, directory: Path, args: dict[str, Any]) -> dict[str, Any]:
        """Show the runs, or one of them, and write them as JSON."""
        found = report.merge(records(directory), args["answers"])
        asked = {str(answer["host"]) for answer in args["answers"]}
        unasked = [host for host in args["hosts"] if host not in asked]
        if args["run"]:
            found = [each for each in found if each.run.id == args["run"]]
            if not found:
                raise AnsibleActionFail(
                    f"No run {args['run']} is kept in {directory} or on the hosts that could be asked"
                )
        display.display(report.full_text(found[0], unasked) if args["run"] else report.text(found, unasked))
        data = {"runs": [report.as_dict(each) for each in found], "not_asked": unasked}
        if args["dest"]:
            try:
                Path(args["dest"]).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
            except OSError as error:
                raise AnsibleActionFail(f"dest: {args['dest']}: {error.strerror}") from None
        return data

    def _begin(self, directory: Path, args: dict[str, Any]) -> str:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in runs.old(records(directory), int(time.time()), args["keep_runs"] - 1, args["keep_days"]):
            (directory / name).unlink(missing_ok=True)
        now = int(time.time())
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{os.getppid()}.json"
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        run = runs.Run(name, now, who, args["what"], takes_back=args["takes_back"])
        self._write(directory / name, run, runs.host_states(args["answers"]))
        return name

    def _end(self, directory: Path, args: dict[str, Any]) -> str:
        run, states = runs.read((directory / args["name"]).read_text(encoding="utf-8"))
        path = directory / args["name"]
        hosts = runs.changes(states, runs.host_states(args["answers"]))
        files = {**run.files, **runs.changed_files(args["changed"])}
        if not (args["keep_empty"] or hosts or files):
            path.unlink()
            return ""
        ended = int(time.time()) if args["state"] == "end" else 0
        self._write(path, replace(run, ended=ended, hosts=hosts, files=files), states)
        if ended and run.takes_back:
            other = directory / f"{run.takes_back}.json"
            before, former = runs.read(other.read_text(encoding="utf-8"))
            self._write(other, replace(before, taken_back=run.id), former)
        return str(args["name"])

    @staticmethod
    def _write(path: Path, run: runs.Run, states: dict[str, Any]) -> None:
        staged = path.with_suffix(".new")
        staged.write_text(runs.as_text(run, states), encoding="utf-8")
        staged.chmod(0o600)
        staged.replace(path)


def records(directory: Path) -> list[runs.Run]:
    """Return all records, the latest first; a file that is none is a warning."""
    found = []
    for path in directory.glob("*.json"):
        try:
            found.append(replace(runs.read(path.read_text(encoding="utf-8"))[0], name=path.name))
        except (OSError, ValueError) as error:
            display.warning(f"{path} is not a record of a run: {error}")
    return sorted(found, key=lambda run: (run.began, run.name), reverse=True)
