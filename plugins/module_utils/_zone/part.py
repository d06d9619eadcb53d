# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""One file of a zone, the zone's own or an included one: where the MX lines of a name stand in it, and how they change.

A line whose target stays only gets its new preference and keeps its comment; new lines take the place of removed ones,
or stand behind the name's other records, in their neighbours' style.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby

from .file import Name, ZoneFile
from .lines import Document, Line, Mx, blank, with_ttl

MX_TYPES = frozenset({"MX", "TYPE15"})

_NewLines = Sequence[tuple[Mx, "int | None"]]
"""Lines to write, each with the index of the entry that it is moved from, if any."""


class Part:
    """A file of the zone `zone`, with the entries of the `watched` names at hand."""

    def __init__(self, file: ZoneFile, zone: Name, watched: Collection[Name]) -> None:
        self.file, self.zone = file, zone
        self.entries = file.entries
        self.document = Document(file)
        self.by_owner: dict[Name, list[int]] = {}
        self.last_record = 0
        for at, entry in enumerate(self.entries):
            if entry.kind == "record":
                self.last_record = at
                if entry.owner in watched:
                    self.by_owner.setdefault(entry.owner, []).append(at)

    def mx_entries(self, owner: Name) -> list[int]:
        """Gives where a watched name's MX records are."""
        return [at for at in self.by_owner.get(owner, ()) if self.entries[at].rtype in MX_TYPES]

    def rewrite(self, owner: Name, wanted: Sequence[Mx], have: Mapping[int, Mx], ttl: int | None) -> None:
        """Makes the MX lines of a name the wanted ones, with this TTL in seconds; None: with what each has.

        Leaves the longest run of lines already in planned order where it is; moves, adds and removes the others.
        """
        at = list(have)
        partner = {k: at[j] for k, j in _pair(wanted, list(have.values())).items()}
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
            self._place(
                owner, [(wanted[k], partner.get(k)) for k in members], ttl, slot=slot, before=before, behind=behind
            )
        if ttl is not None:
            for i in at:
                for line in self.document.replaced[i]:
                    line.body = with_ttl(line.body, ttl, line.ttl, self.entries[i].default_ttl)
                    line.ttl = ttl

    def _place(
        self, owner: Name, lines: _NewLines, ttl: int | None, *, slot: int | None, before: int, behind: int
    ) -> None:
        """Puts lines into the place of a removed one, else behind or before one that stays, else into the file."""
        document = self.document
        if slot is not None:
            lead, hang = document.lead(slot), document.hanging(slot)
            document.replaced[slot] += self._lines(owner, lines, ttl, at=slot, head=lead, hang=hang)
        elif before >= 0:
            hang = document.hanging(before)
            document.replaced[before] += self._lines(owner, lines, ttl, at=before, head=hang, hang=hang)
        elif behind < len(self.entries):
            kept = document.keep(behind)[0]
            hang = document.hanging(behind)
            document.replaced[behind][:0] = self._lines(owner, lines, ttl, at=behind, head=kept.lead, hang=hang)
            kept.lead = hang
        else:
            self._place_first(owner, lines, ttl)

    def _place_first(self, owner: Name, lines: _NewLines, ttl: int | None) -> None:
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
            document.behind.setdefault(last, []).extend(self._lines(owner, lines, ttl, at=last, head=head, hang=hang))
            return
        head = document.named(owner, self.file.end_origin, self.last_record)
        document.appended += self._lines(owner, lines, ttl, at=None, head=head, hang=blank(head))

    def _lines(
        self, owner: Name, lines: _NewLines, set_ttl: int | None, *, at: int | None, head: str, hang: str
    ) -> Iterator[Line]:
        """Makes lines for beside entry `at` (None: for the end of the file), in its style."""
        document = self.document
        like = self.entries[self.last_record if at is None else at]
        origin = self.file.end_origin if at is None else like.origin
        inherited = self.file.end_default_ttl if at is None else None if like.own_ttl else like.ttl
        default = self.file.end_default_ttl if at is None else like.default_ttl
        for k, (mx, moved) in enumerate(lines):
            if moved is not None and self.entries[moved].origin == origin:
                body, ttl = document.retargeted(moved, mx[0]), self.entries[moved].ttl
            else:
                body, ttl = document.mx_body(mx, self.last_record if at is None else at, owner), inherited
            if set_ttl is not None:
                body, ttl = with_ttl(body, set_ttl, ttl, default), set_ttl
            yield Line(hang if k else head, body, like.eol, owner, origin, ttl)


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
