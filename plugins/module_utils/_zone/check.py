# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The proof of an edit: dnspython or BIND, which share no code with the editor, read both zones; they are compared."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .file import Entry, Include, Name, ZoneError, ZoneFile, read_zone, record_of, spell, to_name, words_in

try:
    import dns.exception
    import dns.name
    import dns.rdatatype
    import dns.zone
except ImportError:
    pass  # reported by _bind.client.DNSPYTHON_ERROR

_HIGH = re.compile(r"\\?([\x80-\xff])")
_Sets = dict[tuple[Name, str], tuple[int, frozenset[Any]]]
"""TTL and records of each owner and type; MX records are (preference, exchange), an SOA record has no serial."""


def prove(
    before: bytes,
    after: bytes,
    zone: Name,
    plan: Mapping[Name, Sequence[tuple[int, Name]] | None],
    *,
    path: str,
    include: Include,
    include_after: Include | None = None,
    ttls: Mapping[Name, int] | None = None,
) -> None:
    """Raise ZoneError unless `after` has the planned MX records and differs from `before` in them and the serial only.

    Args:
        before: The present zone file.
        after: The edited zone file.
        zone: The zone's name.
        plan: The MX records of the planned names.
        path: The path of the zone file, for messages.
        include: Reads included files.
        include_after: Reads the included files of `after`; by default `include`.
        ttls: The planned TTLs in seconds.
    """
    old = _record_sets(before, zone, path, include)
    new = _record_sets(after, zone, path, include_after or include)
    _compare(old, new, zone, plan, path=path, ttls=ttls or {})


def prove_by_bind(
    before: Iterable[bytes],
    after: Iterable[bytes],
    zone: Name,
    plan: Mapping[Name, Sequence[tuple[int, Name]] | None],
    *,
    path: str,
    ttls: Mapping[Name, int] | None = None,
) -> None:
    """Do what `prove` does from BIND's output for both versions, one record a line.

    This needs no dnspython, takes every record that BIND takes, and is fast for a large zone: the lines in which both
    versions differ, and all MX records of the planned names, are compared.
    """
    owners = {spell(owner).encode() for owner in plan}
    texts = set(before), set(after)
    differing = texts[0] ^ texts[1]
    old, new = (
        _sets_in((line for line in text if line in differing or _is_mx_of(line, owners)), owners) for text in texts
    )
    _compare(old, new, zone, plan, path=path, ttls=ttls or {})


def served_ttls(lines: Iterable[bytes], owners: Collection[Name]) -> dict[Name, int]:
    """Return the TTLs of the MX records of these names in BIND's output for a zone, one record a line."""
    wanted = {spell(owner).encode() for owner in owners}
    found = _sets_in((line for line in lines if _is_mx_of(line, wanted)), wanted)
    return {owner: ttl for (owner, _type), (ttl, _records) in found.items()}


def _is_mx_of(line: bytes, owners: Collection[bytes]) -> bool:
    """Return whether a line of BIND's output is an MX record of one of the owners."""
    if b"MX" not in line:
        return False
    words = line.split(None, 4)
    return words[3:4] == [b"MX"] and words[0].lower() in owners


def _sets_in(lines: Iterable[bytes], owners: Collection[bytes]) -> _Sets:
    """Return the record sets in lines of BIND's output; only MX records of these owners are parsed."""
    found: dict[tuple[Name, str], tuple[int, set[Any]]] = {}
    for line in lines:
        owner, ttl, _class, rtype, *rest = line.split(None, 4)
        data: Any = rest[0] if rest else b""
        if _is_mx_of(line, owners):
            preference, exchange = data.split()
            data = int(preference), to_name(exchange.decode("latin-1"), ())
        elif rtype == b"SOA":
            words = data.split()
            data = ttl, *words[:2], *words[3:]
        else:
            data = ttl, data
        key = to_name(owner.decode("latin-1"), ()), rtype.decode("latin-1")
        found.setdefault(key, (int(ttl), set()))[1].add(data)
    return {key: (ttl, frozenset(records)) for key, (ttl, records) in found.items()}


