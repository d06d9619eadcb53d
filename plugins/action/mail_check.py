# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_check: ask a host what it serves, or verify a step; everything else is in plugin_utils."""

from __future__ import annotations

import time
from typing import Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._rollout.steps import STEPS, Run, message, questions, verify

ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "ask": {"type": "str"},
    "step": {"type": "str", "choices": list(STEPS[1:])},
    "dns_server": {"type": "str", "default": "127.0.0.1"},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "other_views": {"type": "list", "elements": "str", "default": []},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "done": {"type": "dict", "default": {}},
    "answers": {"type": "list", "elements": "dict", "default": []},
    "accept": {"type": "list", "elements": "str", "default": []},
    "steps": {"type": "list", "elements": "str", "choices": list(STEPS)},
}

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of mail_check. A host that cannot be asked is a problem in the result, never an unreachable host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the problems of a host, or fail with all problems that prevent a step."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            ARGUMENTS, required_one_of=[["ask", "step"]], mutually_exclusive=[["ask", "step"]]
        )
        variables = task_vars or {}
        if args["ask"]:
            problems, notes = self._ask(args, variables)
            answer = {"host": args["ask"], "time": time.time(), "problems": problems, "notes": notes}
            return result | {"changed": False} | answer
        run = Run(
            hosts=args["hosts"],
            done=args["done"],
            tags=variables.get("ansible_run_tags", ["all"]) if args["steps"] is None else args["steps"],
            skip_tags=variables.get("ansible_skip_tags", []),
            answers={answer["host"]: answer["problems"] for answer in args["answers"] if "problems" in answer},
            notes={answer["host"]: answer.get("notes", []) for answer in args["answers"] if "problems" in answer},
            accepted=args["accept"],
        )
        verdict = verify(args["plan"], args["step"], variables["inventory_hostname"], run)
        result |= {"changed": False, "problems": list(verdict.problems)}
        for warning in verdict.warnings:
            display.warning(warning)
        if not verdict.problems:
            return result
        text = message(args["step"], verdict.problems)
        if self._task.check_mode:
            display.warning(f"{text}\nThis is check mode, so hosts may be not ready because nothing was changed.")
            return result
        # Callbacks print the message of a failed task in forms that differ between releases of ansible-core.
        display.display(text, color=constants.COLOR_ERROR, stderr=True)
        return result | {"failed": True, "msg": f"{text.splitlines()[0]} See the list above"}

    def _ask(self, args: dict[str, Any], variables: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Ask the host that the task is delegated to; return the problems, and notes on what is not known."""
        asked = questions(args["plan"], args["ask"])
        border = asked.pop("border")
        calls = []
        if asked["smtp"] or asked["zones"] or not border:
            asked |= {"dns_server": args["dns_server"]}
            if asked["zones"]:
                asked |= {"named_conf": args["named_conf"], "other_views": args["other_views"]}
            calls.append(("campus.mailgate.mail_probe", asked))
        if border:
            calls.append(("campus.mailgate.border_check", border))
        problems: list[str] = []
        notes: list[str] = []
        for module, arguments in calls:
            try:
                done = self._execute_module(module, module_args=arguments, task_vars=variables)
            except AnsibleConnectionFailure as error:
                return [f"unreachable: {' '.join(str(error).split())}"], []
            if done.get("failed") or "problems" not in done:
                reason = done.get("msg") or done.get("module_stderr") or "no result"
                problems.append(f"cannot be asked: {reason}")
                continue
            problems += map(str, done["problems"])
            notes += map(str, done.get("notes", []))
        return problems, notes
