# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_verify_print: judge, write and show a verification; everything else is in plugin_utils."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._discover.write import current, write_all
from ..plugin_utils._report.translations import translations
from ..plugin_utils._report.verify import outbound
from ..plugin_utils._report.verify.limits import Limits
from ..plugin_utils._report.verify.page import Report, as_html, as_json, as_junit, as_text, record
from ..plugin_utils._report.verify.textfile import as_textfile, first_expiry
from ..plugin_utils._report.verify.verdict import Acknowledged, BaselineError, judge, read_baseline

_LIMITS = {field.name: {"type": "int", "default": field.default} for field in fields(Limits)}
ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "answers": {"type": "list", "elements": "dict", "required": True},
    "probes": {"type": "list", "elements": "dict", "default": []},
    "sent": {"type": "list", "elements": "dict", "default": []},
    "found": {"type": "list", "elements": "dict", "default": []},
    "outbound": {"type": "list", "elements": "str", "default": []},
    "dest": {"type": "path"},
    "textfile": {"type": "path"},
    "began": {"type": "float"},
    "baseline": {"type": "path"},
    "limits": {"type": "dict", "options": _LIMITS, "apply_defaults": True},
    "show": {"type": "bool", "default": False},
    "fail": {"type": "bool", "default": True},
}

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of mail_verify_print. It writes files that differ, and fails if there are faults."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the faults, the text and the files that changed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS)
        now = time.time()
        acknowledged = _baseline(args["baseline"])
        verdict = judge(
            args["plan"],
            args["answers"],
            args["probes"],
            limits=Limits(**args["limits"]),
            now=now,
            baseline=acknowledged,
            sent=args["sent"],
            found=args["found"],
            servers=args["outbound"],
            routers=_routers(args["plan"], task_vars or {}),
        )
        campus = args["plan"].get("campus", {})
        report = Report(str(campus.get("name", "")), str(campus.get("language", "en")), verdict, now)
        catalog = translations(report.language)
        changed: list[str] = []
        if args["dest"]:
            files = {
                "verify.html": as_html(report, catalog),
                "verify.txt": as_text(report, catalog),
                "verify.json": as_json(report, catalog),
                "verify.xml": as_junit(report, catalog),
            }
            changed = self._write(Path(args["dest"]), files)
        if args["textfile"]:
            path = Path(args["textfile"])
            seconds = None if args["began"] is None else max(0.0, now - args["began"])
            metrics = as_textfile(verdict, now, seconds=seconds, expiry=first_expiry(args["probes"]))
            changed += self._write(path.parent, {path.name: metrics})
        text = as_text(report, catalog)
        if args["show"]:
            display.display(text)
        result |= {
            "changed": bool(changed),
            "paths": changed,
            "text": text,
            "faults": [record(fault, catalog) for fault in verdict.faults],
            "acknowledged": [fault.id for fault, _entry in verdict.acknowledged],
        }
        if verdict.faults and args["fail"]:
            count = len(verdict.faults)
            result |= {"failed": True, "msg": f"{count} {'fault' if count == 1 else 'faults'}; the list has the fixes"}
        return result

    def _write(self, directory: Path, files: dict[str, str]) -> list[str]:
        """Write those files that differ, all or none; return their paths."""
        try:
            before = current(directory, files)
            differing = {name: text for name, text in files.items() if before[name] != text}
            if differing and not self._task.check_mode:
                write_all(directory, differing)
        except OSError as error:
            raise AnsibleActionFail(f"{error.filename or directory}: {error.strerror}") from None
        return [str(directory / name) for name in differing]


def _routers(plan: dict[str, Any], variables: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables of the border routers that set their outbound rule, without routers whose templates fail."""
    found: dict[str, dict[str, Any]] = {}
    for router in plan.get("border", {}):
        with suppress(AnsibleError):
            own = variables.get("hostvars", {})[router]
            found[router] = {name: own[name] for name in outbound.VARIABLES if name in own}
    return found


def _baseline(path: str | None) -> list[Acknowledged]:
    """Return the entries of a baseline file; fail with all its problems."""
    if not path:
        return []
    try:
        return read_baseline(yaml.safe_load(Path(path).read_text(encoding="utf-8")), path)
    except OSError as error:
        raise AnsibleActionFail(f"baseline {path}: {error.strerror}. Correct mailgate_verify_baseline") from None
    except UnicodeDecodeError:
        raise AnsibleActionFail(f"baseline {path}: not UTF-8") from None
    except yaml.YAMLError as error:
        raise AnsibleActionFail(f"baseline {path}: not valid YAML: {' '.join(str(error).split())}") from None
    except BaselineError as error:
        raise AnsibleActionFail(f"baseline {error}") from None
