# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as one HTML page that needs nothing else: no script, no font, no image, no style sheet from elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from . import difference as differences
from . import picture as drawing
from .difference import Difference
from .plan import Plan, Row
from .proof import methods_table, proof_table
from .static import Block
from .tables import TITLES, block_cells, block_head, cell, cells, head
from .text import plain

Say = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the page. ``title`` is its heading; ``note`` stands above it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    """What begins on a new sheet of paper."""

    anchor: str
    title: str
    tables: Sequence[_Table]


def page(plan: Plan, shared: Sequence[Block], say: Say, difference: Difference | None, faculty: str | None) -> str:
    """Return the page of the whole plan, or of one faculty.

    Args:
        plan: always the whole plan.
        shared: its STATIC routes, as `blocks` groups them.
        say: the words of a language.
        difference: the changes since an earlier plan, of the whole or of that faculty.
        faculty: which one, or None for all.
    """
    campus = plan.campus
    language = str(campus.get("language", "en"))
    names = [faculty] if faculty is not None else [*plan.faculties, *([""] if _homeless(plan) else [])]
    sections = [
        _Section(
            f"faculty-{number}", name or say("no faculty"), list(_tables(plan.for_faculty(name), shared, name, say))
        )
        for number, name in enumerate(names, 1)
    ]
    settings = (
        (say("Method"), say(str(campus.get("method", "")))),
        (say("Delivery"), say(str(campus.get("delivery", "")))),
        (say("Networks"), ", ".join(map(str, campus.get("networks", ())))),
        (say("Plan"), plan.fingerprint),
    )
    title = say("Mail plan") + (f": {campus['name']}" if campus.get("name") else "")
    return _template().render(
        language=language,
        title=plain(title if faculty is None else f"{title}, {faculty}"),
        fingerprint=plan.fingerprint,
        settings=settings,
        words={word: say(word) for word in ("Contents", "Overview", "Changes", "Warnings", "none", "Nothing changed.")},
        picture=drawing.draw(plan, say, faculty),
        picture_width=drawing.WIDTH,
        heading=differences.heading(difference, say) if difference is not None else "",
        changes=[_Table(each.title, each.head, each.rows) for each in differences.sections(difference, say)]
        if difference is not None
        else [],
        warnings=plan.warnings if faculty is None else (),
        overview=list(_overview(plan, shared, say)) if faculty is None else [_whole("gateways", plan, say)],
        sections=sections,
    )


def _homeless(plan: Plan) -> bool:
    return any(not server.faculty for server in plan.servers)


def _overview(plan: Plan, shared: Sequence[Block], say: Say) -> list[_Table]:
    tables = [_whole("gateways", plan, say), _permits(plan, say)]
    gateways = {gateway.host for gateway in plan.gateways}
    queues = [block for block in shared if not block.faculty and gateways.issuperset(block.servers)]
    tables += [_block(block, say) for block in queues]
    names, rows = proof_table(plan.proof.get("scenarios") or [], say)
    if rows:
        said = say("passed" if plan.proof.get("ok") else "with findings")
        tables.append(_Table(f"{say('Proof')}: {said}", names, rows))
    names, rows = methods_table(plan.methods, say)
    if rows:
        tables.append(_Table(say("MX methods side by side"), names, rows))
    return tables


def _tables(part: Plan, shared: Sequence[Block], faculty: str, say: Say) -> list[_Table]:
    gateways = {gateway.host for gateway in part.gateways}
    own = [block for block in shared if block.faculty == faculty and not gateways.issuperset(block.servers)]
    return [
        _whole("routes", part, say, "faculty"),
        *_mx(part, say),
        *(_block(block, say) for block in own),
        _permits(part, say, "faculty"),
    ]


def _mx(part: Plan, say: Say) -> list[_Table]:
    """Return a table for each zone and view, so that both names fit on a sheet's line."""
    zones: dict[tuple[str, str, tuple[str, ...]], list[Row]] = {}
    for row in part.mx:
        zones.setdefault((row.zone, row.view, row.servers), []).append(row)
    tables = []
    for (zone, view, servers), rows in zones.items():
        where = say("zone {zone}, on {servers}").format(zone=zone, servers=", ".join(servers))
        where += f", {say('View')} {say(view)}" if view else ""
        shown = [[cell(row, column, say) for column in ("owner", "lines")] for row in rows]
        tables.append(_Table(f"{say(TITLES['mx'])}: {where} ({len(rows)})", head("mx", ("owner", "lines"), say), shown))
    return tables or [_whole("mx", part, say)]


def _permits(plan: Plan, say: Say, *without: str) -> _Table:
    """Return the open servers, with their border routers only when they aren't open on all of them."""
    everywhere = all(set(permit.borders) == set(plan.borders) for permit in plan.permits)
    return _whole("permits", plan, say, *without, *(["borders"] if everywhere else []))


def _whole(name: str, plan: Plan, say: Say, *without: str) -> _Table:
    rows = plan.rows(name)
    return _Table(f"{say(TITLES[name])} ({len(rows)})", *cells(name, rows, say, *without))


def _block(block: Block, say: Say) -> _Table:
    note = say("own domains stay here") if block.keeps else ""
    title = f"{say(TITLES['static'])}: {', '.join(block.servers)}"
    return _Table(title, block_head(say), block_cells(block, say), note)


@functools.cache
def _template() -> jinja2.Template:
    text = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(text)
