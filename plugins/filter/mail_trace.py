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

from ...roles.gateway.files.mailgate.period_report.page import page
from ...roles.gateway.files.mailgate.period_report.sums import added, of_faculty
from ...roles.gateway.files.mailgate.period_report.tables import as_csv, as_text
from ...roles.gateway.files.mailgate.translation import translator
from ..plugin_utils._inventory.names import Patterns
from ..plugin_utils._report import trace
from ..plugin_utils._report.files import FACULTIES, folder_names


def mail_trace_questions(outputs: Mapping[str, str], plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what to ask inner servers about the mail, by host: arguments of the module mail_log."""
    return trace.questions(_parsed(outputs, list), plan)


def mail_trace(
    outputs: Mapping[str, str],
    logs: Mapping[str, Sequence[Mapping[str, Any]]],
    missing: Sequence[str] = (),
    language: str = "en",
    remarks: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Return the lines that tell what happened to the mail."""
    return trace.merged(_parsed(outputs, list), logs, missing, language, remarks or {})


def mail_report(outputs: Mapping[str, str], plan: Mapping[str, Any], missing: Sequence[str] = ()) -> dict[str, Any]:
    """Return the sum of the gateways' reports."""
    return added(_parsed(outputs, dict), missing, faculty_of=_faculty_of(plan))


def mail_report_text(report: Mapping[str, Any], form: str = "table", language: str = "en") -> str:
    """Return a report of mail_report as `table`, `csv` or `json`."""
    if form == "json":
        return json.dumps(report, indent=2) + "\n"
    forms = {"table": as_text, "csv": as_csv}
    if form not in forms:
        raise AnsibleFilterError(f"mail_report_text: unknown form '{form}'; known ones are csv, json, table")
    return forms[form](report, translator(language))


def mail_report_pages(report: Mapping[str, Any], plan: Mapping[str, Any], language: str = "en") -> dict[str, str]:
    """Return the pages of a report of mail_report by their path: of the campus, and of each faculty."""
    translate, faculty_of, campus = translator(language), _faculty_of(plan), str(plan["campus"]["name"])
    pages = {"report.html": page(report, translate, language, campus)}
    faculties = sorted({str(route["faculty"]) for route in plan["routes"] if route["faculty"]})
    for faculty, name in folder_names(faculties).items():
        part = of_faculty(report, faculty, faculty_of)
        pages[f"{FACULTIES}/{name}.html"] = page(part, translate, language, campus, faculty)
    return pages


def _faculty_of(plan: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what finds the faculty of a domain, empty for none."""
    faculties = Patterns((route["domain"], route["faculty"]) for route in plan["routes"])
    return lambda domain: str(faculties.find(domain) or "")


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
            "mail_report_pages": mail_report_pages,
            "mail_report_text": mail_report_text,
            "mail_trace": mail_trace,
            "mail_trace_questions": mail_trace_questions,
        }
