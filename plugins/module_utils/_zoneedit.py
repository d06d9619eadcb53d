# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Changes the MX lines of planned names in a zone file, and the serial; every other byte stays.

Lines that already say what is planned are left alone; a line whose target stays only gets its new preference and keeps
its comment; new lines take the place of removed ones, or stand behind the name's other records, in their neighbours'
style. A removed line's owner passes on to the lines that inherited it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from ._serial import next_serial
from ._zonefile import (
    Entry,
    Include,
    Name,
    ZoneError,
    ZoneFile,
    read_zone,
    record_of,
    spell,
    to_name,
)
from ._zonelines import Document, Line, Mx, blank, with_ttl

Plan = Mapping[Name, Sequence[Mx]]
"""The MX lines that each owner of a zone shall have."""

_NewLines = Sequence[tuple[Mx, "int | None"]]
"""Lines to write, each with the index of the entry that it is moved from, if any."""

_SIGNED = frozenset({"RRSIG", "NSEC", "NSEC3", "TYPE46", "TYPE47", "TYPE50"})
_MX = frozenset({"MX", "TYPE15"})
_HOST_LABEL = re.compile(rb"(?!-)[a-z0-9-]{1,63}(?<!-)")
_OWNER_LABEL = re.compile(rb"(?!-)[a-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class ZoneEdit:
    """The edited file and what happened to it; equal bytes and serials when nothing had to change."""

    data: bytes
    serial_before: int
    serial_after: int
    changed: bool


def plan_names(zone: str, owners: Sequence[tuple[str, Sequence[tuple[int, str]]]]) -> tuple[Name, dict[Name, list[Mx]]]:
    """Reads the plan of one zone; names are absolute, with or without the final dot.

    Raises ZoneError naming every owner that is not in the zone or said twice, and every value that DNS does not allow.
    """
    problems: list[str] = []
    apex = _checked_name(zone, "zone", problems, host=False)
    plan: dict[Name, list[Mx]] = {}
    for text, lines in owners:
        where = f"zone {zone}, {text}"
        owner = _checked_name(text, f"zone {zone}: owner", problems, host=False)
        if owner[-len(apex) :] != apex:
            problems.append(f"zone {zone}: owner {text!r} does not lie in the zone")
        if owner in plan:
            problems.append(f"zone {zone}: owner {text!r} is listed twice")
        wanted = [
            (preference, _checked_name(to, f"{where}: exchange", problems, host=True)) for preference, to in lines
        ]
        for preference, to in lines:
            if not 0 <= preference <= 65535:
                problems.append(f"{where}: preference {preference} of {to} is not between 0 and 65535")
        if len({to for _unused, to in wanted}) < len(wanted):
            problems.append(f"{where}: one exchange is listed twice")
        plan[owner] = sorted(wanted)
    if problems:
        raise ZoneError(*problems)
    return apex, plan


def _checked_name(text: str, what: str, problems: list[str], *, host: bool) -> Name:
    try:
        name = to_name(text, ())
    except ValueError:
        name = ()
    labels = name[1:] if not host and name[:1] == (b"*",) else name
    label = _HOST_LABEL if host else _OWNER_LABEL
    if not labels or not all(label.fullmatch(part) for part in labels) or sum(len(part) + 1 for part in name) > 254:
        problems.append(f"{what} {text!r} is not a {'host' if host else 'domain'} name")
    elif host and labels[-1].isdigit():
        problems.append(f"{what} {text!r} is an address; an MX takes names only (RFC 5321, section 5.1)")
    return name


def edit_zone(
    data: bytes,
    zone: Name,
    plan: Plan,
    *,
    path: str,
    include: Include,
    today: date,
    ttl: int | None = None,
    served: int | None = None,
) -> ZoneEdit:
    """Gives the zone file `data` with the MX records of each planned owner made exactly the planned ones.

    `ttl` (seconds) is set on these lines; None keeps what they have. `served` is the serial the server answers with.
    Raises ZoneError for anything that cannot be edited safely.
    """
    file = read_zone(data, zone, path, include)
    editor = _Editor(file, zone, plan, ttl)
    serial = editor.serial()
    editor.refuse_signed()
    for owner, wanted in plan.items():
        editor.edit(owner, list(wanted))
    if editor.problems:
        raise ZoneError(*editor.problems)
    if not editor.changed:
        return ZoneEdit(data, serial, serial, changed=False)
    after = next_serial(serial, today, served)
    editor.set_serial(after)
    return ZoneEdit(editor.document.render().encode("latin-1"), serial, after, changed=True)


class _Editor:
    def __init__(self, file: ZoneFile, zone: Name, plan: Plan, ttl: int | None) -> None:
        self.file, self.zone, self.ttl = file, zone, ttl
        self.line_ttl = ttl  # of the owner at hand
        self.entries = file.entries
        self.document = Document(file)
        self.problems: list[str] = []
        self.changed = False
        # The planned names and those between them and the apex: where new lines may find a place.
        watched = {owner[cut:] for owner in plan for cut in range(max(1, len(owner) - len(zone)))}
        self.by_owner: dict[Name, list[int]] = {}
        self.last_record = 0
        for at, entry in enumerate(self.entries):
            if entry.kind == "record":
                self.last_record = at
                if entry.owner in watched:
                    self.by_owner.setdefault(entry.owner, []).append(at)
        self.elsewhere = list(_included(file))

    def serial(self) -> int:
        file, at = self._soa()
        rdata = record_of(file.text, file.entries[at]).rdata
        if len(rdata) != 7 or not rdata[2].text.isdecimal() or int(rdata[2].text) >= 2**32:
            raise ZoneError(
                f"{file.path}, line {file.entries[at].line}: not an SOA record of seven fields with a serial"
            )
        return int(rdata[2].text)

    def set_serial(self, serial: int) -> None:
        file, at = self._soa()
        if file is not self.file:
            raise ZoneError(
                f"{self.file.path}: the SOA record is in the included file {file.path}, which may belong to other "
                "zones too, so its serial is not moved there. Move the SOA record into the zone's own file"
            )
        word = record_of(file.text, self.entries[at]).rdata[2]
        # The apex's MX lines may already stand behind the SOA record.
        self.document.keep(at)[0].body = self.document.body(at, word.start, word.end, str(serial))

    def _soa(self) -> tuple[ZoneFile, int]:
        files = {id(file): file for file in [self.file, *(file for file, _unused in self.elsewhere)]}
        found = [(file, at) for file in files.values() for at, entry in enumerate(file.entries) if entry.rtype == "SOA"]
        if len(found) != 1 or found[0][0].entries[found[0][1]].owner != self.zone:
            where = ", ".join(f"{file.path} line {file.entries[at].line}" for file, at in found) or "none"
            raise ZoneError(f"{self.file.path}: there must be one SOA record, of {spell(self.zone)}; found: {where}")
        return found[0]

    def refuse_signed(self) -> None:
        for file, entry in [*((self.file, entry) for entry in self.entries), *self.elsewhere]:
            if entry.rtype in _SIGNED:
                raise ZoneError(
                    f"{file.path}, line {entry.line}: {entry.rtype} record: the zone is signed by hand, and an edit "
                    "would break its signatures. Edit its unsigned source and sign that again"
                )

    def edit(self, owner: Name, wanted: list[Mx]) -> None:
        places = self.by_owner.get(owner, [])
        foreign = [(file, entry) for file, entry in self.elsewhere if entry.owner == owner]
        every = [*((self.file, self.entries[i]) for i in places), *foreign]
        present = [(file, entry) for file, entry in every if entry.rtype in _MX]
        problems = len(self.problems)
        have = [self._read_mx(file, entry) for file, entry in present]
        if len(self.problems) > problems:
            return
        if set(have) == set(wanted) and (self.ttl is None or all(entry.ttl == self.ttl for _f, entry in present)):
            return
        outside = [f"{file.path} line {entry.line}" for file, entry in present if file is not self.file]
        if outside:
            self.problems.append(
                f"{self.file.path}: MX records of {spell(owner)} are in an included file ({', '.join(outside)}), which "
                "may belong to other zones too. Move them into the zone's own file, or change them there by hand"
            )
        elif wanted and any(entry.rtype == "CNAME" for _f, entry in every):
            self.problems.append(
                f"{self.file.path}: {spell(owner)} is a CNAME, and no MX may stand beside it (RFC 1034, 3.6.2). "
                "Give it address records of its own, or take the domain out of the inventory"
            )
        else:
            self.changed = True
            # One set has one TTL (RFC 2181, section 5.2); of several the lowest holds.
            ttls = {entry.ttl for _f, entry in present if entry.ttl is not None}
            self.line_ttl = min(ttls) if self.ttl is None and len(ttls) > 1 else self.ttl
            self._rewrite(owner, wanted, [i for i in places if self.entries[i].rtype in _MX], have)

    def _read_mx(self, file: ZoneFile, entry: Entry) -> Mx:
        """Reads an MX entry; a problem is noted and a value that equals no planned one given."""
        rdata = record_of(file.text, entry).rdata
        where = f"{file.path}, line {entry.line}"
        try:
            if entry.rtype != "MX" or len(rdata) != 2 or not rdata[0].text.isdecimal():
                raise ValueError(f"an MX record of {spell(entry.owner)} that is not written `MX number name`")
            exchange = to_name(rdata[1].text, entry.origin)
            if exchange == ():
                raise ValueError(
                    f"{spell(entry.owner)} has a null MX: it takes no mail (RFC 7505). Remove that line, or take the "
                    "domain out of the inventory"
                )
        except ValueError as error:
            self.problems.append(f"{where}: {error}")
            return -1, ()
        return int(rdata[0].text), exchange

    def _rewrite(self, owner: Name, wanted: list[Mx], at: list[int], have: list[Mx]) -> None:
        """Leaves the longest run of lines already in planned order where it is; moves, adds and removes the others."""
        partner = {k: at[j] for k, j in _pair(wanted, have).items()}
        staying = _longest_rising(partner)
        for i in set(at) - {partner[k] for k in staying}:
            self.document.remove(i)
        for k in staying:
            self.document.keep(partner[k])[0].body = self.document.retargeted(partner[k], wanted[k][0])
        free = sorted(i for i in at if self.document.replaced[i] == [])
        before = -1
        for stays, group in groupby(range(len(wanted)), key=lambda k: k in staying):
            members = list(group)
            if stays:
                before = partner[members[-1]]
                continue
            behind = next((partner[k] for k in sorted(staying) if k > members[-1]), len(self.entries))
            slot = next((i for i in free if before < i < behind), None)
            self._place(owner, [(wanted[k], partner.get(k)) for k in members], slot, before, behind)
        if self.line_ttl is not None:
            for i in at:
                for line in self.document.replaced[i]:
                    line.body, line.ttl = with_ttl(line.body, self.line_ttl, line.ttl), self.line_ttl

    def _place(self, owner: Name, lines: _NewLines, slot: int | None, before: int, behind: int) -> None:
        """Puts lines into the place of a removed one, else behind or before one that stays, else into the file."""
        document = self.document
        if slot is not None:
            document.replaced[slot] += self._lines(owner, lines, slot, document.lead(slot), document.hanging(slot))
        elif before >= 0:
            document.replaced[before] += self._lines(
                owner, lines, before, document.hanging(before), document.hanging(before)
            )
        elif behind < len(self.entries):
            kept = document.keep(behind)[0]
            document.replaced[behind][:0] = self._lines(owner, lines, behind, kept.lead, document.hanging(behind))
            kept.lead = document.hanging(behind)
        else:
            self._place_first(owner, lines)

    def _place_first(self, owner: Name, lines: _NewLines) -> None:
        """Puts the lines of a name without MX behind its records, else behind its nearest parent's, else at the end."""
        document = self.document
        for cut in range(max(1, len(owner) - len(self.zone))):
            places = self.by_owner.get(owner[cut:], [])
            if not places:
                continue
            last = places[0]
            for i in places[1:]:
                if any(entry.kind != "blank" for entry in self.entries[last + 1 : i]):
                    break
                last = i
            hang = head = document.hanging(last)
            if cut:
                head = document.named(owner, self.entries[last].origin, last)
                hang = blank(head)
            document.behind.setdefault(last, []).extend(self._lines(owner, lines, last, head, hang))
            return
        head = document.named(owner, self.file.end_origin, self.last_record)
        document.appended += self._lines(owner, lines, None, head, blank(head))

    def _lines(self, owner: Name, lines: _NewLines, at: int | None, head: str, hang: str) -> Iterator[Line]:
        """Makes lines for beside entry `at` (None: for the end of the file), in its style."""
        document = self.document
        like = self.entries[self.last_record if at is None else at]
        origin = self.file.end_origin if at is None else like.origin
        inherited = self.file.end_default_ttl if at is None else None if like.own_ttl else like.ttl
        for k, (mx, moved) in enumerate(lines):
            if moved is not None and self.entries[moved].origin == origin:
                body, ttl = document.retargeted(moved, mx[0]), self.entries[moved].ttl
            else:
                body, ttl = document.mx_body(mx, self.last_record if at is None else at, owner), inherited
            if self.line_ttl is not None:
                body, ttl = with_ttl(body, self.line_ttl, ttl), self.line_ttl
            yield Line(hang if k else head, body, like.eol, owner, origin, ttl)


def _included(file: ZoneFile) -> Iterator[tuple[ZoneFile, Entry]]:
    for entry in file.entries:
        if entry.included:
            yield from ((entry.included, inner) for inner in entry.included.entries)
            yield from _included(entry.included)


def _pair(wanted: Sequence[Mx], have: Sequence[Mx]) -> dict[int, int]:
    """Finds for each planned line the present one with its target, first those with its preference too."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for key in (slice(0, 2), slice(1, 2)):
        for k, new in enumerate(wanted):
            same = (j for j, old in enumerate(have) if j not in taken and new[key] == old[key])
            if k not in pairs and (j := next(same, None)) is not None:
                pairs[k] = j
                taken.add(j)
    return pairs


def _longest_rising(partner: Mapping[int, int]) -> set[int]:
    """Picks the most keys, in order, whose values rise."""
    longest: list[int] = []
    ending: list[list[int]] = []
    for k in sorted(partner):
        run = [*max((run for run in ending if partner[run[-1]] < partner[k]), key=list.__len__, default=[]), k]
        ending.append(run)
        longest = max(longest, run, key=list.__len__)
    return set(longest)
