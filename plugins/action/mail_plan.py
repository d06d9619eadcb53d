# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_plan: read the inventory on the controller; everything else is in plugin_utils."""

from __future__ import annotations

import filecmp
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._inventory.hostvars import AnsibleInventory
from ..plugin_utils._inventory.problems import PlanRefused, summary
from ..plugin_utils._pipeline import as_result, plan_inventory
from ..plugin_utils._proof.proof import whole_proof

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of mail_plan: it plans for all hosts of the inventory, also outside of ``--limit``."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan as the result of the task; fail with all problems of the inventory."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "show": {"type": "bool", "default": False},
                "today": {"type": "str"},
                "proof_file": {"type": "path"},
                "allow_problems": {"type": "bool", "default": False},
            }
        )
        try:
            plan = plan_inventory(AnsibleInventory(task_vars or {}), args["today"])
        except PlanRefused as refused:
            if args["allow_problems"]:
                problems = [str(problem) for problem in refused.problems]
                return result | {"changed": False, "problems": problems, "warnings": refused.warnings}
            # Callbacks print the message of a failed task in forms that differ between releases of ansible-core, some
            # of them twice, or with \\n in place of line breaks. So the list is displayed, and is not in the message.
            display.display(str(refused), color=constants.COLOR_ERROR, stderr=True)
            return result | {"failed": True, "msg": f"{summary(len(refused.problems))}; they are listed above"}
        except ValueError as refused:
            raise AnsibleActionFail(str(refused)) from None
        result.update(as_result(plan), changed=False)
        if args["show"]:
            display.display(result["text"])
        if args["proof_file"]:
            check_only = bool(self._task.check_mode)
            result["changed"] = _write(Path(args["proof_file"]), whole_proof(plan.simulation), check_only)
        return result


def _write(path: Path, pieces: Iterable[str], check_only: bool) -> bool:
    """Replace the file atomically if its content changes; return whether it does."""
    new = None
    try:
        directory = None if check_only else path.parent  # check mode must not create files there
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=directory, prefix=f".{path.name}.", delete=False
        ) as file:
            new = Path(file.name)
            file.writelines(pieces)
        if path.exists() and filecmp.cmp(new, path, shallow=False):
            return False
        if not check_only:
            umask = os.umask(0)
            os.umask(umask)
            new.chmod(0o666 & ~umask)
            new.replace(path)
        return True
    except OSError as error:
        raise AnsibleActionFail(f"proof_file: {path}: {error.strerror}") from None
    finally:
        if new:
            new.unlink(missing_ok=True)
