# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""One file of a zone, the zone's own or an included one: the places of a name's MX records in it, and their changes.

A record whose target stays only gets its new preference and keeps its comment. New records replace removed ones, or
follow the name's other records, in the style of the neighbouring lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby

from .file import Name, ZoneFile
from .lines import Document, Line, Mx, blank, with_ttl

MX_TYPES = frozenset({"MX", "TYPE15"})

_NewLines = Sequence[tuple[Mx, "int | None"]]
"""Records to write, each with the index of the entry that it is moved from, if any."""


class Part:
    """A file of the zone `zone`, with an index of the entries of the `watched` names."""

    def __init__(self, file: ZoneFile, zone: Name, watched: Collection[Name], relative: Collection[Name] = ()) -> None:
        """Index the entries of the watched names; new records state exchanges in `relative` relative to the origin."""
        self.file, self.zone = file, zone
        self.entries = file.entries
        self.document = Document(file, relative)
        self.by_owner: dict[Name, list[int]] = {}
        self.last_record = 0
        for index, entry in enumerate(self.entries):
            if entry.kind == "record":
                self.last_record = index
                if entry.owner in watched:
                    self.by_owner.setdefault(entry.owner, []).append(index)

    def mx_entries(self, owner: Name) -> list[int]:
        """Return the indexes of a watched name's MX records."""
        return [index for index in self.by_owner.get(owner, ()) if self.entries[index].rtype in MX_TYPES]

    def rewrite(self, owner: Name, wanted: Sequence[Mx], have: Mapping[int, Mx], ttl: int | None) -> None:
        """Set the MX records of a name, with this TTL in seconds or, for None, the TTL that each has.

        The longest run of records that are already in the planned order stays; the others are moved, added and removed.

        Args:
            owner: The name.
            wanted: The planned records.
            have: The present records, by the index of their entries.
            ttl: The planned TTL.
        """
        indexes = list(have)
        partner = {k: indexes[j] for k, j in _pair(wanted, list(have.values())).items()}
        staying = _longest_increasing(partner)
        for i in set(indexes) - {partner[k] for k in staying}:
            self.document.remove(i)
        for k in staying:
            self.document.keep(partner[k])[0].body = self.document.retargeted(partner[k], wanted[k])
        free = sorted(i for i in indexes if self.document.replaced[i] == [])
        before = -1
        for stays, group in groupby(range(len(wanted)), key=lambda k: k in staying):
            members = list(group)
            if stays:
                before = partner[members[-1]]
                continue
            behind = next((partner[k] for k in sorted(staying) if k > members[-1]), len(self.entries))
            slot = next((i for i in free if before < i < behind), None)
            self._place(
                owner, [(wanted[k], partner.get(k)) for k in members], ttl, slot=slot, before=before, behind=behind
            )
        if ttl is not None:
            for i in indexes:
                for line in self.document.replaced[i]:
                    line.body = with_ttl(line.body, ttl, line.ttl, self.entries[i].default_ttl)
                    line.ttl = ttl

    def _place(
        self, owner: Name, lines: _NewLines, ttl: int | None, *, slot: int | None, before: int, behind: int
    ) -> None:
        """Put records in the place of a removed one, else after or before one that stays, else elsewhere."""
        document = self.document
        if slot is not None:
            lead, continuation = document.lead(slot), document.hanging(slot)
            document.replaced[slot] += self._lines(
                owner, lines, ttl, index=slot, first_lead=lead, continuation=continuation
            )
        elif before >= 0:
            continuation = document.hanging(before)
            document.replaced[before] += self._lines(
                owner, lines, ttl, index=before, first_lead=continuation, continuation=continuation
            )
        elif behind < len(self.entries):
            kept = document.keep(behind)[0]
            continuation = document.hanging(behind)
            document.replaced[behind][:0] = self._lines(
                owner, lines, ttl, index=behind, first_lead=kept.lead, continuation=continuation
            )
            kept.lead = continuation
        else:
            self._place_first(owner, lines, ttl)

    def _place_first(self, owner: Name, lines: _NewLines, ttl: int | None) -> None:
        """Put a name's first MX records after its other records, else after its nearest parent's, else at the end."""
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
            continuation = first_lead = document.hanging(last)
            if cut:
                first_lead = document.named(owner, self.entries[last].origin, last)
                continuation = blank(first_lead)
            document.behind.setdefault(last, []).extend(
                self._lines(owner, lines, ttl, index=last, first_lead=first_lead, continuation=continuation)
            )
            return
        first_lead = document.named(owner, self.file.end_origin, self.last_record)
        document.appended += self._lines(
            owner, lines, ttl, index=None, first_lead=first_lead, continuation=blank(first_lead)
        )

    def _lines(
        self,
        owner: Name,
        lines: _NewLines,
        set_ttl: int | None,
        *,
        index: int | None,
        first_lead: str,
        continuation: str,
    ) -> Iterator[Line]:
        """Yield lines in the style of the entry `index`, or, for None, of the end of the file."""
        document = self.document
        like = self.entries[self.last_record if index is None else index]
        origin = self.file.end_origin if index is None else like.origin
        inherited = self.file.end_default_ttl if index is None else None if like.own_ttl else like.ttl
        default = self.file.end_default_ttl if index is None else like.default_ttl
        for k, (mx, moved) in enumerate(lines):
            if moved is not None and self.entries[moved].origin == origin:
                body, ttl = document.retargeted(moved, mx), self.entries[moved].ttl
                # Its place may be below another $TTL than before.
                wanted, here = ttl if set_ttl is None else set_ttl, ttl if default is None else default
            else:
                body, ttl = document.mx_body(mx, self.last_record if index is None else index, owner, origin), inherited
                wanted, here = set_ttl, inherited
            if wanted is not None:
                body, ttl = with_ttl(body, wanted, here, default), wanted
            yield Line(continuation if k else first_lead, body, like.eol, owner, origin, ttl)


def _pair(wanted: Sequence[Mx], have: Sequence[Mx]) -> dict[int, int]:
    """Pair each planned record with the present one of its target, preferably with the same preference."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for key in (slice(0, 2), slice(1, 2)):
        for k, new in enumerate(wanted):
            same = (j for j, old in enumerate(have) if j not in taken and new[key] == old[key])
            if k not in pairs and (j := next(same, None)) is not None:
                pairs[k] = j
                taken.add(j)
    return pairs


def _longest_increasing(partner: Mapping[int, int]) -> set[int]:
    """Return the longest sequence of keys, in order, whose values increase."""
    longest: list[int] = []
    ending: list[list[int]] = []
    for k in sorted(partner):
        run = [*max((run for run in ending if partner[run[-1]] < partner[k]), key=list.__len__, default=[]), k]
        ending.append(run)
        longest = max(longest, run, key=list.__len__)
    return set(longest)
