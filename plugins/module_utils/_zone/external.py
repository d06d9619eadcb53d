# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""What the outside sees of a zone: all that the inside has, but with other MX records for the planned names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .edit import Plan
from .file import Name, ZoneError, spell, to_name

_DNSSEC = frozenset({"RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY", "TYPE65534"})
_NOTE = "; The outside copy of {zone}, made by mailgate from serial {inside} of {source}. Edits here are lost.\n"
_NOTED = re.compile(r"; The outside copy of \S+, made by mailgate from serial (\d+) of ")


def outside_text(dump: Iterable[str], zone: Name, plan: Plan, serial: int, *, source: str) -> str:
    """Makes the outside copy, with this serial, from the lines of the inside zone.

    `dump` has one record a line, `owner TTL IN type data`, with absolute names, as `named-checkzone -D -s full` writes
    it; a zone without an SOA record raises ZoneError. Null MX records stay (RFC 7505), DNSSEC records don't: the copy
    is another zone. `source` says where the inside zone is, for the note at the head.
    """
    kept: list[str] = []
    ttls: dict[Name, str] = {}
    own: dict[Name, list[str]] = {}
    soa = inside = default_ttl = ""
    for line in dump:
        fields = line.rstrip("\n").split(None, 4)
        if len(fields) != 5 or line.startswith(";"):
            continue
        owner, ttl, rtype, data = fields[0], fields[1], fields[3], fields[4]
        if rtype in _DNSSEC:
            continue
        if rtype == "SOA":
            if soa:  # a transfer ends as it begins
                continue
            words = data.split()
            inside, words[2] = words[2], str(serial)
            soa, default_ttl = f"{owner}\t{ttl}\tIN\tSOA\t{' '.join(words)}\n", ttl
            continue
        name = to_name(owner, ()) if rtype == "MX" else ()
        if rtype == "MX" and plan.get(name) is not None:
            own.setdefault(name, []).append(data)
            ttls[name] = ttl
            continue
        kept.append(f"{owner}\t{ttl}\tIN\t{rtype}\t{data}\n")
    if not soa:
        raise ZoneError(f"zone {spell(zone)}: {source} gives no SOA record")
    for name, lines in plan.items():
        ttl = ttls.get(name, default_ttl)
        if any(data.split()[1] == "." for data in own.get(name, ())):
            datas = own[name]
        else:
            datas = [f"{preference} {spell(to)}" for preference, to in lines or ()]
        kept += [f"{spell(name)}\t{ttl}\tIN\tMX\t{data}\n" for data in datas]
    return _NOTE.format(zone=spell(zone), inside=inside, source=source) + soa + "".join(kept)


def null_mx_in(dump: Iterable[str]) -> set[Name]:
    """Gives the names that take no mail (RFC 7505)."""
    fields = (line.split() for line in dump)
    return {to_name(words[0], ()) for words in fields if words[3:4] == ["MX"] and words[-1] == "."}


def made_from(text: str) -> int | None:
    """Gives the inside serial that an outside copy was made from; None for a file that is not one."""
    found = _NOTED.match(text)
    return int(found[1]) if found else None


def serial_in(text: str) -> int:
    """Gives the serial of an outside copy; ValueError for a file that is not one."""
    line = text.splitlines()[1].split()
    if len(line) != 11 or line[3] != "SOA":
        raise ValueError("not an outside copy of a zone")
    return int(line[6])
