# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes from one plan to the next, row by row of each table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .columns import plain, table, width
from .plan import TABLES, Plan
from .rows import MxRecords, Row, Static
from .tables import HEADS, TITLES, cell, columns, record, to_json
from .translations import N_, Translations, choice, view_name

FORMAT = "campus.mailgate difference"
VERSION = 1
_SETTINGS = {"name": N_("name"), "networks": N_("networks"), "method": N_("method"), "delivery": N_("delivery")}
_CHOICES = ("method", "delivery")
_KINDS = {"added": N_("added"), "removed": N_("removed"), "changed": N_("changed")}
# What a change of the plan alone does not remove, with another word than "removed".
_STAYS = {"mx": N_("left in DNS"), "gateways": N_("left running")}
_NOTES = {
    "mx": N_(
        "Records of a name that leaves the plan stay in the zone. While they name a gateway, site stops before any "
        "change: retire the domain first."
    ),
    "gateways": N_("A gateway that leaves the plan keeps its service until you stop it there."),
    "static": N_("A server that leaves the plan keeps its files; no run of site reaches a host outside the inventory."),
}
_NAMED = 3  # names that a line of the report has before it only counts them; JSON has them all
# Fields that are the key of a row, or follow from it.
_KEYS = {
    "gateways": ("host",),
    "routes": ("domain",),
    "mx": ("zone", "view", "owner"),
    "static": ("server", "domain", "faculty"),
    "permits": ("host", "address"),
    "external": ("domain",),
    "destinations": ("host", "faculty"),
    "rules": ("border", "destination", "action", "order"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was added (``before`` is None), removed (``after`` is None) or changed.

    ``row`` is the current row, or the previous one if it was removed.
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

    ``settings`` are the settings of the campus that changed: name, before, after. ``whole`` are the servers whose whole
    STATIC table was added or removed.
    """

    since: str
    now: str
    tables: dict[str, tuple[Change, ...]]
    settings: tuple[tuple[str, str, str], ...] = ()
    whole: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.settings) or any(self.tables.values())

    def for_faculty(self, faculty: str) -> Difference:
        """Return the changes of one faculty's rows, and those of gateways and settings, which concern every faculty."""

        def concerns(change: Change) -> bool:
            rows = (row for row in (change.before, change.after) if row)
            return any(getattr(row, "faculty", faculty) == faculty for row in rows)

        tables = {name: tuple(filter(concerns, changes)) for name, changes in self.tables.items()}
        return Difference(self.since, self.now, tables, self.settings, self.whole)


@dataclass(frozen=True, slots=True)
class Section:
    """The changes of one table for people: a title, text in columns, and what stays behind all the same."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def compare(old: Plan, new: Plan) -> Difference:
    """Return the changes from the old plan to the new one; the order of rows is ignored."""
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

    def lists_of(changes: Iterable[Change]) -> dict[str, list[object]]:
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
        **{name: lists_of(changes) for name, changes in difference.tables.items()},
    }
    return to_json(data) + "\n"


def as_text(difference: Difference, catalog: Translations) -> str:
    """Return the changes as lines in columns."""
    gettext = catalog.gettext
    title = heading(difference, catalog)
    lines = [title, "=" * width(title)]
    for section in sections(difference, catalog):
        lines += ["", section.title, *table(section.head, section.rows)]
        lines += [f"  {section.note}"] if section.note else []
    if not difference:
        lines.append("  " + gettext("Nothing changed."))
    return "\n".join([*lines, ""])


def heading(difference: Difference, catalog: Translations) -> str:
    """Return the title of the changes, with the earlier plan's fingerprint."""
    return catalog.gettext("Changes since plan {fingerprint}").format(fingerprint=difference.since)


def sections(difference: Difference, catalog: Translations) -> list[Section]:
    """Return the changes for people, a section for each table that has some."""
    gettext = catalog.gettext
    change, before, after = gettext("Change"), gettext("Before"), gettext("After")
    found = []
    if difference.settings:
        rows = [
            [gettext(_SETTINGS[name]), *(choice(value, catalog) if name in _CHOICES else value for value in values)]
            for name, *values in difference.settings
        ]
        found.append(Section(gettext("Settings"), [gettext("Setting"), before, after], rows))
    for name, changes in difference.tables.items():
        if not changes:
            continue
        if name == "static":
            rows = _static(changes, difference.whole, catalog)
            head = [change, gettext("Domain"), before, after, gettext("Servers")]
        else:
            words = {**_KINDS, "removed": _STAYS.get(name, _KINDS["removed"])}
            rows = [
                [gettext(words[each.kind]), _what(each.row, catalog), *_values(name, each, catalog)] for each in changes
            ]
            head = [change, gettext("Entry"), before, after]
        stays = name in _NOTES and any(_stays(name, each, difference.whole) for each in changes)
        note = gettext(_NOTES[name]) if stays else ""
        found.append(Section(plain(gettext(TITLES[name]) + f" ({len(changes)})"), head, rows, note))
    return found


def _stays(name: str, change: Change, whole: frozenset[str]) -> bool:
    """Return whether something stays although its row was removed; of STATIC tables, that of a server that left."""
    gone = change.kind == "removed"
    return gone and (name != "static" or (isinstance(change.row, Static) and change.row.server in whole))


def _what(row: Row, catalog: Translations) -> str:
    if isinstance(row, MxRecords):
        return f"{row.owner} ({', '.join(each for each in (row.zone, view_name(row.view, catalog)) if each)})"
    return " ".join(row.key)


def _values(name: str, change: Change, catalog: Translations) -> list[str]:
    """Return the fields before and after; of a changed row only those that differ."""
    rows = [row for row in (change.before, change.after) if row]
    fields = [column for column in columns(name, rows) if column not in _KEYS[name]]
    if change.before and change.after:
        fields = [each for each in fields if getattr(change.before, each) != getattr(change.after, each)]
    return [_fields(name, row, fields, catalog) if row else "" for row in (change.before, change.after)]


def _fields(name: str, row: Row, fields: Iterable[str], catalog: Translations) -> str:
    texts = ((catalog.gettext(HEADS[name][field]), cell(row, field, catalog)) for field in fields)
    return "; ".join(f"{head}: {text or '-'}" for head, text in texts)


def _static(changes: Iterable[Change], whole: frozenset[str], catalog: Translations) -> list[list[str]]:
    """Return STATIC changes, equal ones as one row: the new address of a domain changes on every server."""
    equal: dict[tuple[str, str, str, str], list[str]] = {}
    tables: dict[tuple[str, str], int] = {}
    for change in changes:
        row = change.row
        if not isinstance(row, Static):
            continue
        if row.server in whole:
            tables[change.kind, row.server] = tables.get((change.kind, row.server), 0) + 1
        else:
            before, after = _values("static", change, catalog)
            equal.setdefault((change.kind, row.domain, before, after), []).append(row.server)
    joined: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for (kind, domain, before, after), servers in _by_domain(equal, catalog).items():
        joined.setdefault((kind, before, after, tuple(servers)), []).append(domain)
    rows = [
        [
            catalog.gettext(_KINDS[kind] if kind == "added" else N_("left on the host")),
            catalog.ngettext("whole table ({count} line)", "whole table ({count} lines)", count).format(count=count),
            "",
            "",
            server,
        ]
        for (kind, server), count in tables.items()
    ]
    for (kind, before, after, names), domains in joined.items():
        rows.append([catalog.gettext(_KINDS[kind]), _some(domains, catalog), before, after, _some(names, catalog)])
    return rows


def _by_domain(
    equal: dict[tuple[str, str, str, str], list[str]], catalog: Translations
) -> dict[tuple[str, str, str, str], list[str]]:
    """Join the rows of a domain that was added or removed if it has many next hops; the STATIC tables have them."""
    rows: dict[tuple[str, str], int] = {}
    for kind, domain, _before, _after in equal:
        rows[kind, domain] = rows.get((kind, domain), 0) + 1
    short: dict[tuple[str, str, str, str], list[str]] = {}
    for (kind, domain, before, after), servers in equal.items():
        many = kind != "changed" and rows[kind, domain] > _NAMED
        old, new = (catalog.gettext("by server") if many and text else text for text in (before, after))
        short.setdefault((kind, domain, old, new), []).extend(servers)
    return short


def _some(names: Sequence[str], catalog: Translations) -> str:
    if len(names) <= _NAMED + 1:
        return ", ".join(names)
    more = len(names) - _NAMED
    text = catalog.ngettext("{names} and {count} more", "{names} and {count} more", more)
    return text.format(names=", ".join(names[:_NAMED]), count=more)
