# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed from one plan to the next, row by row of each table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .plan import TABLES, MxRecords, Plan, Row, Static
from .tables import HEADS, TITLES, cell, columns, record, to_json
from .text import plain, table, width

Say = Callable[[str], str]

FORMAT = "campus.mailgate difference"
VERSION = 1
_SETTINGS = ("name", "networks", "method", "delivery")
_NAMED = 3  # names that a line of the print-out gives before it only counts; JSON has them all
# Fields that name a row, or follow from its name.
_KEYS = {
    "gateways": ("host",),
    "routes": ("domain",),
    "mx": ("zone", "view", "owner"),
    "static": ("server", "domain", "faculty"),
    "permits": ("host", "address"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """A row that came (``before`` is None), went (``after`` is None) or became another.

    ``row`` is the row as it is now, or, when it went, as it was.
    """

    before: Row | None
    after: Row | None
    row: Row

    @property
    def kind(self) -> str:
        """Return ``added``, ``removed`` or ``changed``."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


@dataclass(frozen=True)
class Difference:
    """All changes by table. ``since`` and ``now`` are the fingerprints of the two plans.

    ``settings`` are the campus's settings that changed: name, before, after. ``whole`` are the servers whose STATIC
    table came or went as a whole.
    """

    since: str
    now: str
    tables: dict[str, tuple[Change, ...]]
    settings: tuple[tuple[str, str, str], ...] = ()
    whole: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.settings) or any(self.tables.values())

    def for_faculty(self, faculty: str) -> Difference:
        """Return the changes of one faculty's rows, and those of the gateways and settings, which concern all."""

        def concerns(change: Change) -> bool:
            rows = (row for row in (change.before, change.after) if row)
            return any(getattr(row, "faculty", faculty) == faculty for row in rows)

        tables = {name: tuple(filter(concerns, changes)) for name, changes in self.tables.items()}
        return Difference(self.since, self.now, tables, self.settings, self.whole)


@dataclass(frozen=True, slots=True)
class Section:
    """The changes of one table for people: a title, and text in columns."""

    title: str
    head: list[str]
    rows: list[list[str]]


def compare(old: Plan, new: Plan) -> Difference:
    """Return what changed from the old plan to the new one. The order of rows doesn't count."""
    servers = [{row.server for row in plan.static} for plan in (old, new)]
    settings = ((name, _setting(old, name), _setting(new, name)) for name in _SETTINGS)
    return Difference(
        since=old.fingerprint,
        now=new.fingerprint,
        tables={name: tuple(_changes(old.rows(name), new.rows(name))) for name in TABLES},
        settings=tuple(each for each in settings if each[1] != each[2]),
        whole=frozenset(servers[0] ^ servers[1]),
    )


def _setting(plan: Plan, name: str) -> str:
    value = plan.campus.get(name, "")
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _changes(old: Sequence[Row], new: Sequence[Row]) -> Iterable[Change]:
    before = {row.key: row for row in old}
    after = {row.key: row for row in new}
    for key, row in (before | after).items():
        if before.get(key) != after.get(key):
            yield Change(before.get(key), after.get(key), row)


def as_json(difference: Difference) -> str:
    """Return all changes for programs."""

    def told(changes: Iterable[Change]) -> dict[str, list[object]]:
        lists: dict[str, list[object]] = {"added": [], "removed": [], "changed": []}
        for change in changes:
            if change.before and change.after:
                lists["changed"].append({"before": record(change.before), "after": record(change.after)})
            else:
                lists[change.kind].append(record(change.row))
        return lists

    data = {
        "format": FORMAT,
        "version": VERSION,
        "since": difference.since,
        "now": difference.now,
        "settings": [dict(zip(("name", "before", "after"), each, strict=True)) for each in difference.settings],
        **{name: told(changes) for name, changes in difference.tables.items()},
    }
    return to_json(data) + "\n"


def as_text(difference: Difference, say: Say) -> str:
    """Return the changes as lines in columns."""
    title = heading(difference, say)
    lines = [title, "=" * width(title)]
    for section in sections(difference, say):
        lines += ["", section.title, *table(section.head, section.rows)]
    if not difference:
        lines.append(f"  {say('Nothing changed.')}")
    return "\n".join([*lines, ""])


def heading(difference: Difference, say: Say) -> str:
    """Return the title of the changes, with the earlier plan's fingerprint."""
    return f"{say('Changes since plan')} {difference.since}"


def sections(difference: Difference, say: Say) -> list[Section]:
    """Return the changes for people, a section for each table that has some."""
    change, before, after = say("Change"), say("Before"), say("After")
    found = []
    if difference.settings:
        rows = [[say(name), say(old), say(new)] for name, old, new in difference.settings]
        found.append(Section(say("Settings"), [say("Setting"), before, after], rows))
    for name, changes in difference.tables.items():
        if not changes:
            continue
        if name == "static":
            rows = _static(changes, difference.whole, say)
            head = [change, say("Domain"), before, after, say("Servers")]
        else:
            rows = [[say(each.kind), _what(each.row), *_values(name, each, say)] for each in changes]
            head = [change, say("What"), before, after]
        found.append(Section(plain(f"{say(TITLES[name])} ({len(changes)})"), head, rows))
    return found


def _what(row: Row) -> str:
    if isinstance(row, MxRecords):
        return f"{row.owner} ({', '.join(each for each in (row.zone, row.view) if each)})"
    return " ".join(row.key)


def _values(name: str, change: Change, say: Say) -> list[str]:
    """Return the fields before and after; of a changed row only those that differ."""
    rows = [row for row in (change.before, change.after) if row]
    fields = [column for column in columns(name, rows) if column not in _KEYS[name]]
    if change.before and change.after:
        fields = [each for each in fields if getattr(change.before, each) != getattr(change.after, each)]
    return [_fields(name, row, fields, say) if row else "" for row in (change.before, change.after)]


def _fields(name: str, row: Row, fields: Iterable[str], say: Say) -> str:
    texts = ((say(HEADS[name][field]), cell(row, field, say)) for field in fields)
    return "; ".join(f"{head}: {text or '-'}" for head, text in texts)


def _static(changes: Iterable[Change], whole: frozenset[str], say: Say) -> list[list[str]]:
    """Return STATIC changes, those that are alike in one row: a domain's new address changes on every server."""
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    tables: dict[tuple[str, str], int] = {}
    for change in changes:
        row = change.row
        if not isinstance(row, Static):
            continue
        if row.server in whole:
            tables[change.kind, row.server] = tables.get((change.kind, row.server), 0) + 1
        else:
            before, after = _values("static", change, say)
            alike.setdefault((change.kind, row.domain, before, after), []).append(row.server)
    joined: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for (kind, domain, before, after), servers in _by_domain(alike, say).items():
        joined.setdefault((kind, before, after, tuple(servers)), []).append(domain)
    rows = [
        [say(kind), say("whole table ({lines} lines)").format(lines=lines), "", "", server]
        for (kind, server), lines in tables.items()
    ]
    for (kind, before, after, names), domains in joined.items():
        rows.append([say(kind), _some(domains, say), before, after, _some(names, say)])
    return rows


def _by_domain(
    alike: dict[tuple[str, str, str, str], list[str]], say: Say
) -> dict[tuple[str, str, str, str], list[str]]:
    """Join the rows of a domain that came or went, when its next hops are many: the STATIC tables themselves tell."""
    rows: dict[tuple[str, str], int] = {}
    for kind, domain, _before, _after in alike:
        rows[kind, domain] = rows.get((kind, domain), 0) + 1
    short: dict[tuple[str, str, str, str], list[str]] = {}
    for (kind, domain, before, after), servers in alike.items():
        many = kind != "changed" and rows[kind, domain] > _NAMED
        old, new = (say("by server") if many and text else text for text in (before, after))
        short.setdefault((kind, domain, old, new), []).extend(servers)
    return short


def _some(names: Sequence[str], say: Say) -> str:
    if len(names) <= _NAMED + 1:
        return ", ".join(names)
    return say("{names} and {more} more").format(names=", ".join(names[:_NAMED]), more=len(names) - _NAMED)
