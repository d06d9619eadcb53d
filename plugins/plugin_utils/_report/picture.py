# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the campus: who reaches whom with mail, as shapes with coordinates, for a template to draw.

From top to bottom: the outside, the border with its doors, the gateways and the open servers, the faculties in rows.
Mail from the gateways comes down the left margin and along the line above each row; mail between faculties goes
along the line below each row and the right margin. Lengths are in units of a thousandth of the picture's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .plan import Plan, Server, natural
from .text import plain, width

Say = Callable[[str], str]

WIDTH = 1000
MX, BLOCKED, CROSS, PERMIT, STATIC = "mx", "blocked", "cross", "permit", "static"

_NAMED = 30  # servers in the whole picture; when there are more, each faculty only counts its own
_LIST = 12  # names in one box
_COLUMNS = 5
_LINE = 17  # from one line of text to the next
_PAD = 16
_CHARACTER = 7.1  # average advance of a narrow character
_BOLD = 0.87  # of the characters fit when they are bold
_LEFT, _RIGHT = 48, 952  # of the faculties; trunks run outside of them
_MX_DOOR, _DIRECT, _PERMIT_DOOR = 225, 520, 800
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
    """Shapes in the order to draw them: boxes, lines, texts. ``summary`` says in words what is to be seen."""

    height: float = 0
    summary: str = ""
    rects: list[Rect] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def line(self, kind: str, *points: tuple[float, float], head: bool = True, tail: bool = False) -> None:
        self.lines.append(Line(" ".join(f"{x:g},{y:g}" for x, y in points), kind, head, tail))

    def text(self, x: float, y: float, text: str, kind: str = "", room: float = WIDTH) -> None:
        said = plain(text)
        short = fit(said, room * _BOLD if kind == "strong" else room)
        self.texts.append(Text(x, y, short, kind, said if short != said else ""))


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
        return 30 + sum(len(part) * _LINE + 28 for part in (self.hub, self.leaves) if part)


def fit(text: str, room: float) -> str:
    """Return as much of the text as fits into ``room`` units, with an ellipsis when it is cut."""
    if width(text) * _CHARACTER <= room:
        return text
    while text and (width(text) + 1) * _CHARACTER > room:
        text = text[:-1]
    return f"{text}…"


def draw(plan: Plan, say: Say, faculty: str | None = None) -> Picture:
    """Return the picture of the whole plan, or of one faculty with all others in one box."""
    return _Drawing(plan, say).draw(faculty)