def _compare(
    old: _Sets,
    new: _Sets,
    zone: Name,
    plan: Mapping[Name, Sequence[tuple[int, Name]] | None],
    *,
    path: str,
    ttls: Mapping[Name, int],
) -> None:
    """Raise ZoneError for each difference that is not planned."""
    problems = []
    for owner, wanted in plan.items():
        name = spell(owner)
        old_ttl, were = old.pop((owner, "MX"), (None, frozenset()))
        new_ttl, present = new.pop((owner, "MX"), (None, frozenset()))
        expected = set(wanted) if wanted is not None else were
        if present != expected:
            problems.append(f"the MX records of {name} would not be the planned ones (generated by $GENERATE?)")
        if expected and new_ttl != ttls.get(owner, new_ttl if old_ttl is None else old_ttl):
            problems.append(f"the TTL of the MX records of {name} would change from {old_ttl} to {new_ttl}")
    differing = sorted(f"{spell(owner)} {rtype}" for (owner, rtype), _records in old.items() ^ new.items())
    if differing:
        problems.append(f"unplanned records would change: {', '.join(dict.fromkeys(differing))}")
    if problems:
        raise ZoneError(*(f"{path}: this file cannot be edited safely: {problem}" for problem in problems))


def _record_sets(data: bytes, zone: Name, path: str, include: Include) -> _Sets:
    """Return the record sets that dnspython reads from a zone file."""
    text = _flat(read_zone(data, zone, path, include))
    # Bytes above ASCII are escaped, because dnspython would read them as Unicode.
    text = _HIGH.sub(lambda match: f"\\{ord(match[1]):03d}", text.replace("\r\n", "\n"))
    try:
        parsed = dns.zone.from_text(text, origin=spell(zone), relativize=False, check_origin=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise ZoneError(f"{path}: dnspython cannot read this zone, so the edit cannot be verified: {error}") from error
    found: _Sets = {}
    for name, rdataset in parsed.iterate_rdatasets():
        rtype = dns.rdatatype.to_text(rdataset.rdtype)
        if rdataset.covers:
            rtype += f" {dns.rdatatype.to_text(rdataset.covers)}"
        records: Iterable[Any] = rdataset
        if rtype == "MX":
            records = ((mx.preference, _labels(mx.exchange)) for mx in rdataset)
        elif rtype == "SOA":
            records = (soa.replace(serial=0) for soa in rdataset)
        found[_labels(name), rtype] = rdataset.ttl, frozenset(records)
    return found


def _labels(name: Any) -> Name:
    """Return a name of dnspython as its labels."""
    return tuple(label.lower() for label in name.labels[:-1])


def _flat(file: ZoneFile) -> str:
    """Return the text with included files in place of their $INCLUDE lines; origin and owner resume, as in BIND.

    A TTL after its class is moved before it, and origins are made absolute: dnspython 2.3 (Debian 12) requires both.
    """
    if not any(entry.included or entry.class_first or entry.kind == "origin" for entry in file.entries):
        return file.text
    pieces = []
    name_owner = False
    for entry in file.entries:
        text = file.text[entry.start : entry.end]
        if entry.included:
            inner = entry.included
            start = inner.entries[0].origin if inner.entries else entry.origin
            text = f"$ORIGIN {spell(start)}\n{_flat(inner)}\n$ORIGIN {spell(entry.origin)}"
            name_owner = True
        elif entry.kind == "origin":
            text = f"$ORIGIN {spell(entry.origin)}"
        elif entry.kind == "record":
            if entry.class_first:
                text = _ttl_first(file, entry)
            if name_owner and not entry.explicit:
                text = f"{spell(entry.owner)} {text}"
            name_owner = False
        pieces.append(text + "\n")
    return "".join(pieces)


def with_includes_from(file: ZoneFile, changed: Collection[str], directory: Path, copies: dict[str, str]) -> str:
    """Write the changed included files to `directory`; return the zone's text that reads them from there.

    Args:
        file: The edited zone; every file that includes a changed one, directly or not, is written too.
        changed: The changed files, as their $INCLUDE lines name them.
        directory: The directory of the copies.
        copies: Gets the name of each file by the path of its copy.
    """
    pieces = []
    for entry in file.entries:
        text = file.text[entry.start : entry.end]
        if entry.included:
            inner = with_includes_from(entry.included, changed, directory, copies)
            if entry.included.path in changed or inner != entry.included.text:
                copy = directory / str(len(list(directory.iterdir())))
                copy.write_text(inner, encoding="latin-1", newline="")
                copies[str(copy)] = entry.included.path
                word = words_in(file.text, entry.start, entry.end)[1]
                text = f'{file.text[entry.start : word.start]}"{copy}"{file.text[word.end : entry.end]}'
        pieces.append(text + entry.eol)
    return "".join(pieces)


def _ttl_first(file: ZoneFile, entry: Entry) -> str:
    """Return the text of a record with its TTL before its class."""
    ttl, rclass = record_of(file.text, entry)[:2]
    if not ttl or not rclass:
        raise AssertionError("a record whose TTL follows its class has both")
    between = file.text[rclass.end : ttl.start]
    return f"{file.text[entry.start : rclass.start]}{ttl.text}{between}{rclass.text}{file.text[ttl.end : entry.end]}"
