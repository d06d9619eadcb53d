# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The lines of a zone file that is edited: their style, and what each line inherits from the previous one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .file import (
    Entry,
    Field,
    Name,
    ZoneError,
    ZoneFile,
    record_of,
    spell,
    split_record,
    to_ttl,
    words_in,
)

Mx = tuple[int, Name]
"""A preference and an exchange."""

GENERIC = "\\#"
"""The first word of generic data (RFC 3597)."""

_TAB = 8


@dataclass(frozen=True, slots=True)
class State:
    """What a line passes to the next one: the owner, the TTL of `$TTL`, and the TTL of the previous record."""

    owner: Name | None = None
    default: int | None = None
    last: int | None = None


@dataclass(slots=True)
class Line:
    """A record to be written; `lead` is the owner, if it is stated, and the white space before the first field."""

    lead: str
    body: str
    eol: str
    owner: Name
    origin: Name
    ttl: int | None  # that it must have; None for any inherited TTL

    @property
    def explicit(self) -> bool:
        """Whether the line states its owner."""
        return not self.lead.startswith((" ", "\t"))


class Document:
    """A zone file, and the lines that replace its entries or follow them."""

    def __init__(self, file: ZoneFile, relative: Collection[Name] = ()) -> None:
        """Begin with the file as it is; new records state exchanges in `relative` relative to the origin."""
        self.file = file
        self.relative = relative
        self.text = file.text
        self.entries = file.entries
        self.replaced: dict[int, list[Line]] = {}
        self.behind: dict[int, list[Line]] = {}
        self.appended: list[Line] = []
        self._removed_leads: dict[tuple[Name, Name], str] = {}
        self.eol = next((entry.eol for entry in self.entries if entry.eol), "\n")
        self.rendered = self.text

    # -- removing, keeping and adding lines ----------------------------------------------------------------------

    def lead(self, index: int) -> str:
        """Return the text before the first field of a record, without a parenthesis that ends behind it."""
        entry = self.entries[index]
        return self.text[entry.start : entry.lead_end].lstrip("(")

    def keep(self, index: int) -> list[Line]:
        """Return the lines that replace an entry, initially the entry itself; the caller may change the list."""
        entry = self.entries[index]
        lead, body = self.text[entry.start : entry.lead_end], self.text[entry.lead_end : entry.end]
        line = Line(lead, body, entry.eol, entry.owner, entry.origin, entry.ttl)
        return self.replaced.setdefault(index, [line])

    def remove(self, index: int) -> None:
        """Remove a record; keep the spelling of its owner for the records that inherited it."""
        entry = self.entries[index]
        self.replaced[index] = []
        if entry.explicit:
            self._removed_leads[entry.owner, entry.origin] = self.lead(index)

    def body(self, index: int, word_start: int, word_end: int, new: str) -> str:
        """Return the body of an entry with one word replaced."""
        entry = self.entries[index]
        return self.text[entry.lead_end : word_start] + new + self.text[word_end : entry.end]

    def retargeted(self, index: int, mx: Mx) -> str:
        """Return the body of an MX record with another preference; keep spacing and comment."""
        record = record_of(self.text, self.entries[index])
        old = record.rdata[0]
        if old.text == GENERIC:
            if generic_mx([word.text for word in record.rdata]) == mx:
                return self.body(index, old.start, old.end, old.text)
            head = sorted((word for word in record[:2] if isinstance(word, Field)), key=lambda word: word.start)
            name = self._exchange(mx[1], self.entries[index].origin)
            return " ".join([*(word.text for word in head), "MX", str(mx[0]), name])
        if int(old.text) == mx[0]:
            return self.body(index, old.start, old.end, old.text)
        return self.body(index, old.start, old.end, str(mx[0]))

    def hanging(self, index: int) -> str:
        """Return the lead of another line of the same owner next to an entry, in the style of its neighbours."""
        entry = self.entries[index]
        lead = self.lead(index)
        if not entry.explicit:
            return lead
        repeats = False
        for near in (index + 1, index - 1):
            other = self.entries[near] if 0 <= near < len(self.entries) else entry
            if other is entry or other.kind != "record" or other.owner != entry.owner:
                continue
            if not other.explicit:
                return self.lead(near)
            repeats = True
        return lead if repeats else blank(lead)

    def named(self, owner: Name, origin: Name, like: int) -> str:
        """Return a lead that states an owner, with the spacing of another entry."""
        return _padded(spell(owner, origin), self.lead(like))

    def _exchange(self, name: Name, origin: Name) -> str:
        """Return an exchange as a new record states it."""
        return spell(name, origin if name in self.relative else None)

    def mx_body(self, mx: Mx, like: int, owner: Name, origin: Name) -> str:
        """Return the fields of an MX record in the style of another record; of this owner's MX also the TTL."""
        name = self._exchange(mx[1], origin)
        entry = self.entries[like]
        record = record_of(self.text, entry)
        is_mx = entry.rtype == "MX"
        words = [record.ttl if is_mx and entry.owner == owner else None, record.rclass]
        head = sorted((word for word in words if word), key=lambda word: word.start)
        rdata = [*record.rdata, Field("", entry.end, entry.end)]
        if any(char in '()"\n;' for char in self.text[entry.lead_end : rdata[0].start]):
            return " ".join([*(word.text for word in head), "MX", str(mx[0]), name])
        nexts = {before.end: after.start for before, after in pairwise(words_in(self.text, entry.lead_end, entry.end))}
        before = "".join(self.text[word.start : nexts[word.end]] for word in head)
        gap = self.text[record.rtype.end : rdata[0].start]
        if is_mx:
            between = self.text[rdata[0].end : rdata[1].start]
            between = between if not between.strip(" \t") else " "
            return f"{before}{record.rtype.text}{gap}{mx[0]}{between}{name}"
        if not gap.strip(" "):
            gap = " " * max(1, len(record.rtype.text) + len(gap) - len("MX"))
        return f"{before}MX{gap}{mx[0]} {name}"

    # -- rendering ------------------------------------------------------------------------------------------------

    def render(self, documents: Mapping[int, Document], state: State) -> State:
        """Render this file and those it includes into `rendered`; state owners that are no longer inherited.

        Args:
            documents: The documents of all files, by the `id` of their ZoneFile.
            state: What the first line inherits.

        Returns:
            What a line after the last one inherits.

        Raises:
            ZoneError: An unplanned record would inherit another TTL from its new predecessor.
        """
        pieces: list[tuple[str, str]] = []
        for line in self._lines():
            if isinstance(line, Entry) and line.kind != "record":
                pieces.append((self.text[line.start : line.end], line.eol))
                if line.kind == "ttl":
                    state = replace(state, default=line.ttl)
                elif line.included:
                    # The owner resumes after an included file, the TTLs continue.
                    inner = documents[id(line.included)].render(documents, state)
                    state = replace(inner, owner=state.owner)
                continue
            piece, state = self._record(line, state)
            pieces.append((piece, line.eol))
        self.rendered = self._join(pieces)
        return state

    def _record(self, line: Entry | Line, state: State) -> tuple[str, State]:
        """Return the text of a record and the state after it."""
        if isinstance(line, Entry):
            lead, body = self.text[line.start : line.lead_end], self.text[line.lead_end : line.end]
            is_soa, own_ttl = line.rtype == "SOA", line.ttl if line.own_ttl else None
        else:
            lead, body = line.lead, line.body
            record = split_record(words_in(body, 0, len(body)))
            is_soa, own_ttl = record.rtype.text.upper() == "SOA", record.ttl and to_ttl(record.ttl.text)
        if not line.explicit and line.owner != state.owner:
            lead = self._with_owner(lead, line.owner, line.origin)
        default = state.default
        last = own_ttl if own_ttl is not None else default if default is not None else state.last
        if last is None and is_soa:
            last = default = line.ttl
        if line.ttl not in {last, None}:
            raise ZoneError(
                f"{self.file.path}: a record of {spell(line.owner)} inherits its TTL from the previous line, so no "
                "MX record can be changed there. Add a $TTL line at the top of the file, or give that record a TTL"
            )
        return lead + body, State(line.owner, default, last)

    def _lines(self) -> Iterator[Entry | Line]:
        """Yield the entries that stay and the lines that replace or follow others."""
        for index, entry in enumerate(self.entries):
            yield from self.replaced.get(index, (entry,))
            yield from self.behind.get(index, ())
        yield from self.appended

    def _with_owner(self, lead: str, owner: Name, origin: Name) -> str:
        """Return a lead that states the owner, as a removed record spelled it."""
        name = self._removed_leads.get((owner, origin), spell(owner, origin)).rstrip(" \t")
        return _padded(name, lead)

    def _join(self, pieces: list[tuple[str, str]]) -> str:
        """Join lines; the last one has a line end only if the file had."""
        if not pieces:
            return ""
        ended = bool(self.entries[-1].eol)
        whole = [text + (eol or self.eol) for text, eol in pieces[:-1]]
        text, eol = pieces[-1]
        whole.append(text + ((eol or self.eol) if ended else ""))
        return "".join(whole)


