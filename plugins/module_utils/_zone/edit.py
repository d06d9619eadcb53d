# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Change the MX records of planned names in a zone's files, and the serial; keep every other byte.

Records that are already as planned stay. Records in an included file are changed there. If a removed record stated the
owner for later lines, the next of them states it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from .file import (
    Include,
    Name,
    ZoneError,
    ZoneFile,
    read_zone,
    record_of,
    spell,
    to_name,
    to_ttl,
)
from .lines import GENERIC, Mx, State, generic_mx
from .part import Part
from .runs import keep_served_ttls
from .serial import next_serial

Plan = Mapping[Name, "Sequence[Mx] | None"]
"""The planned MX records of each owner; None keeps the present ones."""

_SIGNED = frozenset({"RRSIG", "NSEC", "NSEC3", "TYPE46", "TYPE47", "TYPE50"})
_NULL: Mx = (0, ())
_HOST_LABEL = re.compile(rb"(?!-)[a-z0-9-]{1,63}(?<!-)")
_OWNER_LABEL = re.compile(rb"(?!-)[a-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class ZoneEdit:
    """The edited zone; `data` and serials are equal to the present ones if nothing changes.

    Attributes:
        data: The new content of the zone's own file.
        serial_before: The present serial.
        serial_after: The new serial.
        changed: Whether the zone changes.
        included: The new content of changed included files, by the path in their $INCLUDE line.
        null_mx: The planned names that accept no mail and are left alone.
        ttls: The TTLs in seconds that the planned names' MX records had.
        mixed_ttls: The changed names whose MX records state several TTLs, of which a server serves one.
        replaced: The MX records of each name whose records or TTL change.
        kept_ttls: Whether another record got the TTL that BIND serves now, because a line before it is removed.
    """

    data: bytes
    serial_before: int
    serial_after: int
    changed: bool
    included: Mapping[str, bytes] = field(default_factory=dict)
    null_mx: Sequence[Name] = ()
    ttls: Mapping[Name, int] = field(default_factory=dict)
    mixed_ttls: Sequence[Name] = ()
    kept_ttls: bool = False
    replaced: Mapping[Name, Sequence[Mx]] = field(default_factory=dict)


def plan_names(
    zone: str, owners: Sequence[tuple[str, Sequence[tuple[int, str]] | None]]
) -> tuple[Name, dict[Name, list[Mx] | None]]:
    """Parse the plan of one zone; names are absolute, with or without the final dot; None keeps the records.

    Raises:
        ZoneError: An owner is not in the zone or is listed twice, or a value is not valid in DNS. Every problem is
            listed.
    """
    problems: list[str] = []
    apex = _checked_name(zone, "zone", problems, host=False)
    plan: dict[Name, list[Mx] | None] = {}
    for text, records in owners:
        where = f"zone {zone}, {text}"
        owner = _checked_name(text, f"zone {zone}: owner", problems, host=False)
        if owner[-len(apex) :] != apex:
            problems.append(f"zone {zone}: owner {text!r} does not lie in the zone")
        if owner in plan:
            problems.append(f"zone {zone}: owner {text!r} is listed twice")
        if records is None:
            plan[owner] = None
            continue
        wanted = [
            (preference, _checked_name(to, f"{where}: exchange", problems, host=True)) for preference, to in records
        ]
        for preference, to in records:
            if not 0 <= preference <= 65535:
                problems.append(f"{where}: preference {preference} of {to} is not between 0 and 65535")
        if len({to for _unused, to in wanted}) < len(wanted):
            problems.append(f"{where}: an exchange is listed twice")
        plan[owner] = sorted(wanted)
    if problems:
        raise ZoneError(*problems)
    return apex, plan


def _checked_name(text: str, what: str, problems: list[str], *, host: bool) -> Name:
    """Parse a name; add a problem if it is not a valid host or domain name."""
    try:
        name = to_name(text, ())
    except ValueError:
        name = ()
    labels = name[1:] if not host and name[:1] == (b"*",) else name
    label = _HOST_LABEL if host else _OWNER_LABEL
    if not labels or not all(label.fullmatch(part) for part in labels) or sum(len(part) + 1 for part in name) > 254:
        problems.append(f"{what} {text!r} is not a valid {'host' if host else 'domain'} name")
    elif host and labels[-1].isdigit():
        problems.append(f"{what} {text!r} is an address, but an MX target must be a name (RFC 5321, section 5.1)")
    return name


def edit_zone(
    data: bytes,
    zone: Name,
    plan: Plan,
    *,
    path: str,
    include: Include,
    today: date,
    ttls: Mapping[Name, int] | None = None,
    served: int | None = None,
    served_ttls: Mapping[Name, int] | None = None,
    relative: Collection[Name] = (),
) -> ZoneEdit:
    """Return the zone file `data` with exactly the planned MX records of each planned owner.

    Args:
        data: The present content of the zone's own file.
        zone: The zone's name.
        plan: The MX records of the planned names.
        path: The path of the file, for messages.
        include: Reads included files.
        today: The date for a serial of the form YYYYMMDDnn.
        ttls: The planned TTLs in seconds; other owners keep theirs.
        served: The serial that the server answers with.
        served_ttls: The TTLs to keep for names whose MX records state several; by default the lowest.
        relative: The exchanges that new records state relative to the origin; others are absolute.

    Raises:
        ZoneError: The zone cannot be edited safely.
    """
    file = read_zone(data, zone, path, include)
    editor = _Editor(file, zone, plan, ttls or {}, served_ttls or {}, relative=relative)
    serial = editor.serial()
    editor.refuse_signed()
    for owner, wanted in plan.items():
        editor.edit(owner, wanted)
    if editor.problems:
        raise ZoneError(*editor.problems)
    report = editor.null_mx, editor.old_ttls, editor.mixed_ttls
    if not editor.changed:
        return ZoneEdit(data, serial, serial, False, {}, *report)
    kept = [keep_served_ttls(part.document, plan) for part in editor.parts]
    after = next_serial(serial, today, served)
    editor.set_serial(after)
    own, included = editor.render()
    return ZoneEdit(own, serial, after, True, included, *report, any(kept), editor.replaced)


def with_serial(data: bytes, zone: Name, serial: int, *, path: str, include: Include) -> tuple[bytes, dict[str, bytes]]:
    """Return a zone's files with another serial: its own file, and the included files by the path in $INCLUDE lines.

    Raises:
        ZoneError: The zone has no valid SOA record.
    """
    file = read_zone(data, zone, path, include)
    editor = _Editor(file, zone, {}, {}, {})
    editor.set_serial(serial)
    own, changed = editor.render()
    return own, {
        part.file.path: changed.get(part.file.path, part.file.text.encode("latin-1")) for part in editor.parts[1:]
    }


class _Editor:
    """The edit of one zone: its files, and what was found and changed so far."""

    def __init__(
        self,
        file: ZoneFile,
        zone: Name,
        plan: Plan,
        ttls: Mapping[Name, int],
        served_ttls: Mapping[Name, int],
        *,
        relative: Collection[Name] = (),
    ) -> None:
        self.file, self.zone, self.ttls, self.served_ttls = file, zone, ttls, served_ttls
        self.problems: list[str] = []
        self.null_mx: list[Name] = []
        self.old_ttls: dict[Name, int] = {}
        self.mixed_ttls: list[Name] = []
        self.replaced: dict[Name, list[Mx]] = {}
        self.changed = False
        # The planned names and those between them and the apex, next to which new records may be added.
        watched = {owner[cut:] for owner in plan for cut in range(max(1, len(owner) - len(zone)))}
        self.parts = [Part(each, zone, watched, relative) for each in files_of(file)]
        self.soas = self._find_soas()

    def serial(self) -> int:
        """Return the serial in the SOA record."""
        part, index = self.soas[0]
        return int(record_of(part.file.text, part.entries[index]).rdata[2].text)

    def set_serial(self, serial: int) -> None:
        """Set the serial in the SOA record."""
        for part, index in self.soas:
            word = record_of(part.file.text, part.entries[index]).rdata[2]
            # The apex's MX records may already follow the SOA record.
            part.document.keep(index)[0].body = part.document.body(index, word.start, word.end, str(serial))

    def _find_soas(self) -> list[tuple[Part, int]]:
        """Return file and index of the zone's SOA record, and of the repetitions of it that BIND ignores."""
        found = [
            (part, index) for part in self.parts for index, entry in enumerate(part.entries) if entry.rtype == "SOA"
        ]
        where = ", ".join(f"{part.file.path} line {part.entries[index].line}" for part, index in found) or "none"
        if not found or any(part.entries[index].owner != self.zone for part, index in found):
            raise ZoneError(f"{self.file.path}: expected one SOA record, of {spell(self.zone)}; found: {where}")
        if len({self._read_soa(part, index) for part, index in found}) > 1:
            raise ZoneError(
                f"{self.file.path}: the SOA records of {spell(self.zone)} differ, so it is not certain which one is "
                f"served: {where}. Remove all but one"
            )
        return found

    def _read_soa(self, part: Part, index: int) -> tuple[Name | int | None, ...]:
        """Return the fields of an SOA record; raise ZoneError for a malformed one."""
        entry = part.entries[index]
        rdata = record_of(part.file.text, entry).rdata
        if len(rdata) != 7 or not rdata[2].text.isdecimal() or int(rdata[2].text) >= 2**32:
            raise ZoneError(
                f"{part.file.path}, line {entry.line}: not an SOA record with seven fields and a valid serial"
            )
        try:
            names = [to_name(word.text, entry.origin) for word in rdata[:2]]
        except ValueError as error:
            raise ZoneError(f"{part.file.path}, line {entry.line}: {error}") from error
        return *names, int(rdata[2].text), *(to_ttl(word.text) for word in rdata[3:])

    def refuse_signed(self) -> None:
        """Raise ZoneError if the zone file has DNSSEC signatures."""
        for part in self.parts:
            entry = next((entry for entry in part.entries if entry.rtype in _SIGNED), None)
            if entry:
                raise ZoneError(
                    f"{part.file.path}, line {entry.line}: {entry.rtype} record: the zone is signed manually, and an "
                    "edit would invalidate its signatures. Edit its unsigned source and sign that again"
                )

    def edit(self, owner: Name, planned: Sequence[Mx] | None) -> None:
        """Change the records of one owner; `planned` None keeps them and sets the TTL only."""
        problems = len(self.problems)
        # By file, in reading order: the indexes of the name's MX records, and the records.
        have = [{index: self._read_mx(part, index) for index in part.mx_entries(owner)} for part in self.parts]
        if len(self.problems) > problems:
            return
        lines = [mx for each in have for mx in each.values()]
        ttls = {part.entries[index].ttl for part, each in zip(self.parts, have, strict=True) for index in each} - {None}
        if ttls:
            self.old_ttls[owner] = max(ttl for ttl in ttls if ttl is not None)
        if _NULL in lines:
            self._respect_null(owner, lines)
            return
        if planned is not None and self._is_delegated(owner):
            return
        ttl = self.ttls.get(owner)
        same = planned is None or set(lines) == set(planned)
        if same and (ttl is None or ttls <= {ttl}):
            return
        if planned and any(
            part.entries[index].rtype == "CNAME" for part in self.parts for index in part.by_owner.get(owner, ())
        ):
            self.problems.append(
                f"{self.file.path}: {spell(owner)} is a CNAME, which excludes MX records (RFC 1034, section 3.6.2). "
                "Replace it with address records, or remove the domain from the inventory"
            )
            return
        self.changed = True
        self.replaced[owner] = list(dict.fromkeys(lines))
        if ttl is None and len(ttls) > 1:
            # A record set has one TTL (RFC 2181, section 5.2). Which one applies is for the server to say.
            ttl = self.served_ttls.get(owner, min(each for each in ttls if each is not None))
            self.mixed_ttls.append(owner)
        home = next((k for k, each in enumerate(have) if each), 0)
        for k, (part, each) in enumerate(zip(self.parts, have, strict=True)):
            if same:
                part.rewrite(owner, list(dict.fromkeys(each.values())), each, ttl)
            elif k == home or each:
                part.rewrite(owner, (planned or []) if k == home else [], each, ttl)

    def _is_delegated(self, owner: Name) -> bool:
        """Add a problem if another zone has the name: BIND does not answer with records below a delegation."""
        for part in self.parts:
            for cut in range(len(owner) - len(self.zone)):
                for index in part.by_owner.get(owner[cut:], ()):
                    if part.entries[index].rtype in {"NS", "TYPE2"}:
                        self.problems.append(
                            f"{part.file.path}, line {part.entries[index].line}: {spell(owner[cut:])} is delegated, so "
                            f"MX records of {spell(owner)} in this zone would not be found. Add the delegated zone to "
                            "the mailgate_dns.zones of its primary server"
                        )
                        return True
        return False

    def _respect_null(self, owner: Name, lines: list[Mx]) -> None:
        """Leave a null MX alone; add a problem if it is not the only MX record."""
        if set(lines) == {_NULL}:
            self.null_mx.append(owner)
        else:
            self.problems.append(
                f"{self.file.path}: {spell(owner)} has a null MX and other MX records, which RFC 7505, section 3 "
                "forbids. Remove one or the other"
            )

    def _read_mx(self, part: Part, index: int) -> Mx:
        """Parse an MX record; on a problem, record it and return a value that equals no planned one."""
        entry = part.entries[index]
        rdata = record_of(part.file.text, entry).rdata
        try:
            if rdata and rdata[0].text == GENERIC:
                return generic_mx([word.text for word in rdata])
            if len(rdata) != 2 or not rdata[0].text.isdecimal():
                raise ValueError(f"the MX record of {spell(entry.owner)} does not have the form `MX preference name`")
            exchange = to_name(rdata[1].text, entry.origin)
        except ValueError as error:
            self.problems.append(f"{part.file.path}, line {entry.line}: {error}")
            return -1, ()
        return (int(rdata[0].text), exchange) if exchange else _NULL

    def render(self) -> tuple[bytes, dict[str, bytes]]:
        """Return the zone's own file and the included files that changed."""
        documents = {id(part.file): part.document for part in self.parts}
        documents[id(self.file)].render(documents, State())
        own, *included = self.parts
        changed = {
            part.file.path: part.document.rendered.encode("latin-1")
            for part in included
            if part.document.rendered != part.file.text
        }
        paths = [part.file.path for part in included]
        for path in changed:
            if paths.count(path) > 1:
                raise ZoneError(
                    f"{self.file.path}: it includes {path} more than once, so a change there would affect other "
                    "names too. Move these MX records into the zone's own file"
                )
        return own.document.rendered.encode("latin-1"), changed


def files_of(file: ZoneFile) -> Iterator[ZoneFile]:
    """Yield a zone's own file, then all files that it includes, in reading order."""
    yield file
    for entry in file.entries:
        if entry.included:
            yield from files_of(entry.included)
