# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_plan: reads the inventory on the controller; everything else is in plugin_utils."""

from __future__ import annotations

import datetime
import filecmp
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._findings import CAMPUS_VARIABLES, HOST_VARIABLES, HostFacts, Unreadable, is_unknown
from ..plugin_utils._plan import as_result, plan_campus
from ..plugin_utils._problems import Place, PlanRefused
from ..plugin_utils._proof import whole_proof

try:  # Only to name file and line in error messages; without it, the file that holds the host is named.
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """Plans for all hosts of the inventory, whatever ``--limit`` says, and touches none."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan as the task's result; fail with every problem of the inventory."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "show": {"type": "bool", "default": False},
                "today": {"type": "str"},
                "proof_file": {"type": "path"},
            }
        )
        inventory = _Inventory((task_vars or {})["hostvars"])
        try:
            plan = plan_campus(inventory.facts(), _day(args["today"]), inventory.locate)
        except PlanRefused as refused:
            raise AnsibleActionFail(str(refused)) from None
        result.update(as_result(plan), changed=False)
        if args["show"]:
            display.display(result["text"])
        if args["proof_file"]:
            check_only = bool(self._task.check_mode)
            result["changed"] = _write(Path(args["proof_file"]), whole_proof(plan.walker), check_only)
        return result


def _write(path: Path, pieces: Iterable[str], check_only: bool) -> bool:
    """Replace the file at once where it would change, and say whether it does."""
    new = None
    try:
        directory = None if check_only else path.parent  # in check mode nothing may appear beside the file
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


def _day(today: str | None) -> datetime.date:
    try:
        return datetime.date.fromisoformat(today) if today else datetime.date.today()
    except ValueError:
        raise AnsibleActionFail(f"today: '{today}' is no date. Write it as 2027-03-31") from None


class _Inventory:
    def __init__(self, hostvars: Any) -> None:
        self.hostvars = hostvars

    def facts(self) -> list[HostFacts]:
        """Return our variables of every host, templated; nothing else is read, because each look-up costs."""
        return [self._host(name) for name in self.hostvars]

    def _host(self, name: str) -> HostFacts:
        variables = self.hostvars[name]
        known = {}
        unknown = {}
        for variable in variables:
            if is_unknown(variable):
                unknown[str(variable)] = [variable]  # the name as the file has it, which knows where it stands
        for variable in (*CAMPUS_VARIABLES, *HOST_VARIABLES):
            if variable in variables:
                try:
                    known[variable] = variables[variable]
                except AnsibleError as error:
                    known[variable] = Unreadable(str(error).splitlines()[0])
        return HostFacts(str(name), variables["group_names"], known, unknown)

    def locate(self, facts: HostFacts | None, values: Sequence[object]) -> Place:
        """Return where the first value that knows its file stands; else the line that names the host."""
        for value in values:
            origin = Origin.get_tag(value) if Origin else None
            if origin and origin.path:
                return Place(_short(origin.path), origin.line_num or 0)
        name: str = facts.name if facts else next(iter(self.hostvars), "")
        file = self.hostvars[name].get("inventory_file") if name else None
        if not file:
            return Place()
        return Place(_short(file), _line_of(name, file) if facts else 0)


def _line_of(name: str, file: str) -> int:
    """Return the number of the first line that names the host, or 0."""
    whole = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])")
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return 0
    return next((number for number, line in enumerate(lines, 1) if whole.search(line)), 0)


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative
