# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of rollout_check: read the state of a rollout on the hosts; everything else is in plugin_utils."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._report import rollout as report
from ..plugin_utils._rollout import gate
from ..plugin_utils._rollout.ask import arguments
from ..plugin_utils._rollout.facts import Facts, Settings
from ..plugin_utils._rollout.phases import PHASES
from ..plugin_utils._rollout.runs import Run
from ..plugin_utils._rollout.state import states
from .mail_survey import one_line
from .mta_check import ask_program

ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "ask": {"type": "str"},
    "dns_server": {"type": "str", "default": "127.0.0.1"},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "other_views": {"type": "list", "elements": "str", "default": []},
    "log_prefix": {"type": "str", "default": "mailgate-25: "},
    "answers": {"type": "list", "elements": "dict", "default": []},
    "require": {"type": "str", "choices": list(PHASES)},
    "skip_wait": {"type": "bool", "default": False},
    "lowered_ttl": {"type": "int", "default": 300},
    "quiet": {"type": "int", "default": 86400},
    "accept": {"type": "list", "elements": "str", "default": []},
    "border": {"type": "str", "choices": ["observe", "block", "open"]},
    "runs": {"type": "list", "elements": "dict", "default": []},
    "show": {"type": "bool", "default": False},
    "dest": {"type": "path"},
}
_REASON = 300

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of rollout_check. A host that cannot be asked is a result, never an unreachable or failed host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the facts of a host, or the state of the rollout; fail if what a phase rests on is missing."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS)
        if args["ask"]:
            facts, reason = self._ask(args, task_vars or {})
            return result | {"changed": False, "host": args["ask"], "facts": facts, "reason": reason}
        plan = args["plan"]
        settings = Settings(args["lowered_ttl"], args["quiet"], frozenset(args["accept"]))
        facts = Facts(args["answers"], settings)
        faculties = tuple(plan.get("faculties", ()))
        found = states(plan, facts, faculties)
        result |= {"changed": False, **report.as_dict(found, facts)}
        result["wait"] = max([0, *(each.phases["ttl"].until - facts.now for each in found)])
        if args["border"]:
            routers = [name for name, each in plan["border"].items() if each.get("managed", True)]
            result["border"] = {
                router: gate.border(plan, facts, router, faculties, args["border"]) for router in routers
            }
        if args["show"]:
            runs = [Run(**run) for run in args["runs"]]
            display.display(report.text(found, facts, runs))
        if args["dest"]:
            self._write(Path(args["dest"]), report.as_dict(found, facts))
        if args["require"]:
            missing = gate.missing(plan, found, args["require"], facts.now, skip_wait=args["skip_wait"])
            if missing:
                return self._refuse(gate.refusal(args["require"], faculties, missing), result)
        return result

    def _refuse(self, text: str, result: dict[str, Any]) -> dict[str, Any]:
        """Return the failure alone, in one line; in check mode a warning, as what comes before was not changed."""
        if self._task.check_mode:
            display.warning(f"{text} This is check mode, so phases may be missing because nothing was changed.")
            return result
        return {"failed": True, "changed": False, "msg": text}

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        if self._task.check_mode:
            return
        try:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise AnsibleActionFail(f"dest: {path}: {error.strerror}") from None

    def _ask(self, args: dict[str, Any], variables: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the facts of the host of the task, or why there are none."""
        asked = arguments(args["plan"], args["ask"])
        if not asked:
            return {}, "it has no function that can be asked"
        if "zones" in asked:
            asked |= {key: args[key] for key in ("dns_server", "named_conf", "other_views")}
        if "outside_interfaces" in asked:
            asked["log_prefix"] = args["log_prefix"]
        try:
            if asked.keys() <= {"mail", "functions"} and asked["functions"] == ["mail"]:
                # Nearly all hosts of a campus.
                found = ask_program(self, "_rollout.mail_look", {"said": asked["mail"]}, variables)
                if found is not None:
                    return found, ""
            done = self._execute_module("campus.mailgate.rollout_facts", module_args=asked, task_vars=variables)
        except AnsibleConnectionFailure as error:
            # Ansible's own text before ssh's message is the same for every host.
            return {}, f"unreachable: {one_line(error, limit=_REASON).rpartition('reached over ssh: ')[2]}"
        except AnsibleError as error:  # such as no directory for temporary files, or no Python
            return {}, one_line(error, limit=_REASON)
        if done.get("failed") or "facts" not in done:
            return {}, one_line(done.get("msg"), done.get("module_stderr"), done.get("module_stdout"), limit=_REASON)
        for warning in done.get("warnings", ()):
            display.warning(f"{args['ask']}: {warning}")
        return done["facts"], ""
