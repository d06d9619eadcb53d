# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mta_check: all that a run asks of a host before its first change, in one connection."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ..plugin_utils._systems.systems import COMMAND, identify
from .role_applied import ActionModule as RoleApplied


class ActionModule(RoleApplied):
    """The action of mta_check."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returns, and the host's system as a fact."""
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        arguments = dict(self._task.args)
        roles = arguments.get("roles") or []
        arguments["fingerprints"] = {role: self.fingerprint(role, task_vars or {}) for role in roles}
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
