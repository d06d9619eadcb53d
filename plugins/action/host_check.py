# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of host_check: read a host's os-release without Python on the host; all else is in plugin_utils."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..plugin_utils._systems.systems import COMMAND, identify
from .role_applied import ActionModule as RoleApplied

ARGUMENTS = {
    "fail": {"type": "bool", "default": True},
    "roles": {"type": "list", "elements": "str", "choices": ["bind_mx", "border_firewall"], "default": []},
}


class ActionModule(RoleApplied):
    """The action of host_check."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the host's system as a fact; fail if it is not supported, unless `fail` is false."""
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        _validation, args = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            asked = self._low_level_execute_command(COMMAND)
        except AnsibleConnectionFailure:
            if args["fail"]:
                raise
            return result | {"changed": False, "problem": "", "reasons": {}}
        host = (task_vars or {})["inventory_hostname"]
        result["changed"] = False
        if asked["rc"]:
            why = asked["stderr"].strip() or asked["stdout"].strip() or f"exit status {asked['rc']}"
            problem = f"{host}: its /etc/os-release cannot be read: {why}. The login shell must be a POSIX shell"
        else:
            system = identify(asked["stdout"])
            problem = system.problem(host)
            facts = {"id": system.id, "version": system.version, "name": system.name}
            result["ansible_facts"] = {"mailgate_system": facts}
        result["problem"] = problem
        roles = [] if problem else args["roles"]
        result["reasons"] = {role: self._reasons(role, task_vars or {}) for role in roles}
        return result | ({"failed": True, "msg": problem} if problem and args["fail"] else {})

    def _reasons(self, role: str, variables: dict[str, Any]) -> list[str]:
        """Return why the tasks of a role are necessary; also if that cannot be found out, so that they report why."""
        asked = {"role": role, "state": "checked", "fingerprint": self.fingerprint(role, variables)}
        done = self._execute_module("campus.mailgate.role_applied", module_args=asked, task_vars=variables)
        reasons: list[str] = done.get("reasons", [f"the host cannot be asked: {done.get('msg', 'no result')}"])
        return reasons
