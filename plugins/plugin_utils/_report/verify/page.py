# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification as text, HTML, JSON and JUnit XML."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

from ..columns import plain, width
from ..html import template
from ..tables import to_json
from ..translations import N_, Translations
from .fault import ERROR, KINDS, Fault
from .verdict import Verdict

FORMAT = "campus.mailgate verification"
VERSION = 1
_LEVELS = {ERROR: N_("Error"), "warning": N_("Warning")}
# XML 1.0 has no form for these characters.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Report:
    """A verdict with the name and language of the campus, and the time of the verification in seconds since 1970."""

    campus: str
    language: str
    verdict: Verdict
    now: float

    @property
    def date(self) -> str:
        """Return the time in UTC."""
        return f"{datetime.datetime.fromtimestamp(self.now, datetime.UTC):%Y-%m-%d %H:%M UTC}"


def as_text(report: Report, catalog: Translations) -> str:
    """Return the faults, each with its consequence and its fix, the most important first."""
    gettext = catalog.gettext
    title = plain(_title(report, catalog))
    lines = [title, "=" * width(title), "", *map(plain, _summary(report, catalog)), ""]
    for number, fault in enumerate(report.verdict.faults, 1):
        lines += [
            plain(f"{number}. {gettext(_LEVELS[fault.level])}: {fault.host}: {fault.what(catalog)}."),
            plain(f"   {fault.why(catalog)}"),
            plain(f"   {gettext('To fix it:')} {fault.fix(catalog)}."),
            plain(f"   [{fault.id}]" + (f" {_seen(fault, catalog)}" if fault.seen else "")),
        ]
    if arrived := _arrived(report, catalog):
        lines += [*_gap(lines), gettext("Test messages:"), *(f"  {line}" for line in arrived)]
    if report.verdict.acknowledged:
        lines += [*_gap(lines), gettext("Acknowledged:")]
        lines += [
            plain(f"  {fault.host}: {fault.what(catalog)} ({entry.reason}; {entry.until.isoformat()})")
            for fault, entry in report.verdict.acknowledged
        ]
    return "\n".join([*lines, ""])


def as_html(report: Report, catalog: Translations) -> str:
    """Return the verification as one page."""
    return template("verify.html.j2").render(
        language=report.language,
        title=plain(_title(report, catalog)),
        fingerprint=report.date,
        gettext=catalog.gettext,
        summary=[plain(line) for line in _summary(report, catalog)],
        faults=[_cells(fault, catalog) for fault in report.verdict.faults],
        arrived=_arrived(report, catalog),
        acknowledged=[
            (plain(fault.host), plain(fault.what(catalog)), plain(entry.reason), entry.until.isoformat())
            for fault, entry in report.verdict.acknowledged
        ],
    )


def as_json(report: Report, catalog: Translations) -> str:
    """Return the verification for programs; names of kinds and levels are in English."""
    verdict = report.verdict
    head = {
        "format": FORMAT,
        "version": VERSION,
        "campus": report.campus,
        "time": report.date,
        "hosts": verdict.hosts,
        "vantage_points": verdict.probes,
        "checks": verdict.checks,
        "messages": [
            {"address": each.address, "server": each.server, **each.sent, "log": each.logged}
            for each in verdict.messages
        ],
        "faults": [record(fault, catalog) for fault in verdict.faults],
        "acknowledged": [
            record(fault, catalog) | {"reason": entry.reason, "until": entry.until.isoformat()}
            for fault, entry in verdict.acknowledged
        ],
    }
    return to_json(head) + "\n"


def record(fault: Fault, catalog: Translations) -> dict[str, object]:
    """Return a fault as plain data."""
    return {
        "id": fault.id,
        "kind": fault.kind,
        "level": fault.level,
        "host": fault.host,
        "what": fault.what(catalog),
        "why": fault.why(catalog),
        "fix": fault.fix(catalog),
        "seen_from": list(fault.seen),
    }


def as_junit(report: Report, catalog: Translations) -> str:
    """Return JUnit XML: a test case for each kind of fault, which fails with the faults of that kind."""
    verdict = report.verdict
    failing = {fault.kind for fault in verdict.faults}
    suite = Xml.Element(
        "testsuite",
        name=_xml(_title(report, catalog)),
        tests=str(len(KINDS)),
        failures=str(len(failing)),
        errors="0",
        skipped=str(len({fault.kind for fault, _entry in verdict.acknowledged} - failing)),
    )
    for kind in KINDS:
        case = Xml.SubElement(suite, "testcase", classname="campus.mailgate.verify", name=kind)
        faults = [fault for fault in verdict.faults if fault.kind == kind]
        if faults:
            first = f"{faults[0].host}: {faults[0].what(catalog)}"
            failure = Xml.SubElement(case, "failure", type=faults[0].level, message=_xml(first))
            failure.text = _xml("\n".join(_whole(fault, catalog) for fault in faults))
        elif accepted := [pair for pair in verdict.acknowledged if pair[0].kind == kind]:
            texts = [f"{fault.id}: {entry.reason}, {entry.until.isoformat()}" for fault, entry in accepted]
            Xml.SubElement(case, "skipped", message=_xml("; ".join(texts)))
    Xml.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(suite, encoding="unicode") + "\n"


def _title(report: Report, catalog: Translations) -> str:
    name = catalog.gettext("Verification of the mail system")
    return f"{name}: {report.campus}" if report.campus else name


def _summary(report: Report, catalog: Translations) -> Sequence[str]:
    gettext, verdict = catalog.gettext, report.verdict
    counts = gettext("{hosts} hosts read, {probes} vantage points, {checks} answers compared with the plan; {date}")
    lines = [counts.format(hosts=verdict.hosts, probes=verdict.probes, checks=verdict.checks, date=report.date)]
    if not verdict.faults:
        return [*lines, gettext("No faults.")]
    text = gettext("Errors: {errors}, warnings: {warnings}; the most important first:")
    return [*lines, text.format(errors=verdict.errors, warnings=len(verdict.faults) - verdict.errors)]


def _gap(lines: Sequence[str]) -> list[str]:
    """Return an empty line, unless the last one is empty."""
    return [""] if lines[-1] else []


def _arrived(report: Report, catalog: Translations) -> list[str]:
    """Return the ways of the test messages that arrived."""
    return [plain(line) for each in report.verdict.messages if (line := each.line(catalog))]


def _seen(fault: Fault, catalog: Translations) -> str:
    return catalog.gettext("seen from {names}").format(names=", ".join(fault.seen))


def _whole(fault: Fault, catalog: Translations) -> str:
    return f"{fault.host}: {fault.what(catalog)}. {fault.why(catalog)} {fault.fix(catalog)}. [{fault.id}]"


def _cells(fault: Fault, catalog: Translations) -> dict[str, str]:
    """Return the cells of a row of the page."""
    cells = {
        "level": catalog.gettext(_LEVELS[fault.level]),
        "host": fault.host,
        "what": fault.what(catalog),
        "why": fault.why(catalog),
        "fix": fault.fix(catalog),
        "id": fault.id,
    }
    return {name: plain(text) for name, text in cells.items()} | {"class": fault.level}


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
