# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of rollout_back: whether a run can be taken back as a whole, and in which steps."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..plugin_utils._rollout import runs, take_back

ARGUMENTS = {
    "run": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "campus": {"type": "str", "required": True},
    "answers": {"type": "list", "elements": "dict"},
    "left": {"type": "dict", "default": {}},
    "broken": {"type": "dict", "default": {}},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "exchanges": {"type": "list", "elements": "str", "default": []},
    "accept": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of rollout_back."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the steps; fail with one line if the run cannot be taken back."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS)
        result["changed"] = False
        try:
            run = find(Path(args["directory"]), args["campus"], args["run"])
            take_back.require_run(run)
            if args["answers"] is None:
                return result
            answers = [
                {**each, "left": [*args["left"].get(each["host"], []), *_listed(args["broken"].get(each["host"]))]}
                for each in args["answers"]
            ]
            found = take_back.plan(run, answers, args["hosts"], args["exchanges"], args["accept"])
        except take_back.Refused as refused:
            raise AnsibleActionFail(str(refused)) from None
        return result | asdict(found)


def _listed(reason: str | None) -> list[str]:
    return [reason] if reason else []


def find(directory: Path, campus: str, name: str) -> runs.Run:
    """Return the record of a run.

    Raises:
        Refused: There is none that can be read.
    """
    where = directory / runs.campus_name(campus)
    # A name is no path.
    path = where / f"{Path(name).name}.json"
    if Path(name).name == name and path.is_file():
        try:
            return replace(runs.read(path.read_text(encoding="utf-8"))[0], name=path.name)
        except (OSError, ValueError) as error:
            raise take_back.Refused(f"{path} is not a record of a run: {error}. Nothing was changed.") from None
    others = [each.parent.name for each in directory.glob(f"*/{path.name}")]
    if others:
        raise take_back.Refused(f"Run {name} is of another campus, {others[0]}, not of {campus}. Nothing was changed.")
    raise take_back.Refused(
        f"No run {name} is kept in {where}: there was none, it was removed as too old, or ran on another controller. "
        "Nothing was changed. The playbook runs lists the runs."
    )
