# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mta_check: all that a run asks of a host before its first change, in one connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase

from ..plugin_utils._systems.program import answer, program
from ..plugin_utils._systems.systems import COMMAND, identify
from .role_applied import ActionModule as RoleApplied

MODULE_UTILS = Path(__file__).resolve().parents[1] / "module_utils"
DEFAULTS: dict[str, Any] = {"said": "", "gateway": False}


class ActionModule(RoleApplied):
    """The action of mta_check."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returns, and the host's system as a fact."""
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        roles = arguments.get("roles") or []
        arguments["fingerprints"] = {role: self.fingerprint(role, variables) for role in roles}
        done = self._ask(arguments, variables)
        if done is None:
            done = self._execute_module("campus.mailgate.mta_check", module_args=arguments, task_vars=task_vars)
        text = done.pop("os_release", "")
        if not text:
            # A system without Python, or one that the module does not know, is told by its name.
            asked = self._low_level_execute_command(COMMAND)
            text = "" if asked["rc"] else asked["stdout"]
        system = identify(text)
        problem = system.problem(str(arguments.get("host"))) if text else ""
        if problem:
            done = {"changed": False, "kind": "", "problems": [problem], "reasons": {}}
        elif not done.get("failed"):
            facts = {"id": system.id, "version": system.version, "name": system.name}
            done["ansible_facts"] = {"mailgate_system": facts}
        return result | done

    def _ask(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any] | None:
        """Return what the module would return, without Ansible's part of it; None if the module has to be run.

        The module checks its arguments, and tells what is wrong with a host on which this fails.
        """
        given = {name: value for name, value in arguments.items() if name != "roles"}
        if given.keys() - DEFAULTS.keys() != {"host", "fingerprints"}:
            return None
        given = {**DEFAULTS, **given}
        if given["said"] not in ("", "sendmail", "postfix") or not isinstance(given["gateway"], bool):
            return None
        found = ask_program(self, "_mta.first_look", given, variables)
        return None if found is None else {"changed": False, **found}


def ask_program(
    action: ActionBase, entry: str, arguments: dict[str, Any], variables: dict[str, Any]
) -> dict[str, Any] | None:
    """Run a module of module_utils on the host of an action, without Ansible's part of a module.

    Args:
        action: The action, which has a connection.
        entry: The module; its function `answer` takes `arguments`.
        arguments: Plain data.
        variables: The variables of the task.

    Returns:
        The answer; None if the host gives none, or has no pipelining.
    """
    if not action._is_pipelining_enabled("new"):
        return None
    named = variables.get("ansible_python_interpreter") or constants.config.get_config_value("INTERPRETER_PYTHON")
    python = str(action._templar.template(named))
    # The Python of the systems that the roles support, where Ansible would have to look for one.
    python = "/usr/bin/python3" if python.startswith("auto") else python
    text = program(MODULE_UTILS, entry, arguments)
    asked = action._low_level_execute_command(f"{python} -I -S -", in_data=text)
    return None if asked["rc"] else answer(asked["stdout"])
