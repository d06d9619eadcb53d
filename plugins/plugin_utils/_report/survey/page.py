# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The survey as a page, as text and as JSON: three lists of hosts, and what concerns the whole campus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..columns import plain, width
from ..html import template
from ..tables import to_json
from ..translations import N_, Translations
from .finding import LISTS, READY, Finding, Verdict
from .judge import judge, known_of

FORMAT = "campus.mailgate survey"
VERSION = 1
_FUNCTIONS = {
    "gateways": N_("gateway"),
    "borders": N_("border router"),
    "dns": N_("DNS server"),
    "servers": N_("mail server"),
}


@dataclass(frozen=True)
class Survey:
    """The verdicts on all hosts, in the order of the inventory, and what concerns the whole campus."""

    campus: str
    language: str
    verdicts: Sequence[Verdict]
    planned: bool
    problems: Sequence[str]
    warnings: Sequence[str]

    def of(self, name: str) -> list[Verdict]:
        """Return the hosts of one list."""
        return [verdict for verdict in self.verdicts if verdict.list_name == name]

    @property
    def asked(self) -> int:
        """Return how many hosts answered."""
        return sum(bool(verdict.answer.get("facts")) for verdict in self.verdicts)


def survey(plan: Mapping[str, Any], answers: Iterable[Mapping[str, Any]]) -> Survey:
    """Judge all answers.

    Args:
        plan: The result of mail_plan. Without a plan it has `problems` instead.
        answers: The results of mail_survey.
    """
    known = known_of(answers := list(answers), plan)
    campus = plan.get("campus", {})
    problems = [str(each) for each in plan.get("problems", ())]
    if not known.planned and not problems:
        problems = [str(plan.get("msg") or "-")]
    return Survey(
        campus=str(campus.get("name", "")),
        language=str(campus.get("language", "en")),
        verdicts=[judge(answer, known) for answer in answers],
        planned=known.planned,
        problems=problems,
        warnings=[str(each) for each in plan.get("warnings", ())],
    )


def as_json(found: Survey, catalog: Translations) -> str:
    """Return the survey for programs, with the facts of every host; names of lists and levels are in English."""
    hosts = [
        {
            "host": verdict.host,
            "list": verdict.list_name,
            "faculty": verdict.faculty,
            "functions": list(verdict.functions),
            "findings": [
                {"level": each.level, "text": each.sentence(catalog), "fix": each.advice(catalog)}
                for each in verdict.findings
            ],
            **{
                name: verdict.answer.get(name) for name in ("said", "domains", "banners", "unreachable_reason", "facts")
            },
        }
        for verdict in found.verdicts
    ]
    head = {
        "format": FORMAT,
        "version": VERSION,
        "campus": found.campus,
        "planned": found.planned,
        "problems": list(found.problems),
        "warnings": list(found.warnings),
        "lists": {name: [verdict.host for verdict in found.of(name)] for name in LISTS},
    }
    return to_json(head | {"hosts": hosts}) + "\n"


def as_text(found: Survey, catalog: Translations, *, facts: bool = True) -> str:
    """Return the survey as text; without `facts` only what has to be decided."""
    lines = [_title(found, catalog), "=" * width(_title(found, catalog)), ""]
    lines += _campus(found, catalog)
    for name in LISTS:
        verdicts = found.of(name)
        heading = plain(f"{catalog.gettext(LISTS[name])} ({len(verdicts)})")
        lines += [heading, "-" * width(heading)]
        if name == READY and not facts:
            lines += [f"  {plain(verdict.host)}: {_summary(verdict, catalog)}" for verdict in verdicts]
        for verdict in verdicts if name != READY or facts else ():
            lines.append(f"  {plain(_head(verdict, catalog))}")
            lines += [f"    ! {plain(_whole(each, catalog))}" for each in verdict.issues]
            lines += [f"    - {plain(_whole(each, catalog))}" for each in (verdict.facts if facts else ())]
        lines += [*([] if verdicts else [f"  {catalog.gettext('none')}"]), ""]
    return "\n".join(lines)


def as_html(found: Survey, catalog: Translations) -> str:
    """Return the survey as one page."""
    sections = [
        {
            "name": name,
            "title": f"{catalog.gettext(LISTS[name])} ({len(found.of(name))})",
            "hosts": [
                {
                    "name": plain(verdict.host),
                    "about": plain(_about(verdict, catalog)),
                    "issues": [(plain(each.sentence(catalog)), plain(each.advice(catalog))) for each in verdict.issues],
                    "facts": [plain(_whole(each, catalog)) for each in verdict.facts],
                }
                for verdict in found.of(name)
            ],
        }
        for name in LISTS
    ]
    return template("survey.html.j2").render(
        language=found.language,
        title=plain(_title(found, catalog)),
        gettext=catalog.gettext,
        fingerprint="",
        planned=found.planned,
        problems=[plain(each) for each in found.problems],
        warnings=[plain(each) for each in found.warnings],
        sections=sections,
    )


def _title(found: Survey, catalog: Translations) -> str:
    return catalog.gettext("Survey") + (f": {found.campus}" if found.campus else "")


def _campus(found: Survey, catalog: Translations) -> list[str]:
    lines = []
    if not found.planned:
        lines.append(catalog.gettext("There is no plan yet, so nothing was compared with one. Its problems:"))
        lines += [f"  - {plain(each)}" for each in found.problems]
    lines += [f"  {catalog.gettext('Warning')}: {plain(each)}" for each in found.warnings]
    return [*lines, ""] if lines else []


def _head(verdict: Verdict, catalog: Translations) -> str:
    about = _about(verdict, catalog)
    return f"{verdict.host} ({about})" if about else verdict.host


def _about(verdict: Verdict, catalog: Translations) -> str:
    names = [catalog.gettext(_FUNCTIONS.get(each, each)) for each in verdict.functions]
    return ", ".join([*names, *([verdict.faculty] if verdict.faculty else [])])


def _summary(verdict: Verdict, catalog: Translations) -> str:
    """Return what the plan changes on a host that is ready, in one line."""
    changes = [each for each in verdict.facts if each.level == "change"] or verdict.facts[:1]
    return "; ".join(plain(each.sentence(catalog)) for each in changes)


def _whole(finding: Finding, catalog: Translations) -> str:
    """Return the sentence and what to do."""
    advice = finding.advice(catalog)
    sentence = finding.sentence(catalog).rstrip(".")
    return f"{sentence}. {advice}" if advice else sentence
