# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that merge what gateways print: traces of a mail, and reports of a period."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils._inventory.names import Patterns
from ..plugin_utils._report import period, trace


def mail_trace_questions(outputs: Mapping[str, str], plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what to ask inner servers about the mail, by host: arguments of the module mail_log."""
    return trace.questions(_parsed(outputs, list), plan)


def mail_trace(
    outputs: Mapping[str, str],
    logs: Mapping[str, Sequence[Mapping[str, Any]]],
    missing: Sequence[str] = (),
    language: str = "en",
) -> list[str]:
    """Return the lines that tell what happened to the mail."""
    return trace.merged(_parsed(outputs, list), logs, missing, language)


def mail_report(outputs: Mapping[str, str], plan: Mapping[str, Any], missing: Sequence[str] = ()) -> dict[str, Any]:
    """Return the sum of the gateways' reports."""
    faculties = Patterns((route["domain"], route["faculty"]) for route in plan["routes"])
    return period.added(_parsed(outputs, dict), missing, lambda domain: str(faculties.find(domain) or ""))


def mail_report_text(report: Mapping[str, Any], form: str = "table", language: str = "en") -> str:
    """Return a report of mail_report as `table`, `csv` or `json`."""
    if form == "json":
        return json.dumps(report, indent=2) + "\n"
    forms = {"table": period.as_text, "csv": period.as_csv}
    if form not in forms:
        raise AnsibleFilterError(f"mail_report_text: unknown form '{form}'; known ones are csv, json, table")
    return forms[form](report, language)


def _parsed(outputs: Mapping[str, str], kind: type) -> dict[str, Any]:
    found = {}
    for host, output in outputs.items():
        try:
            found[host] = json.loads(output)
        except ValueError as error:
            raise AnsibleFilterError(f"{host}: its mailgate printed no JSON: {error}") from None
        if not isinstance(found[host], kind):
            raise AnsibleFilterError(f"{host}: its mailgate printed JSON of another kind; is it of an earlier version?")
    return found


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "mail_report": mail_report,
            "mail_report_text": mail_report_text,
            "mail_trace": mail_trace,
            "mail_trace_questions": mail_trace_questions,
        }
