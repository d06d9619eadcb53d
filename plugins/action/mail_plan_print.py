# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_plan_print: read and write files on the controller; everything else is in plugin_utils."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._report import difference as differences
from ..plugin_utils._report import plan as report_plan
from ..plugin_utils._report.files import FACULTIES, SAVED, report_files, stale
from ..plugin_utils._report.translations import translations

ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "dest": {"type": "path"},
    "since": {"type": "path"},
    "show": {"type": "bool", "default": False},
}
_MODE = 0o644

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of mail_plan_print: it writes reports that differ, and removes those of former faculties."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the paths that changed, and the difference from the earlier plan."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS, required_one_of=[["dest", "since"]])
        try:
            plan = report_plan.read(args["plan"])
            difference = differences.compare(_earlier(args["since"]), plan) if args["since"] else None
            files = report_files(plan, difference) if args["dest"] else {}
            changes = _changes(Path(args["dest"]), files) if args["dest"] else []
            if not self._task.check_mode:
                for path, _before, after in changes:
                    _write(path, after) if after is not None else _remove(path)
        except (report_plan.InvalidPlan, OSError) as error:
            raise AnsibleActionFail(str(error)) from None
        if difference is not None:
            text = differences.as_text(difference, translations(str(plan.campus.get("language", "en"))))
            result["difference"] = {"same": not difference, "text": text, "since": difference.since}
            if args["show"]:
                display.display(text)
        if self._task.diff:
            result["diff"] = [_diff(*change) for change in changes]
        return result | {
            "changed": bool(changes),
            "paths": [str(path) for path, _before, _after in changes],
            "fingerprint": plan.fingerprint,
        }


def _earlier(name: str) -> report_plan.Plan:
    try:
        text = Path(name).read_text(encoding="utf-8")
    except UnicodeError:
        raise report_plan.InvalidPlan(f"{name} is not a text file. Use the plan.json of an earlier run") from None
    return report_plan.load(text, name)


def _changes(dest: Path, files: dict[str, str]) -> list[tuple[Path, bytes | None, bytes | None]]:
    """Return path, content before and content after of each file that has to be written or removed."""
    changes = []
    for name, text in files.items():
        path, after = dest / name, text.encode("utf-8", "replace")
        before = path.read_bytes() if path.is_file() else None
        if before != after:
            changes.append((path, before, after))
    if (dest / SAVED).is_file():  # otherwise the files are not those of an earlier run
        found = [dest.glob("*"), (dest / FACULTIES).glob("*/*")]
        names = [path.relative_to(dest).as_posix() for paths in found for path in paths if path.is_file()]
        changes += [(dest / name, (dest / name).read_bytes(), None) for name in stale(names, files)]
    return changes


def _write(path: Path, content: bytes) -> None:
    """Replace a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(part).chmod(_MODE)
        Path(part).replace(path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


def _remove(path: Path) -> None:
    path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()


def _diff(path: Path, before: bytes | None, after: bytes | None) -> dict[str, str]:
    return {
        "before": (before or b"").decode("utf-8", "replace"),
        "after": (after or b"").decode("utf-8", "replace"),
        "before_header": str(path),
        "after_header": str(path),
    }
