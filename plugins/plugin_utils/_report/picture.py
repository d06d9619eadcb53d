# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the mail routes of the campus, as shapes with coordinates, for a template to draw.

From top to bottom: the outside, the border with its openings, gateways and open servers, the faculties in rows.
Mail from the gateways enters along the left margin and the line above each row; mail between faculties is drawn along
the line below each row and the right margin. Lengths are in units of a thousandth of the picture's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .columns import plain, width
from .plan import Plan, natural_key
from .rows import Server
from .translations import Translations

WIDTH = 1000
MX, BLOCKED, CROSS, PERMIT, STATIC = "mx", "blocked", "cross", "permit", "static"

_NAMED = 30  # servers in the whole picture; with more, each faculty shows only their number
_LIST = 12  # names in one box
_COLUMNS = 5
_LINE = 17  # from one line of text to the next
_PAD = 16
_CHARACTER = 7.1  # average advance of a narrow character
_BOLD = 0.87  # share of the characters that fit in bold
_LEFT, _RIGHT = 48, 952  # of the faculties; the main lines are outside of them
_MX_X, _DIRECT_X, _PERMIT_X = 225, 520, 800
_BORDER = 108
_MIDDLE = 172  # top of the gateways


@dataclass(frozen=True, slots=True)
class Rect:
    """A box; ``kind`` is its style."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points, "x,y x,y …", with a head at its end, and perhaps at its start too."""

    points: str
    kind: str
    head: bool = True
    tail: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text from (x, y); ``full`` is what was cut to make it fit, else empty."""

    x: float
    y: float
    text: str
    kind: str = ""
    full: str = ""


@dataclass
class Picture:
    """Shapes in drawing order: boxes, lines, texts. ``summary`` describes the picture."""

    height: float = 0
    summary: str = ""
    rects: list[Rect] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def line(self, kind: str, *points: tuple[float, float], head: bool = True, tail: bool = False) -> None:
        """Add a line through points."""
        self.lines.append(Line(" ".join(f"{x:g},{y:g}" for x, y in points), kind, head, tail))

    def text(self, x: float, y: float, text: str, kind: str = "", room: float = WIDTH) -> None:
        """Add a text, shortened to ``room`` units."""
        full = plain(text)
        short = fit(full, room * _BOLD if kind == "strong" else room)
        self.texts.append(Text(x, y, short, kind, full if short != full else ""))


@dataclass(frozen=True, slots=True)
class _Cell:
    """A faculty's box: its hub if it has one, then its other servers; and which of them the gateways deliver to."""

    title: str
    hub: tuple[str, ...]
    leaves: tuple[str, ...]
    to_hub: bool
    to_leaves: bool

    @property
    def height(self) -> int:
        """Return the height of the box."""
        return 30 + sum(len(part) * _LINE + 28 for part in (self.hub, self.leaves) if part)


def fit(text: str, room: float) -> str:
    """Return as much of the text as fits into ``room`` units, with an ellipsis when it is cut."""
    if width(text) * _CHARACTER <= room:
        return text
    while text and (width(text) + 1) * _CHARACTER > room:
        text = text[:-1]
    return f"{text}…"


def draw(plan: Plan, catalog: Translations, faculty: str | None = None) -> Picture:
    """Return the picture of the whole plan, or of one faculty with all others in one box."""
    return _Drawing(plan, catalog).draw(faculty)


