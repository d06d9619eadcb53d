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


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of host_check."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the host's system as a fact; fail if it is not supported, unless `fail` is false."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(argument_spec={"fail": {"type": "bool", "default": True}})
        try:
            asked = self._low_level_execute_command(COMMAND)
        except AnsibleConnectionFailure:
            if args["fail"]:
                raise
            return result | {"changed": False, "problem": ""}
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
        return result | ({"failed": True, "msg": problem} if problem and args["fail"] else {})
