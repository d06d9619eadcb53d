# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of role_applied: compute the fingerprint of a role's variables, and run the module on the host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..plugin_utils.fingerprint import code_state, fingerprint, input_state

COLLECTION = Path(__file__).resolve().parents[2]


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of role_applied."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returns."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        state = arguments.get("state", "checked")
        if self._task.check_mode and state == "recorded":
            return result | {"changed": False}  # without a connection
        if state != "absent":
            arguments["fingerprint"] = self.fingerprint(str(arguments.get("role")), task_vars or {})
        return result | self._execute_module("campus.mailgate.role_applied", module_args=arguments, task_vars=task_vars)

    def fingerprint(self, role: str, variables: Mapping[str, Any]) -> str:
        """Return the fingerprint of what a role is asked for; "" if its variables cannot be known before it runs."""
        directory = COLLECTION / "roles" / role
        defaults = self._load(directory / "defaults")
        # Values of the inventory may name the role's directory, which is known in the role only.
        known = {**defaults, **variables, **self._load(directory / "vars"), "role_path": str(directory)}
        names = {*defaults, *(name for name in variables if name.startswith(f"{role}_"))}
        templar = self._templar.copy_with_new_env(available_variables=known)
        try:
            values = {name: templar.template(known[name]) for name in sorted(names)}
            files = templar.template(known.get(f"__{role}_inputs", []))
        except AnsibleError:
            return ""
        playbook = Path(str(variables.get("playbook_dir", ".")))
        try:
            inputs = input_state(files, [directory / "files", directory, playbook / "files", playbook])
        except OSError:
            return ""
        return fingerprint(role, values, code_state(COLLECTION, role), inputs)

    def _load(self, directory: Path) -> dict[str, Any]:
        """Return the variables of a role's directory, as Ansible reads it: main.yml, or all files of main/."""
        found: dict[str, Any] = {}
        for path in [directory / "main.yml", *sorted((directory / "main").glob("*.yml"))]:
            if path.is_file():
                found |= self._read(path) or {}
        return found

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            values: dict[str, Any] = self._loader.load_from_file(str(path), trusted_as_template=True)
        except TypeError:  # before ansible-core 2.19, all values are templates
            values = self._loader.load_from_file(str(path))
        return values