class _Drawing:
    """The picture of one plan, drawn from top to bottom."""

    def __init__(self, plan: Plan, catalog: Translations) -> None:
        self.plan = plan
        self.gettext = catalog.gettext
        self.ngettext = catalog.ngettext
        self.picture = Picture()
        names = [server.name for server in plan.servers] + [gateway.host for gateway in plan.gateways]
        self.suffix = _suffix(names)
        self.others = {server.name for server in plan.servers if not server.managed}
        self.open = {permit.host: permit.until for permit in plan.permits}
        # With several next hops, mail is sent to the first while all hosts are up.
        self.targets = {route.next_hops[0] for route in plan.routes if route.next_hops}
        first = [row.lines[0][1] for row in plan.mx if row.lines and row.view != "inside"]
        gateways = {gateway.host.lower() for gateway in plan.gateways}
        self.own_first = sum(name not in gateways for name in first) > len(first) / 2
        self.domains: dict[str, int] = {}
        for route in plan.routes:
            self.domains[route.faculty] = self.domains.get(route.faculty, 0) + 1

    def draw(self, faculty: str | None) -> Picture:
        """Return the picture; with a faculty, all others are one box."""
        picture = self.picture
        self.outside()
        bottom = self.gateways()
        bus = max(bottom, self.permits()) + 26
        picture.line(MX, (_MX_X, bottom), (_MX_X, bus), head=False)
        if not self.plan.borders:
            picture.line(BLOCKED, (_DIRECT_X, _BORDER), (_DIRECT_X, bus))
        end = self.rows(self.cells(faculty), bus)
        picture.height = self.key(end)
        picture.summary = self.summary()
        return picture

    def short(self, name: str) -> str:
        """Return a host name without the common suffix, with marks if its port 25 is open or others maintain it."""
        marks = ("◆ " if name in self.open else "") + ("◇ " if name in self.others else "")
        return marks + name.removesuffix(self.suffix)

    def outside(self) -> None:
        """Draw the outside, the border, and the connections that pass it or are blocked."""
        picture = self.picture
        picture.rects.append(Rect(20, 8, 960, 38, "outside"))
        picture.text(36, 32, self.gettext("Outside: any mail server"), "strong")
        wall = "wall" if self.plan.borders else "nowall"
        for left, right in ((20, _MX_X - 14), (_MX_X + 14, _PERMIT_X - 14), (_PERMIT_X + 14, 980)):
            picture.rects.append(Rect(left, _BORDER, right - left, 14, wall))
        follows = self.gettext("then by MX: the gateways") if self.own_first else self.gettext("follows MX")
        picture.text(_MX_X + 12, 80, follows)
        picture.line(MX, (_MX_X, 46), (_MX_X, _MIDDLE))
        own_first = self.gettext("first by MX: the server itself")
        direct = own_first if self.own_first else self.gettext("direct connection")
        picture.text(_DIRECT_X + 14, 80, direct)
        if self.plan.borders:
            picture.line(BLOCKED, (_DIRECT_X, 46), (_DIRECT_X, _BORDER - 6), head=False)
            for slope in (-1, 1):
                ends = ((_DIRECT_X - 9, _BORDER - 8 - slope * 9), (_DIRECT_X + 9, _BORDER - 8 + slope * 9))
                picture.line(CROSS, *ends, head=False)
            names = ", ".join(name.removesuffix(self.suffix) for name in self.plan.borders)
            who = self.gettext("Border: {routers}").format(routers=names)
            rule = self.gettext("port 25: only to gateways and permitted servers")
        else:
            picture.line(BLOCKED, (_DIRECT_X, 46), (_DIRECT_X, _BORDER), head=False)
            who, rule = "", self.gettext("no border router in the inventory: nothing is blocked")
        left = _MX_X + 24 if self.plan.borders else _DIRECT_X + 14
        picture.text(left, _BORDER + 32, who, "strong", 540)
        picture.text(left, _BORDER + 49, rule, "", 540)
        if self.open:
            picture.text(_PERMIT_X + 14, 80, self.gettext("permit"))
            picture.line(PERMIT, (_PERMIT_X, 46), (_PERMIT_X, _MIDDLE))

    def gateways(self) -> float:
        """Draw the gateways, two in a row; return their lower edge."""
        return self.group(
            20,
            430,
            self.gettext("Gateways"),
            [
                (
                    self.short(gateway.host),
                    f"{', '.join(gateway.addresses[:1])}  MX {gateway.preference}",
                )
                for gateway in self.plan.gateways
            ],
        )

    def permits(self) -> float:
        """Draw the open servers, if any; return their lower edge."""
        if not self.open:
            return 0
        items = [(self.short(host), until) for host, until in self.open.items()]
        return self.group(640, 340, self.gettext("Open servers"), items)

    def group(self, x: float, size: float, title: str, items: Sequence[tuple[str, str]]) -> float:
        """Draw a box with small boxes of two lines each, two in a row; return its lower edge."""
        shown = list(items[:6])
        if len(items) > len(shown):
            shown[-1] = (f"+{len(items) - len(shown) + 1}", "")
        each = (size - 3 * _PAD) // 2
        height = 28 + (len(shown) + 1) // 2 * 54 + 4
        self.picture.rects.append(Rect(x, _MIDDLE, size, height, "group"))
        self.picture.text(x + _PAD, _MIDDLE + 20, title, "strong")
        for number, (name, note) in enumerate(shown):
            left = x + _PAD + number % 2 * (each + _PAD)
            top = _MIDDLE + 28 + number // 2 * 54
            self.picture.rects.append(Rect(left, top, each, 46, "host"))
            self.picture.text(left + 8, top + 19, name, "", each - 16)
            self.picture.text(left + 8, top + 37, note, "small", each - 16)
        return _MIDDLE + height

    def cells(self, faculty: str | None) -> list[_Cell]:
        """Return the boxes of the faculties."""
        by_faculty: dict[str, list[Server]] = {}
        for server in self.plan.servers:
            by_faculty.setdefault(server.faculty, []).append(server)
        if faculty is None:
            named = len(self.plan.servers) <= _NAMED
            return [
                self.cell(name, servers, named)
                for name, servers in sorted(by_faculty.items(), key=lambda item: natural_key(item[0]))
            ]
        own = by_faculty.pop(faculty, [])
        cells = [self.cell(faculty, own, True)]
        if by_faculty:
            others = [server for servers in by_faculty.values() for server in servers]
            count = len(by_faculty)
            title = self.ngettext("{count} other faculty", "{count} other faculties", count).format(count=count)
            cells.append(self.cell(title, others, False))
        return cells

    def cell(self, title: str, servers: Sequence[Server], named: bool) -> _Cell:
        """Return the box of one faculty, or of several together."""
        hubs = [server for server in servers if server.hub == server.name]
        leaves = [server for server in servers if server.hub != server.name]
        count = sum(self.domains.get(name, 0) for name in {server.faculty for server in servers})
        text = self.gettext("hub: {hub}")
        hub: tuple[str, ...] = tuple(text.format(hub=self.short(server.name)) for server in hubs)
        if len(hub) > 2:
            hub = (self.gettext("hubs: {count}").format(count=len(hubs)),)
        return _Cell(
            (title or self.gettext("no faculty")) + f" ({count})",
            hub,
            self.listed(leaves, named),
            any(server.address in self.targets for server in hubs),
            any(server.address in self.targets for server in leaves),
        )

    def listed(self, servers: Sequence[Server], named: bool) -> tuple[str, ...]:
        """Return the lines of a box for these servers: names, or their number."""
        if not servers:
            return ()
        names = [self.short(server.name) for server in servers]
        if named and len(names) <= _LIST:
            return tuple(names)
        if named:
            return (*names[: _LIST - 1], f"+{len(names) - _LIST + 1}")
        lines = [self.gettext("servers: {count}").format(count=len(names))]
        if permits := sum(server.name in self.open for server in servers):
            lines.append("◆ " + self.gettext("permits: {count}").format(count=permits))
        return tuple(lines)

    def rows(self, cells: Sequence[_Cell], bus: float) -> float:
        """Draw the faculties in rows, with the lines above and below them; return the last line's height."""
        picture = self.picture
        count = max(1, min(_COLUMNS, len(cells)))
        size = (_RIGHT - _LEFT - (count - 1) * _PAD) // count
        buses: list[tuple[float, float]] = []
        for start in range(0, len(cells), count):
            row = cells[start : start + count]
            top = bus + 22
            height = max(cell.height for cell in row)
            below = top + height + 20
            for number, cell in enumerate(row):
                self.box(cell, Rect(_LEFT + number * (size + _PAD), top, size, height, "faculty"), (bus, below))
            buses.append((bus, below))
            bus = below + 26
        first, last = buses[0][0], buses[-1]
        picture.line(MX, (24, first), (24, last[0]), head=False)
        picture.line(STATIC, (976, buses[0][1]), (976, last[1]), head=False)
        for above, below in buses:
            ends = [_LEFT + 8.0, self.reach(cells, count, size, buses, above)]
            if len(buses) > 1:
                ends.append(24)
            if above == first:
                ends.append(_MX_X)
            picture.line(MX, (min(ends), above), (max(ends), above), head=False)
            picture.line(STATIC, (_LEFT + size - 8, below), (976, below), head=False)
        return last[1]

    def reach(
        self, cells: Sequence[_Cell], count: int, size: float, buses: Sequence[tuple[float, float]], above: float
    ) -> float:
        """Return the right end of a row's upper line: its last box, or the line of direct connections not blocked."""
        row = [bus for bus, _below in buses].index(above)
        boxes = min(count, len(cells) - row * count)
        last = _LEFT + (boxes - 1) * (size + _PAD) + 8
        return max(last, _DIRECT_X) if row == 0 and not self.plan.borders else last

    def box(self, cell: _Cell, frame: Rect, buses: tuple[float, float]) -> None:
        """Draw one faculty: mail from the gateways enters on its left side, internal mail leaves on its right side."""
        picture = self.picture
        picture.rects.append(frame)
        x, y, size = frame.x, frame.y, frame.width
        bus, below = buses
        picture.text(x + 14, y + 20, cell.title, "name", size - 20)
        inner, room = x + 22, size - 44
        offset = y + 30
        middles = []
        for part, kind, entered in ((cell.hub, "hub", cell.to_hub), (cell.leaves, "host", cell.to_leaves)):
            if not part:
                continue
            tall = len(part) * _LINE + 12
            picture.rects.append(Rect(inner, offset, room, tall, kind))
            for number, text in enumerate(part):
                picture.text(inner + 7, offset + 18 + number * _LINE, text, "", room - 12)
            middle = offset + tall / 2
            middles.append((offset, offset + tall, middle))
            if entered:
                picture.line(MX, (x + 8, bus), (x + 8, middle), (inner, middle))
            offset += tall + 16
        if not middles:
            return
        if len(middles) > 1:
            centre = x + size / 2
            picture.line(STATIC, (centre, middles[0][1]), (centre, middles[1][0]), tail=True)
        picture.line(STATIC, (x + size - 8, below), (x + size - 8, middles[0][2]), (inner + room, middles[0][2]))

    def key(self, top: float) -> float:
        """Draw the legend in two columns; return its lower edge."""
        picture = self.picture
        gettext = self.gettext
        blocked = gettext("direct connection, blocked")
        entries = [
            (MX, gettext("external mail, by MX")),
            (BLOCKED, blocked if self.plan.borders else gettext("direct connection, not blocked")),
            (STATIC, gettext("internal mail, by STATIC routes")),
            (PERMIT, gettext("permitted server, open to the outside") + " (◆)"),
        ]
        for number, (kind, text) in enumerate(entries[: 4 if self.open else 3]):
            x, y = 48 + number % 2 * 460, top + 32 + number // 2 * 22
            picture.line(
                kind, (x, y - 4), (x + 54, y - 4), head=kind != BLOCKED or not self.plan.borders, tail=kind == STATIC
            )
            picture.text(x + 66, y, text, "small")
        note = top + 32 + 44
        notes = [gettext("(n): number of domains")]
        if self.suffix:
            notes.append(gettext("names are shown without {suffix}").format(suffix=self.suffix))
        picture.text(48, note, "; ".join(notes), "small")
        if self.others:
            note += 22
            text = self.gettext("maintained by others: its own mail goes by MX, through the gateways")
            picture.text(48, note, f"◇: {text}", "small")
        return note + 12

    def summary(self) -> str:
        """Return the numbers of gateways, routers, faculties, servers and domains."""
        plan, gettext = self.plan, self.gettext
        numbers = [
            (gettext("Gateways"), len(plan.gateways)),
            (gettext("Border routers"), len(plan.borders)),
            (gettext("Faculties"), len(plan.faculties)),
            (gettext("Servers"), len(plan.servers)),
            (gettext("Domains"), len(plan.routes)),
            (gettext("Open servers"), len(self.open)),
        ]
        return ", ".join(f"{name}: {number}" for name, number in numbers)


def _suffix(names: Sequence[str]) -> str:
    """Return the longest common suffix of all names, from a dot on, that leaves each at least a label."""
    if len(names) < 2:
        return ""
    shared: list[str] = []
    for labels in zip(*(reversed(name.split(".")[1:]) for name in names), strict=False):
        if len(set(labels)) > 1:
            break
        shared.insert(0, labels[0])
    return "".join(f".{label}" for label in shared)
