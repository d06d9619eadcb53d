# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as one self-contained HTML page, without scripts, fonts, images or external style sheets."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import jinja2

from . import difference as differences
from . import picture as drawing
from .columns import plain
from .difference import Difference
from .plan import Plan
from .proof import methods_table, proof_table, proof_title
from .rows import Row
from .static import Block
from .tables import TITLES, block_cells, block_head, cell, cells, head
from .translations import Translations, choice, view_name


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the page, with its heading and a note above it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    """A section that starts on a new page in print."""

    anchor: str
    title: str
    tables: Sequence[_Table]


def page(
    plan: Plan,
    shared: Sequence[Block],
    catalog: Translations,
    difference: Difference | None,
    faculty: str | None,
) -> str:
    """Return the page of the whole plan, or of one faculty.

    Args:
        plan: the whole plan.
        shared: its STATIC routes, as grouped by `blocks`.
        catalog: the translations.
        difference: the changes since an earlier plan, of the whole or of that faculty.
        faculty: the faculty, or None for all.
    """
    gettext = catalog.gettext
    campus = plan.campus
    language = str(campus.get("language", "en"))
    names = [faculty] if faculty is not None else [*plan.faculties, *([""] if _homeless(plan) else [])]
    sections = [
        _Section(
            f"faculty-{number}",
            name or gettext("no faculty"),
            list(_tables(plan.for_faculty(name), shared, name, catalog)),
        )
        for number, name in enumerate(names, 1)
    ]
    settings = (
        (gettext("Method"), choice(str(campus.get("method", "")), catalog)),
        (gettext("Delivery"), choice(str(campus.get("delivery", "")), catalog)),
        (gettext("Networks"), ", ".join(map(str, campus.get("networks", ())))),
        (gettext("Plan"), plan.fingerprint),
    )
    title = gettext("Mail plan") + (f": {campus['name']}" if campus.get("name") else "")
    return template("page.html.j2").render(
        language=language,
        title=plain(title if faculty is None else f"{title}, {faculty}"),
        fingerprint=plan.fingerprint,
        settings=settings,
        gettext=gettext,
        picture=drawing.draw(plan, catalog, faculty),
        picture_width=drawing.WIDTH,
        heading=differences.heading(difference, catalog) if difference is not None else "",
        changes=[_Table(*astuple(each)) for each in differences.sections(difference, catalog)]
        if difference is not None
        else [],
        warnings=plan.warnings if faculty is None else (),
        overview=list(_overview(plan, shared, catalog)) if faculty is None else [_whole("gateways", plan, catalog)],
        sections=sections,
    )


def _homeless(plan: Plan) -> bool:
    return any(not server.faculty for server in plan.servers)


def _overview(plan: Plan, shared: Sequence[Block], catalog: Translations) -> list[_Table]:
    tables = [_whole("gateways", plan, catalog), _permits(plan, catalog)]
    gateways = {gateway.host for gateway in plan.gateways}
    queues = [block for block in shared if not block.faculty and gateways.issuperset(block.servers)]
    tables += [_block(block, catalog) for block in queues]
    tables += [_whole(name, plan, catalog) for name in ("external", "destinations", "rules") if plan.rows(name)]
    names, rows = proof_table(plan.proof.get("scenarios") or [], catalog)
    if rows:
        tables.append(_Table(proof_title(bool(plan.proof.get("ok")), catalog), names, rows))
    names, rows = methods_table(plan.methods, catalog)
    if rows:
        tables.append(_Table(catalog.gettext("Comparison of the MX methods"), names, rows))
    return tables


def _tables(part: Plan, shared: Sequence[Block], faculty: str, catalog: Translations) -> list[_Table]:
    gateways = {gateway.host for gateway in part.gateways}
    own = [block for block in shared if block.faculty == faculty and not gateways.issuperset(block.servers)]
    return [
        _whole("routes", part, catalog, "faculty"),
        *_mx(part, catalog),
        *(_block(block, catalog) for block in own),
        _permits(part, catalog, "faculty"),
        *(_whole(name, part, catalog, "faculty") for name in ("external", "destinations") if part.rows(name)),
    ]


def _mx(part: Plan, catalog: Translations) -> list[_Table]:
    """Return a table for each zone and view, so that owner and records fit on a line of a printed page."""
    gettext = catalog.gettext
    zones: dict[tuple[str, str, tuple[str, ...]], list[Row]] = {}
    for row in part.mx:
        zones.setdefault((row.zone, row.view, row.servers), []).append(row)
    tables = []
    for (zone, view, servers), rows in zones.items():
        where = gettext("zone {zone}, on {servers}").format(zone=zone, servers=", ".join(servers))
        if view:
            where = gettext("{zone}, {view} view").format(zone=where, view=view_name(view, catalog))
        shown = [[cell(row, column, catalog) for column in ("owner", "lines")] for row in rows]
        title = gettext(TITLES["mx"]) + f": {where} ({len(rows)})"
        tables.append(_Table(title, head("mx", ("owner", "lines"), catalog), shown))
    return tables or [_whole("mx", part, catalog)]


def _permits(plan: Plan, catalog: Translations, *without: str) -> _Table:
    """Return the open servers; with border routers only if some are not open on all of them."""
    everywhere = all(set(permit.borders) == set(plan.borders) for permit in plan.permits)
    return _whole("permits", plan, catalog, *without, *(["borders"] if everywhere else []))


def _whole(name: str, plan: Plan, catalog: Translations, *without: str) -> _Table:
    rows = plan.rows(name)
    return _Table(catalog.gettext(TITLES[name]) + f" ({len(rows)})", *cells(name, rows, catalog, *without))


def _block(block: Block, catalog: Translations) -> _Table:
    gettext = catalog.gettext
    note = gettext("local domains are delivered here") if block.keeps else ""
    title = gettext(TITLES["static"]) + f": {', '.join(block.servers)}"
    return _Table(title, block_head(catalog), block_cells(block, catalog), note)


@functools.cache
def template(name: str) -> jinja2.Template:
    """Return a template of this directory."""
    environment = jinja2.Environment(
        autoescape=True,
        keep_trailing_newline=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