def generic_mx(words: Sequence[str]) -> Mx:
    """Return an MX record from generic data, `\\# LENGTH HEX ...`; raise ValueError for another form."""
    try:
        data = bytes.fromhex("".join(words[2:]))
        labels, offset = [], 2
        while data[offset]:
            labels.append(data[offset + 1 : offset + 1 + data[offset]].lower())
            offset += 1 + data[offset]
    except (ValueError, IndexError):
        data, labels, offset = b"", [], 0
    if not data or offset + 1 != len(data) or words[1] != str(len(data)):
        raise ValueError(f"{' '.join(words)} is not the generic data of an MX record")
    return int.from_bytes(data[:2], "big"), tuple(labels)


def with_ttl(body: str, ttl: int, inherited: int | None, default: int | None = None) -> str:
    """Return a record's body with a TTL in seconds, stated only if it differs from the inherited one.

    A stated TTL is removed when it equals that of `$TTL`, `default`; so a TTL set and reset leaves no difference.
    """
    words = words_in(body, 0, len(body))
    record = split_record(words)
    if record.ttl:
        start, end = record.ttl.start, record.ttl.end
        if to_ttl(record.ttl.text) == ttl:
            return body
        if default == ttl and body[end : end + 1] in {" ", "\t"}:
            return body[:start] + body[end + 1 :]
        return f"{body[:start]}{ttl}{body[end:]}"
    if inherited == ttl:
        return body
    start, gap = words[0].start, body[words[0].end : words[0].end + 1]
    return f"{body[:start]}{ttl}{gap if gap in {' ', chr(9)} else ' '}{body[start:]}"


def blank(lead: str) -> str:
    """Return white space as wide as a lead, in tabs where the lead has them."""
    to_last_tab, tab, behind = lead.rpartition("\t")
    if not tab:
        return " " * len(lead)
    return "\t" * (_width(to_last_tab + tab) // _TAB) + behind


def _padded(name: str, like: str) -> str:
    """Return a lead with this name, as wide as another lead if it fits."""
    to_last_tab, tab, behind = like.rpartition("\t")
    column = _width(to_last_tab + tab) if tab else len(like)
    if column <= len(name):
        return name + (tab or " ")
    if tab:
        return name + "\t" * (column // _TAB - len(name) // _TAB) + behind
    return name + " " * (column - len(name))


def _width(text: str) -> int:
    """Return the width of a text in columns."""
    return len(text.expandtabs(_TAB))
