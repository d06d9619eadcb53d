# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The proof of an edit: dnspython, which shares no code with the editor, reads both zones and compares them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .file import Entry, Include, Name, ZoneError, ZoneFile, read_zone, record_of, spell, words_in

try:
    import dns.exception
    import dns.name
    import dns.rdatatype
    import dns.zone
except ImportError:
    pass  # said by _dnsclient.DNSPYTHON_ERROR

_HIGH = re.compile(r"\\?([\x80-\xff])")
_Sets = dict[tuple[Any, Any, Any], tuple[int, frozenset[Any]]]


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
    """Raises ZoneError unless `after` is `before` but for the planned MX sets and the serial, and holds the plan.

    Included files are read by `include`, those of `after` by `include_after`. `ttls` are planned for these owners.
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
    """Does what `prove` does, for a big zone, from BIND's own reading of both, one record a line.

    dnspython reads the lines in which the two differ, and all MX records of the planned names.
    """
    owners = {spell(owner).encode() for owner in plan}
    texts = set(before), set(after)
    differing = texts[0] ^ texts[1]
    old, new = (
        _parsed(
            b"\n".join(line for line in text if line in differing or _is_mx_of(line, owners)).decode("latin-1") + "\n",
            zone,
            path,
        )
        for text in texts
    )
    _compare(old, new, zone, plan, path=path, ttls=ttls or {})


def _is_mx_of(line: bytes, owners: Collection[bytes]) -> bool:
    if b"MX" not in line:
        return False
    words = line.split(None, 4)
    return words[3:4] == [b"MX"] and words[0].lower() in owners


def _compare(
    old: _Sets,
    new: _Sets,
    zone: Name,
    plan: Mapping[Name, Sequence[tuple[int, Name]] | None],
    *,
    path: str,
    ttls: Mapping[Name, int],
) -> None:
    problems = []
    apex = dns.name.from_text(spell(zone))
    for owner, wanted in plan.items():
        name = dns.name.from_text(spell(owner))
        key = (name, dns.rdatatype.MX, dns.rdatatype.NONE)
        old_ttl, were = old.pop(key, (None, frozenset()))
        new_ttl, present = new.pop(key, (None, frozenset()))
        expected = {(n, dns.name.from_text(spell(to))) for n, to in wanted} if wanted is not None else _mx(were)
        if _mx(present) != expected:
            problems.append(f"the MX records of {name} do not become the planned ones (made by $GENERATE?)")
        if expected and new_ttl != ttls.get(owner, new_ttl if old_ttl is None else old_ttl):
            problems.append(f"the TTL of the MX records of {name} would change from {old_ttl} to {new_ttl}")
    soa = (apex, dns.rdatatype.SOA, dns.rdatatype.NONE)
    for sets in (old, new):
        if soa in sets:
            sets[soa] = sets[soa][0], frozenset(record.replace(serial=0) for record in sets[soa][1])
    differing = sorted(f"{key[0]} {dns.rdatatype.to_text(key[1])}" for key, _unused in old.items() ^ new.items())
    if differing:
        problems.append(f"records that are not ours would change: {', '.join(dict.fromkeys(differing))}")
    if problems:
        raise ZoneError(*(f"{path}: this file cannot be edited safely: {problem}" for problem in problems))


def _mx(records: Iterable[Any]) -> set[tuple[int, Any]]:
    return {(mx.preference, mx.exchange) for mx in records}


def _record_sets(data: bytes, zone: Name, path: str, include: Include) -> _Sets:
    text = _flat(read_zone(data, zone, path, include))
    # Bytes above ASCII become escapes: dnspython would take them for Unicode.
    return _parsed(_HIGH.sub(lambda match: f"\\{ord(match[1]):03d}", text.replace("\r\n", "\n")), zone, path)


def _parsed(text: str, zone: Name, path: str) -> _Sets:
    try:
        parsed = dns.zone.from_text(text, origin=spell(zone), relativize=False, check_origin=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise ZoneError(f"{path}: dnspython cannot read this zone, so an edit cannot be checked: {error}") from error
    return {
        (name, rdataset.rdtype, rdataset.covers): (rdataset.ttl, frozenset(rdataset))
        for name, rdataset in parsed.iterate_rdatasets()
    }


def _flat(file: ZoneFile) -> str:
    """Puts included files in place of their $INCLUDE lines (origin and owner return after them, as in BIND).

    A TTL behind its class is put before it, and origins are made absolute: dnspython 2.3, as in Debian 12, needs both.
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


def with_includes_from(file: ZoneFile, changed: Collection[str], directory: Path) -> str:
    """Gives a zone's text that reads its changed included files from `directory`, and writes them there.

    `file` is the zone as it shall be; every file that leads to a changed one is written too.
    """
    pieces = []
    for entry in file.entries:
        text = file.text[entry.start : entry.end]
        if entry.included:
            inner = with_includes_from(entry.included, changed, directory)
            if entry.included.path in changed or inner != entry.included.text:
                copy = directory / str(len(list(directory.iterdir())))
                copy.write_text(inner, encoding="latin-1", newline="")
                word = words_in(file.text, entry.start, entry.end)[1]
                text = f'{file.text[entry.start : word.start]}"{copy}"{file.text[word.end : entry.end]}'
        pieces.append(text + entry.eol)
    return "".join(pieces)


def _ttl_first(file: ZoneFile, entry: Entry) -> str:
    ttl, rclass = record_of(file.text, entry)[:2]
    if not ttl or not rclass:
        raise AssertionError("a record whose TTL stands behind its class has both")
    between = file.text[rclass.end : ttl.start]
    return f"{file.text[entry.start : rclass.start]}{ttl.text}{between}{rclass.text}{file.text[ttl.end : entry.end]}"
