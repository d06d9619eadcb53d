# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of rollout_select: what a run is to do; everything else is in plugin_utils."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ..plugin_utils._rollout.phases import SelectionRefused, narrow, select, select_back


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of rollout_select."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan narrowed to the faculties, with the phases; fail with all problems of the variables."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {
                "plan": {"type": "dict", "required": True},
                "phase": {"type": "str", "default": ""},
                "to": {"type": "str", "default": ""},
                "faculty": {"type": "str", "default": ""},
                "back": {"type": "bool", "default": False},
            }
        )
        plan = args["plan"]
        try:
            if args["back"]:
                selection = select_back(plan, args["to"], args["faculty"])
            else:
                selection = select(plan, args["phase"], args["to"], args["faculty"])
        except SelectionRefused as refused:
            # Callbacks of some releases print line breaks of a message as \\n.
            return result | {"failed": True, "msg": f"Nothing was changed. {'; '.join(str(refused).splitlines())}"}
        found = narrow(plan, selection.faculties)
        return result | found | {"changed": False, "phases": selection.phases, "faculties": selection.faculties}
