# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_survey_print: write and show the result of a survey; everything else is in plugin_utils."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._discover.draft import scalar
from ..plugin_utils._discover.write import current, write_all
from ..plugin_utils._report.survey.additions import additions, as_yaml
from ..plugin_utils._report.survey.finding import LISTS
from ..plugin_utils._report.survey.judge import known_of
from ..plugin_utils._report.survey.page import as_html, as_json, as_text, survey
from ..plugin_utils._report.translations import translations

ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "answers": {"type": "list", "elements": "dict", "required": True},
    "dest": {"type": "path"},
    "inventory": {"type": "path"},
    "show": {"type": "bool", "default": False},
}
ADDITIONS = "zz-survey.yml"
"""Ansible reads the files of an inventory in the order of their names, and the last value counts."""

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of mail_survey_print. It writes files that differ, and fails only if no host could be asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the three lists, the text and the files that changed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS)
        found = survey(args["plan"], args["answers"])
        catalog = translations(found.language)
        proposed = as_yaml(additions(found.verdicts, known_of(args["answers"], args["plan"])), scalar)
        changed: list[str] = []
        if args["dest"]:
            files = {
                "survey.html": as_html(found, catalog),
                "survey.txt": as_text(found, catalog),
                "survey.json": as_json(found, catalog),
                "additions.yml": proposed,
            }
            changed += self._write(Path(args["dest"]), files, result)
        if args["inventory"]:
            directory = Path(args["inventory"])
            if not directory.is_dir():
                raise AnsibleActionFail(f"inventory: {directory} is not a directory. Name that of your inventory")
            changed += self._write(directory, {ADDITIONS: proposed}, result)
        text = as_text(found, catalog, facts=False)
        if args["show"]:
            display.display(text)
        result |= {
            "changed": bool(changed),
            "paths": changed,
            "text": text,
            "lists": {name: [verdict.host for verdict in found.of(name)] for name in LISTS},
            "asked": found.asked,
        }
        if found.verdicts and not found.asked and not all(each.answer.get("foreign") for each in found.verdicts):
            raise AnsibleActionFail(
                "no host could be asked; the list above has the reasons. Check the addresses, the SSH keys and "
                "ansible_user of the inventory",
                result=result,
            )
        return result

    def _write(self, directory: Path, files: dict[str, str], result: dict[str, Any]) -> list[str]:
        """Write those files that differ, all or none; return their paths."""
        try:
            before = current(directory, files)
            differing = {name: text for name, text in files.items() if before[name] != text}
            if differing and not self._task.check_mode:
                write_all(directory, differing)
        except OSError as error:
            raise AnsibleActionFail(f"{error.filename or directory}: {error.strerror}") from None
        if self._task.diff:
            result.setdefault("diff", []).extend(
                {
                    "before": before[name] or "",
                    "after": text,
                    "before_header": str(directory / name),
                    "after_header": str(directory / name),
                }
                for name, text in differing.items()
            )
        return [str(directory / name) for name in differing]
