# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rehearsal as one self-contained HTML page, in the style of the plan's."""

from __future__ import annotations

from pathlib import Path

import jinja2

from lab.rehearsal import timeline
from lab.rehearsal.report import HEAD, Report, cells, duration
from lab.tools import REPOSITORY

STYLE = REPOSITORY / "plugins" / "plugin_utils" / "_report"


def page(report: Report) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        autoescape=True,
        keep_trailing_newline=True,
        loader=jinja2.FileSystemLoader([Path(__file__).parent, STYLE]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        report=report, head=HEAD, cells=cells, duration=duration, width=timeline.WIDTH, fingerprint="",
        drawing=timeline.draw(report.phases, report.messages, report.remarks),
    )  # fmt: skip
