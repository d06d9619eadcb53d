# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""A parser of zone files into logical lines that loses no byte.

The grammar is RFC 1035 section 5 with BIND's `$TTL` (RFC 2308), `$GENERATE` and TTL units. A logical line ("entry") is
a record, which parentheses may spread over several lines of text, a directive, or a blank or comment line.
The text is the file decoded as latin-1, so that every byte is one character and decoding cannot fail.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

Name = tuple[bytes, ...]
"""An absolute name: its labels in lower case, without the root label."""

Include = Callable[[str], bytes]
"""Returns the content of the file that `$INCLUDE` names; raises OSError."""

MAX_INCLUDE_DEPTH = 16

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)
    | (?P<word>(?:[^ \t\r\n;()"\\]|\\[^\r\n])+)
    | (?P<eol>\r*\n)
    | (?P<comment>;(?:[^\r\n]|\r+(?!\r*\n))*)
    | (?P<quoted>"(?:[^"\\\r\n]|\\[^\r])*")
    | (?P<paren>[()])""",
    re.VERBOSE,
)
# A record on one line without special characters, like most lines of a large zone.
_PRINTED = r"!#-'*-:<-\[\]-~"  # ASCII without space, quotes, parentheses, semicolon and backslash
_PLAIN = re.compile(
    rf"(?P<owner>(?!\$)[{_PRINTED}]+)?[ \t]+(?P<first>[{_PRINTED}]+)[ \t]+(?P<second>[{_PRINTED}]+)"
    rf"(?:[ \t]+(?P<third>[{_PRINTED}]+))?[{_PRINTED} \t]*(?P<eol>\r?\n)"
)
_TTL = re.compile(r"(?:\d+|(?:\d+[wdhms])+)", re.IGNORECASE)
_TTL_PART = re.compile(r"(\d+)([wdhms]?)", re.IGNORECASE)
_TTL_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_CLASSES = frozenset({"IN", "CH", "HS", "CS", "CLASS1", "CLASS3", "CLASS4"})
_ESCAPE = re.compile(rb"\\(\d{3}|.)", re.DOTALL)


class ZoneError(ValueError):
    """A zone that cannot be edited safely; each of `problems` has the place, the problem and the fix."""

    def __init__(self, *problems: str) -> None:
        """Keep the problems; the message has one a line."""
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Field(NamedTuple):
    """One word of an entry: its text (quotes included) and its span in the file's text."""

    text: str
    start: int
    end: int


class Record(NamedTuple):
    """The fields of a record after its owner; `ttl` and `rclass` are optional and come in either order."""

    ttl: Field | None
    rclass: Field | None
    rtype: Field
    rdata: list[Field]


@dataclass(slots=True)
class Entry:
    """One logical line: `text[start:end]`, followed by its line end `eol` ("" at the end of a file without one)."""

    start: int
    end: int
    eol: str
    line: int
    kind: str = "blank"  # blank | record | origin | ttl | include | generate | date
    owner: Name = ()  # of a record, inherited or not
    explicit: bool = False  # whether a record states its owner
    lead_end: int = 0  # where the first field after the owner begins
    origin: Name = ()  # the origin in effect; of an $ORIGIN line, the one it sets
    rtype: str = ""
    own_ttl: bool = False  # whether a record states its TTL
    class_first: bool = False  # whether the TTL follows the class
    ttl: int | None = None  # the effective TTL in seconds; of a $TTL line, its value
    default_ttl: int | None = None  # of a record: the value of `$TTL`
    included: ZoneFile | None = None


@dataclass(slots=True)
class ZoneFile:
    """A file's text, its entries in order, and the origin and TTLs in effect at its end."""

    path: str
    text: str
    entries: list[Entry] = field(default_factory=list)
    end_origin: Name = ()
    end_default_ttl: int | None = None
    end_last_ttl: int | None = None


def to_name(text: str, origin: Name) -> Name:
    r"""Parse a name in presentation format (`@`, relative, absolute, `\.` and `\DDD` escapes).

    Raises:
        ValueError: The name has an empty label or an invalid escape.
    """
    if text == "@":
        return origin
    if text == ".":
        return ()
    raw = text.encode("latin-1")
    if b"\\" not in raw:
        labels = raw.lower().split(b".")
    else:
        labels = [b""]
        offset = 0
        while offset < len(raw):
            escape = _ESCAPE.match(raw, offset)
            if escape:
                code = escape[1]
                if len(code) == 3 and int(code) > 255:
                    raise ValueError(f"invalid escape \\{code.decode()} in the name {text}")
                labels[-1] += bytes([int(code)]) if len(code) == 3 else code
                offset = escape.end()
            elif raw[offset] == ord("."):
                labels.append(b"")
                offset += 1
            else:
                labels[-1] += raw[offset : offset + 1]
                offset += 1
        labels = [label.lower() for label in labels]
    absolute = labels[-1] == b""
    if absolute:
        labels.pop()
    if b"" in labels or not labels:
        raise ValueError(f"the name {text} has an empty label")
    return tuple(labels) if absolute else (*labels, *origin)


def spell(name: Name, origin: Name | None = None) -> str:
    """Return a name in presentation format: `@` or relative if it lies in `origin`, else absolute."""
    if origin is not None and name == origin:
        return "@"
    relative = bool(origin) and len(name) > len(origin or ()) and name[-len(origin or ()) :] == origin
    labels = name[: len(name) - len(origin or ())] if relative else name
    text = ".".join(_spell_label(label) for label in labels)
    return text if relative else text + "."


def _spell_label(label: bytes) -> str:
    """Return a label in presentation format."""
    return "".join(
        chr(c) if chr(c).isascii() and (chr(c).isalnum() or chr(c) in "-_*/") else f"\\{c:03d}" for c in label
    )


def to_ttl(text: str) -> int | None:
    """Parse a TTL in seconds or with BIND's units (`1h30m`); return None for another word."""
    if not _TTL.fullmatch(text):
        return None
    return sum(int(number) * _TTL_UNITS[unit.lower()] for number, unit in _TTL_PART.findall(text))


def split_record(words: list[Field]) -> Record:
    """Split the words after the owner into TTL, class, type and data; raise ValueError without a type."""
    ttl = rclass = None
    for offset, word in enumerate(words):
        if ttl is None and to_ttl(word.text) is not None:
            ttl = word
        elif rclass is None and word.text.upper() in _CLASSES:
            rclass = word
        else:
            return Record(ttl, rclass, word, words[offset + 1 :])
    raise ValueError("record without a type")


def words_in(text: str, start: int, end: int) -> list[Field]:
    """Return the words of a span of text within one entry, without comments and parentheses."""
    tokens = _TOKEN.finditer(text, start, end)
    return [Field(t[0], t.start(), t.end()) for t in tokens if t.lastgroup in {"word", "quoted"}]


def record_of(text: str, entry: Entry) -> Record:
    """Parse the fields of a record again; they are not stored, as a zone may have a million records."""
    return split_record(words_in(text, entry.lead_end, entry.end))


def read_zone(data: bytes, zone: Name, path: str, include: Include) -> ZoneFile:
    """Parse a zone's file and all files that it includes.

    Raises:
        ZoneError: A syntax error, with its file and line.
    """
    return _Reader(zone, include).read(data.decode("latin-1"), path, 0)


class _Reader:
    """The state that BIND keeps from line to line: origin, owner and TTLs."""

    def __init__(self, origin: Name, include: Include) -> None:
        self.origin = origin
        self.owner: Name | None = None
        self.default_ttl: int | None = None
        self.last_ttl: int | None = None
        self.include = include

    def read(self, text: str, path: str, depth: int) -> ZoneFile:
        """Parse the text of one file."""
        result = ZoneFile(path, text)
        offset, line = 0, 1
        while offset < len(text):
            plain = _PLAIN.match(text, offset)
            try:
                if plain and (plain["owner"] or self.owner is not None) and self._plain(result.entries, plain, line):
                    line += 1
                    offset = plain.end()
                    continue
                entry, words = _logical_line(text, offset, line)
                entry.origin = self.origin
                if words:
                    self._parse_entry(text, entry, words, depth)
            except ZoneError:
                raise
            except ValueError as error:
                raise ZoneError(f"{path}, line {line}: {error}") from error
            result.entries.append(entry)
            line += 1 + text.count("\n", entry.start, entry.end)
            offset = entry.end + len(entry.eol)
        result.end_origin = self.origin
        result.end_default_ttl, result.end_last_ttl = self.default_ttl, self.last_ttl
        return result

    def _plain(self, entries: list[Entry], found: re.Match[str], line: int) -> bool:
        """Add a record that `_PLAIN` matched; return False if it must be parsed in full."""
        own_ttl: int | None = None
        rclass = False
        class_first = False
        rtype = ""
        for word in found.group("first", "second", "third"):
            if word is None:
                return False
            if own_ttl is None and word[0].isdigit() and (ttl := to_ttl(word)) is not None:
                own_ttl, class_first = ttl, rclass
            elif not rclass and word.upper() in _CLASSES:
                rclass = True
            else:
                rtype = word.upper()
                break
        if not rtype or rtype == "SOA":
            return False
        if found["owner"]:
            self.owner = to_name(found["owner"], self.origin)
        entry = Entry(found.start(), found.start("eol"), found["eol"], line, "record", self.owner or ())
        entry.explicit = found["owner"] is not None
        entry.lead_end = found.start("first")
        entry.origin, entry.rtype = self.origin, sys.intern(rtype)
        if own_ttl is not None:
            entry.own_ttl, entry.ttl, entry.class_first = True, own_ttl, class_first
        self._set_ttl(entry, "")
        entries.append(entry)
        return True

    def _parse_entry(self, text: str, entry: Entry, words: list[Field], depth: int) -> None:
        """Set the fields of an entry from its words."""
        head = words[0].text
        indented = text[entry.start] in {" ", "\t"}
        if not indented:
            head = head.strip('"') or head
        if not indented and head.startswith("$"):
            self._directive(entry, head.upper(), [word.text for word in words[1:]], depth)
            return
        entry.kind = "record"
        if not indented:
            self.owner = to_name(head, self.origin)
            entry.explicit = True
            words = words[1:]
            if text[entry.start] == "(" and words:
                entry.lead_end = words[0].start
        if self.owner is None:
            raise ValueError("the first record states no owner")
        entry.owner = self.owner
        record = split_record(words)
        entry.rtype = record.rtype.text.upper()
        if record.ttl:
            entry.own_ttl, entry.ttl = True, to_ttl(record.ttl.text)
            entry.class_first = record.rclass is not None and record.rclass.start < record.ttl.start
        self._set_ttl(entry, words[-1].text)

    def _set_ttl(self, entry: Entry, last_word: str) -> None:
        """Set the TTL by BIND's rule: its own, else `$TTL`, else that of the previous record, else the SOA minimum."""
        if entry.ttl is None:
            entry.ttl = self.default_ttl if self.default_ttl is not None else self.last_ttl
        if entry.ttl is None and entry.rtype == "SOA":
            entry.ttl = self.default_ttl = to_ttl(last_word)
        self.last_ttl = entry.ttl
        entry.default_ttl = self.default_ttl

    def _directive(self, entry: Entry, head: str, values: list[str], depth: int) -> None:
        """Apply a directive."""
        if head == "$ORIGIN" and len(values) == 1:
            entry.kind = "origin"
            entry.origin = self.origin = to_name(values[0], self.origin)
        elif head == "$TTL" and len(values) == 1:
            entry.kind = "ttl"
            entry.ttl = self.default_ttl = to_ttl(values[0])
            if self.default_ttl is None:
                raise ValueError(f"$TTL {values[0]} is not a valid TTL")
        elif head in {"$GENERATE", "$DATE"}:
            entry.kind = head[1:].lower()
        elif head == "$INCLUDE" and len(values) in {1, 2}:
            entry.kind = "include"
            if depth >= MAX_INCLUDE_DEPTH:
                raise ValueError(f"$INCLUDE nested deeper than {MAX_INCLUDE_DEPTH} files (an include loop?)")
            file = values[0].strip('"')
            try:
                data = self.include(file)
            except OSError as error:
                raise ValueError(f"$INCLUDE {file}: {error.strerror or error}") from error
            # Origin and owner resume after the included file, the TTLs continue (BIND, lib/dns/master.c).
            saved = self.origin, self.owner
            if len(values) == 2:
                self.origin = to_name(values[1], self.origin)
            entry.included = self.read(data.decode("latin-1"), file, depth + 1)
            self.origin, self.owner = saved
        else:
            raise ValueError(f"{head} with {len(values)} words is not a supported directive")


def _logical_line(text: str, start: int, line: int) -> tuple[Entry, list[Field]]:
    """Split the entry that begins at `start` into words; raise ValueError on a syntax error."""
    words: list[Field] = []
    offset, nesting, lead_end, eol = start, 0, -1, ""
    while offset < len(text):
        token = _TOKEN.match(text, offset)
        if token is None:
            raise ValueError(_syntax_error(text[offset]))
        offset = token.end()
        kind = token.lastgroup
        if kind == "eol" and not nesting:
            eol = token[0]
            break
        if kind in {"word", "quoted", "paren"}:
            if lead_end < 0 and token.start() > start:
                lead_end = token.start()
            if kind != "paren":
                words.append(Field(token[0], token.start(), offset))
                continue
            nesting += 1 if token[0] == "(" else -1
            if nesting < 0:
                raise ValueError("closing parenthesis without an opening one")
    if nesting:
        raise ValueError("opening parenthesis without a closing one")
    return Entry(start, offset - len(eol), eol, line, lead_end=lead_end), words


def _syntax_error(char: str) -> str:
    """Return the error message for an unexpected character."""
    if char == '"':
        return "quoted string without an end on its line"
    if char == "\r":
        return "carriage return within a line"
    return f"{char!r} at the end of a line"
