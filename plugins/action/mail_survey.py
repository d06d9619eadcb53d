# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_survey: look at port 25 from the controller, and run the module on the host."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..plugin_utils._survey.banner import banner
from ..plugin_utils._survey.questions import VARIABLES, Asked, ask

_REASON = 500


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of mail_survey. A host that cannot be asked is a result, never an unreachable or failed host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the facts of the host of the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {
                "plan": {"type": "dict", "required": True},
                "seconds": {"type": "int", "default": 15},
                "timeout": {"type": "int", "default": 5},
            }
        )
        variables = task_vars or {}
        asked = ask(variables["inventory_hostname"], _values(variables), args["plan"])
        facts, reason = self._facts(asked, args, variables)
        return result | {
            "changed": False,
            "host": asked.host,
            "functions": list(asked.functions),
            "said": asked.said,
            "foreign": asked.foreign,
            "domains": list(asked.domains),
            "faculty": asked.faculty,
            "addresses": list(asked.addresses),
            "zones": asked.arguments.get("zones", []),
            "banners": [] if asked.refusal or not args["timeout"] else _banners(asked, args["timeout"]),
            "facts": facts,
            "unreachable_reason": reason,
        }

    def _facts(self, asked: Asked, args: dict[str, Any], variables: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the facts of the host, or why there are none."""
        if asked.refusal or asked.foreign:
            return {}, asked.refusal
        arguments = {**asked.arguments, "seconds": args["seconds"]}
        done, reason = call(self, "campus.mailgate.mail_survey", arguments, variables, needs="facts")
        return done.get("facts", {}), reason


def call(
    action: ActionBase, module: str, arguments: dict[str, Any], variables: dict[str, Any], *, needs: str = ""
) -> tuple[dict[str, Any], str]:
    """Run a module on the host of an action; return its result, which has `needs`, or why there is none."""
    try:
        done: dict[str, Any] = action._execute_module(module, module_args=arguments, task_vars=variables)
    except AnsibleError as error:  # no connection, no directory for temporary files, or no Python
        return {}, one_line(error)
    if done.get("failed") or (needs and needs not in done):
        return {}, one_line(done.get("msg"), done.get("module_stderr"), done.get("module_stdout"))
    return done, ""


def _banners(asked: Asked, timeout: int) -> list[dict[str, Any]]:
    """Return what port 25 of each address answers."""
    return [banner(each, timeout) for each in asked.addresses]


def _values(variables: dict[str, Any]) -> dict[str, object]:
    """Return the variables of the host that matter, templated; one whose template fails is left out."""
    host = variables["hostvars"][variables["inventory_hostname"]]
    found = {}
    for name in VARIABLES:
        if name in host:
            try:
                found[name] = host[name]
            except AnsibleError:
                continue
    return found


def one_line(*texts: object, limit: int = _REASON) -> str:
    """Return the first text that is not empty as one line of bounded length."""
    lines = (" ".join(str(each or "").split()) for each in texts)
    return next(filter(None, lines), "no result")[:limit]
