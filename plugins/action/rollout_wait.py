# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of rollout_wait: wait for caches, or until direct connections have ended."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._report import rollout as report
from ..plugin_utils._rollout.ask import arguments
from ..plugin_utils._rollout.border_cells import observe
from ..plugin_utils._rollout.facts import Cell, Facts, Settings
from ..plugin_utils._rollout.phases import faculties_of

ARGUMENTS = {
    "seconds": {"type": "int"},
    "plan": {"type": "dict"},
    "quiet": {"type": "int", "default": 86400},
    "log_prefix": {"type": "str", "default": "mailgate-25: "},
    "limit": {"type": "int", "default": 10800},
    "interval": {"type": "int", "default": 30},
}

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of rollout_wait. It changes nothing, so it can be interrupted at any time."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait; return whether it is over, and what was missing at the end."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS, required_one_of=[["seconds", "plan"]])
        result["changed"] = False
        if self._task.check_mode:
            return result | {"over": True, "missing": ""}
        if args["plan"] is None:
            return result | self._wait(args)
        return result | self._watch(args, task_vars or {})

    def _wait(self, args: dict[str, Any]) -> dict[str, Any]:
        left = args["seconds"]
        if left > args["limit"]:
            text = f"{report.duration(left)}, which is longer than {report.duration(args['limit'])}"
            return {"over": False, "missing": text}
        end = time.monotonic() + left
        run = os.getppid()
        while (left := end - time.monotonic()) > 0 and os.getppid() == run:
            display.display(
                f"Waiting until no cache has MX records with the previous TTL: {report.duration(left)} left"
            )
            time.sleep(min(left, args["interval"]))
        return {"over": True, "missing": ""}

    def _watch(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Read the counters of a router again and again until they are quiet."""
        host, plan = variables["inventory_hostname"], args["plan"]
        asked = {**arguments(plan, host), "log_prefix": args["log_prefix"]}
        end = time.monotonic() + args["limit"]
        run = os.getppid()  # a worker outlives a run that is killed
        while True:
            answer = self._read(host, asked, variables)
            cell = self._state(plan, answer, args["quiet"])
            text = "; ".join(cell.reasons())
            if cell.complete or time.monotonic() >= end or os.getppid() != run:
                return {"over": cell.complete, "missing": text}
            display.display(f"Observing: {text}; {report.duration(end - time.monotonic())} left")
            time.sleep(max(0.0, min(args["interval"], end - time.monotonic())))

    @staticmethod
    def _state(plan: dict[str, Any], answer: dict[str, Any], quiet: int) -> Cell:
        """Return the state of the router for all faculties of the run."""
        whole = Cell()
        facts = Facts([answer], Settings(quiet=quiet))
        router = {answer["host"]: plan["border"][answer["host"]]}
        for faculty in plan.get("faculties") or faculties_of(plan):
            cell = observe({**plan, "border": router}, facts, faculty)
            whole.ready += cell.ready
            whole.unknown |= cell.unknown
            for name, reason in cell.missing.items():
                whole.missing[name] = f"{whole.missing[name]}; {reason}" if name in whole.missing else reason
        return whole

    def _read(self, host: str, asked: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        try:
            done = self._execute_module("campus.mailgate.rollout_facts", module_args=asked, task_vars=variables)
        except (AnsibleConnectionFailure, AnsibleError) as error:
            return {"host": host, "facts": {}, "reason": " ".join(str(error).split())}
        return {"host": host, "facts": done.get("facts") or {}, "reason": str(done.get("msg") or "no result")}