class _Drawing:
    def __init__(self, plan: Plan, say: Say) -> None:
        self.plan = plan
        self.say = say
        self.picture = Picture()
        names = [server.name for server in plan.servers] + [gateway.host for gateway in plan.gateways]
        self.suffix = _suffix(names)
        self.open = {permit.host: permit.until for permit in plan.permits}
        # With several next hops the first is where mail goes as long as all is up.
        self.targets = {route.next_hops[0] for route in plan.routes if route.next_hops}
        first = [row.lines[0][1] for row in plan.mx if row.lines and row.view != "inside"]
        gateways = {gateway.host.lower() for gateway in plan.gateways}
        self.own_first = sum(name not in gateways for name in first) > len(first) / 2
        self.domains: dict[str, int] = {}
        for route in plan.routes:
            self.domains[route.faculty] = self.domains.get(route.faculty, 0) + 1

    def draw(self, faculty: str | None) -> Picture:
        picture = self.picture
        self.outside()
        bottom = self.gateways()
        bus = max(bottom, self.permits()) + 26
        picture.line(MX, (_MX_DOOR, bottom), (_MX_DOOR, bus), head=False)
        if not self.plan.borders:
            picture.line(BLOCKED, (_DIRECT, _BORDER), (_DIRECT, bus))
        end = self.rows(self.cells(faculty), bus)
        picture.height = self.key(end)
        picture.summary = self.summary()
        return picture

    def short(self, name: str) -> str:
        return ("◆ " if name in self.open else "") + name.removesuffix(self.suffix)

    def outside(self) -> None:
        """The outside world, the border, and what goes through it or doesn't."""
        picture, say = self.picture, self.say
        picture.rects.append(Rect(20, 8, 960, 38, "outside"))
        picture.text(36, 32, f"{say('Outside')}: {say('any mail server')}", "strong")
        wall = "wall" if self.plan.borders else "nowall"
        for left, right in ((20, _MX_DOOR - 14), (_MX_DOOR + 14, _PERMIT_DOOR - 14), (_PERMIT_DOOR + 14, 980)):
            picture.rects.append(Rect(left, _BORDER, right - left, 14, wall))
        picture.text(_MX_DOOR + 12, 80, say("then by MX: the gateways" if self.own_first else "follows MX"))
        picture.line(MX, (_MX_DOOR, 46), (_MX_DOOR, _MIDDLE))
        direct = "first by MX: the server itself" if self.own_first else "direct connection"
        picture.text(_DIRECT + 14, 80, say(direct))
        if self.plan.borders:
            picture.line(BLOCKED, (_DIRECT, 46), (_DIRECT, _BORDER - 6), head=False)
            for slope in (-1, 1):
                ends = ((_DIRECT - 9, _BORDER - 8 - slope * 9), (_DIRECT + 9, _BORDER - 8 + slope * 9))
                picture.line(CROSS, *ends, head=False)
            who = f"{say('Border')}: {', '.join(name.removesuffix(self.suffix) for name in self.plan.borders)}"
            rule = say("port 25: only to gateways and permitted servers")
        else:
            picture.line(BLOCKED, (_DIRECT, 46), (_DIRECT, _BORDER), head=False)
            who, rule = "", say("no border router in the inventory: nothing is blocked")
        left = _MX_DOOR + 24 if self.plan.borders else _DIRECT + 14
        picture.text(left, _BORDER + 32, who, "strong", 540)
        picture.text(left, _BORDER + 49, rule, "", 540)
        if self.open:
            picture.text(_PERMIT_DOOR + 14, 80, say("permit"))
            picture.line(PERMIT, (_PERMIT_DOOR, 46), (_PERMIT_DOOR, _MIDDLE))

    def gateways(self) -> float:
        """The gateways, two in a row; returns where they end."""
        return self.group(
            20,
            430,
            self.say("Gateways"),
            [
                (
                    self.short(gateway.host),
                    f"{', '.join(gateway.addresses[:1])}  MX {gateway.preference}",
                )
                for gateway in self.plan.gateways
            ],
        )

    def permits(self) -> float:
        """The open servers, if there are any; returns where they end."""
        if not self.open:
            return 0
        items = [(self.short(host), until) for host, until in self.open.items()]
        return self.group(640, 340, self.say("Open servers"), items)

    def group(self, x: float, size: float, title: str, items: Sequence[tuple[str, str]]) -> float:
        """A box with small boxes of two lines each, two in a row; returns where it ends."""
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
        """The boxes of the faculties."""
        by_faculty: dict[str, list[Server]] = {}
        for server in self.plan.servers:
            by_faculty.setdefault(server.faculty, []).append(server)
        if faculty is None:
            named = len(self.plan.servers) <= _NAMED
            return [
                self.cell(name, servers, named)
                for name, servers in sorted(by_faculty.items(), key=lambda item: natural(item[0]))
            ]
        own = by_faculty.pop(faculty, [])
        cells = [self.cell(faculty, own, True)]
        if by_faculty:
            others = [server for servers in by_faculty.values() for server in servers]
            title = self.say("{count} other faculties").format(count=len(by_faculty))
            cells.append(self.cell(title, others, False))
        return cells

    def cell(self, title: str, servers: Sequence[Server], named: bool) -> _Cell:
        hubs = [server for server in servers if server.hub == server.name]
        leaves = [server for server in servers if server.hub != server.name]
        count = sum(self.domains.get(name, 0) for name in {server.faculty for server in servers})
        hub: tuple[str, ...] = tuple(f"{self.say('hub')}: {self.short(server.name)}" for server in hubs)
        if len(hub) > 2:
            hub = (f"{self.say('hub')}: {len(hubs)}",)
        return _Cell(
            f"{title or self.say('no faculty')} ({count})",
            hub,
            self.listed(leaves, named),
            any(server.address in self.targets for server in hubs),
            any(server.address in self.targets for server in leaves),
        )

    def listed(self, servers: Sequence[Server], named: bool) -> tuple[str, ...]:
        if not servers:
            return ()
        names = [self.short(server.name) for server in servers]
        if named and len(names) <= _LIST:
            return tuple(names)
        if named:
            return (*names[: _LIST - 1], f"+{len(names) - _LIST + 1}")
        lines = [f"{self.say('Servers')}: {len(names)}"]
        open_ = sum(server.name in self.open for server in servers)
        return (*lines, f"◆ {self.say('permit')}: {open_}") if open_ else tuple(lines)

    def rows(self, cells: Sequence[_Cell], bus: float) -> float:
        """The faculties in rows, with the lines above and below them; returns where they end."""
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
                ends.append(_MX_DOOR)
            picture.line(MX, (min(ends), above), (max(ends), above), head=False)
            picture.line(STATIC, (_LEFT + size - 8, below), (976, below), head=False)
        return last[1]

    def reach(
        self, cells: Sequence[_Cell], count: int, size: float, buses: Sequence[tuple[float, float]], above: float
    ) -> float:
        """How far to the right a row's upper line goes: to its last box, or to where unblocked mail comes down."""
        row = [bus for bus, _below in buses].index(above)
        boxes = min(count, len(cells) - row * count)
        last = _LEFT + (boxes - 1) * (size + _PAD) + 8
        return max(last, _DIRECT) if row == 0 and not self.plan.borders else last

    def box(self, cell: _Cell, frame: Rect, buses: tuple[float, float]) -> None:
        """One faculty: mail from the gateways enters along its left side, inside mail leaves along its right one."""
        picture = self.picture
        picture.rects.append(frame)
        x, y, size = frame.x, frame.y, frame.width
        bus, below = buses
        picture.text(x + 14, y + 20, cell.title, "name", size - 20)
        inner, room = x + 22, size - 44
        at = y + 30
        middles = []
        for part, kind, entered in ((cell.hub, "hub", cell.to_hub), (cell.leaves, "host", cell.to_leaves)):
            if not part:
                continue
            tall = len(part) * _LINE + 12
            picture.rects.append(Rect(inner, at, room, tall, kind))
            for number, text in enumerate(part):
                picture.text(inner + 7, at + 18 + number * _LINE, text, "", room - 12)
            middle = at + tall / 2
            middles.append((at, at + tall, middle))
            if entered:
                picture.line(MX, (x + 8, bus), (x + 8, middle), (inner, middle))
            at += tall + 16
        if not middles:
            return
        if len(middles) > 1:
            centre = x + size / 2
            picture.line(STATIC, (centre, middles[0][1]), (centre, middles[1][0]), tail=True)
        picture.line(STATIC, (x + size - 8, below), (x + size - 8, middles[0][2]), (inner + room, middles[0][2]))

    def key(self, top: float) -> float:
        """What the lines mean, in two columns; returns where it ends."""
        picture, say = self.picture, self.say
        blocked = "direct connection, blocked" if self.plan.borders else "direct connection, not blocked"
        entries = [
            (MX, "mail from outside, by MX"),
            (BLOCKED, blocked),
            (STATIC, "inside mail, by STATIC routes"),
            (PERMIT, "permitted server, open to the outside"),
        ]
        for number, (kind, words) in enumerate(entries[: 4 if self.open else 3]):
            x, y = 48 + number % 2 * 460, top + 32 + number // 2 * 22
            picture.line(
                kind, (x, y - 4), (x + 54, y - 4), head=kind != BLOCKED or not self.plan.borders, tail=kind == STATIC
            )
            picture.text(x + 66, y, say(words) + (" (◆)" if kind == PERMIT else ""), "small")
        note = top + 32 + 44
        notes = [say("(n): number of domains")]
        if self.suffix:
            notes.append(f"{say('Names are written without')} {self.suffix}")
        picture.text(48, note, "; ".join(notes), "small")
        return note + 12

    def summary(self) -> str:
        say, plan = self.say, self.plan
        numbers = [
            ("Gateways", len(plan.gateways)),
            ("Border", len(plan.borders)),
            ("Faculties", len(plan.faculties)),
            ("Servers", len(plan.servers)),
            ("Domains", len(plan.routes)),
            ("Open servers", len(self.open)),
        ]
        return ", ".join(f"{say(word)}: {number}" for word, number in numbers)


def _suffix(names: Sequence[str]) -> str:
    """Return what all names end in, from a dot on, such that each keeps at least a label."""
    if len(names) < 2:
        return ""
    shared: list[str] = []
    for labels in zip(*(reversed(name.split(".")[1:]) for name in names), strict=False):
        if len(set(labels)) > 1:
            break
        shared.insert(0, labels[0])
    return "".join(f".{label}" for label in shared)
