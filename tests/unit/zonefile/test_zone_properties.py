# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated zone files in every style: an edit applies the plan and keeps other lines; a second one changes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from hypothesis import event, given, settings
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._zone.check import prove
from ansible_collections.campus.mailgate.plugins.module_utils._zone.edit import edit_zone, plan_names
from ansible_collections.campus.mailgate.plugins.module_utils._zone.serial import is_later

ZONE = "u.example"
LABELS = ["mech", "civil", "www", "m-1", "*.lab", "deep.civil"]
HOSTS = ["gw1.univ.example", "gw2.univ.example", "mech.u.example", "civil.u.example", "x.other.example"]
INCLUDE = "$INCLUDE tail\n"
GAPS = st.sampled_from([" ", "  ", "\t", "\t\t", " \t"])
COMMENTS = st.sampled_from(["", "", "", " ; plain", "\t;", ';"(', " ; caf\xe9 \xff\x80", " ; a ; b ) \\"])


@dataclass
class Chunk:
    """A logical line of the generated file, and what the editor may do with it."""

    text: str
    mx_of: str = ""  # an absolute name
    blank_owner: bool = False
    soa: bool = False


def cased(draw, text: str) -> str:
    return draw(st.sampled_from([text, text, text.upper(), text.title()]))


def spelled(draw, name: str, origin: str) -> str:
    if name == origin and draw(st.booleans()):
        return "@"
    if name.endswith("." + origin) and draw(st.booleans()):
        return cased(draw, name[: -len(origin) - 1])
    return cased(draw, name + ".")


@st.composite
def zone_files(draw) -> list[Chunk]:
    chunks = [
        Chunk(draw(st.sampled_from(["", "; head \xe9"]))),
        Chunk(f"$TTL {draw(st.sampled_from(['3600', '1h', '1H30m']))}"),
    ]
    serial = draw(st.sampled_from(["1", "2026030401", "2099010199", "4294967295", "2026010100", "0"]))
    soa = draw(
        st.sampled_from(
            ["ns1 root {} 1h 15m 4w 1h", "ns1.u.example. ro\\.ot ( {} ; (serial\n 3600\n\t900 604800\n60 )"]
        )
    )
    chunks.append(Chunk(f"@ IN SOA {soa.format(serial)}", soa=True))
    chunks.append(Chunk("  IN NS ns1.u.example.", blank_owner=True))
    origin = owner = ZONE
    for _number in range(draw(st.integers(0, 14))):
        kind = draw(st.sampled_from(["record"] * 8 + ["origin", "blank", "ttl"]))
        if kind == "origin":
            new = draw(st.sampled_from([ZONE, "civil.u.example"]))
            chunks.append(Chunk(f"$ORIGIN {new}.{draw(COMMENTS)}"))
            origin = new
        elif kind == "blank":
            chunks.append(Chunk(draw(st.sampled_from(["", "\t", "   ; note", ";; ($INCLUDE no", "; \xfe"]))))
        elif kind == "ttl":
            chunks.append(Chunk(f"$ttl {draw(st.integers(1, 9999))}"))
        else:
            blank_owner = draw(st.booleans())
            if not blank_owner:
                owner = draw(st.sampled_from([ZONE, *(f"{label}.{ZONE}" for label in LABELS)]))
            chunks.append(record(draw, owner, origin, blank_owner))
    return chunks


def record(draw, owner: str, origin: str, blank_owner: bool) -> Chunk:
    lead = draw(GAPS) if blank_owner else spelled(draw, owner, origin) + draw(GAPS)
    rclass, ttl = draw(st.sampled_from(["", "IN", "in"])), draw(st.sampled_from(["", "", "", "60", "1d"]))
    head = "".join(word + draw(GAPS) for word in draw(st.permutations([rclass, ttl])) if word)
    rtype = draw(st.sampled_from(["MX", "MX", "MX", "mx", "A", "TXT", "AAAA"]))
    if rtype.upper() == "MX":
        target = spelled(draw, draw(st.sampled_from(HOSTS)), origin)
        rdata = f"{draw(st.sampled_from([0, 5, 10, 20]))}{draw(GAPS)}{target}"
        if draw(st.integers(0, 5)) == 0:
            rdata = (
                rdata.replace(rdata[len(rdata.split(maxsplit=1)[0])], draw(st.sampled_from([" ( ; one\n", "(\n\t"])), 1)
                + ")"
            )
    else:
        rdata = {
            "A": "198.18.1.1",
            "TXT": draw(st.sampled_from(['"a;b(" c', '"\xe9\\"" ( "x"\n"y" )'])),
            "AAAA": "2001:db8::1",
        }[rtype]
    text = f"{lead}{head}{rtype}{draw(GAPS)}{rdata}{draw(COMMENTS)}"
    return Chunk(text, mx_of=owner if rtype.upper() == "MX" else "", blank_owner=blank_owner)


@st.composite
def plans(draw) -> list[tuple[str, list[tuple[int, str]]]]:
    owners = draw(
        st.lists(st.sampled_from([ZONE, *(f"{label}.{ZONE}" for label in LABELS), f"new.{ZONE}"]), unique=True)
    )
    lines = st.lists(st.sampled_from(HOSTS), unique=True, max_size=3)
    return [(owner, [(n * 10, host) for n, host in enumerate(draw(lines))]) for owner in owners]


def same_but_for(old: str, new: str, *, inherits: bool) -> bool:
    """Return whether a line is unchanged, except for the owner of a removed record that it inherited."""
    return old == new or (inherits and not new[:1].isspace() and new.split(None, 1)[1:] == [old.lstrip(" \t")])


@settings(max_examples=300, deadline=None)
@given(
    zone_files(),
    plans(),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from([None, None, 300]),
    st.none() | st.integers(4, 12),
)
def test_any_zone(chunks, plan, line_end, final_line_end, ttl, cut):
    text = "\n".join(chunk.text for chunk in chunks) + ("\n" if final_line_end else "")
    # the tail of the zone may be in an included file
    parts = [text]
    if cut is not None and cut < len(chunks):
        head = "\n".join(chunk.text for chunk in chunks[:cut]) + "\n"
        parts = [head + INCLUDE, text[len(head) :]]
    data, included = [part.replace("\n", line_end).encode("latin-1") for part in [*parts, ""]][:2]
    apex, names = plan_names(ZONE, plan)
    ttls = {} if ttl is None else dict.fromkeys(names, ttl)
    arguments = {"path": "db", "include": lambda name: included, "ttls": ttls}
    edit = edit_zone(data, apex, names, today=date(2026, 3, 4), **arguments)
    new = edit.included.get("tail", included)
    later = {**arguments, "include": lambda name: new}
    event("changed" if edit.changed else "unchanged")
    if edit.kept_ttls:
        event("another record states its TTL")  # test_bind_reads.py has this with BIND, which dnspython does not follow
        return
    if not edit.changed:
        assert (edit.data, edit.included) == (data, {}) and edit.serial_after == edit.serial_before
    else:
        assert is_later(edit.serial_after, edit.serial_before)
    # dnspython finds the planned changes only
    prove(data, edit.data, apex, names, include_after=later["include"], **arguments)
    # unplanned content stays in order, byte for byte; the rest are planned MX records
    after = (
        edit.data if len(parts) == 1 else edit.data.replace(INCLUDE.replace("\n", line_end).encode(), b"") + new
    ).decode("latin-1")
    assert (line_end == "\r\n") is ("\r\n" in after)
    assert after.replace("\r\n", "").count("\r") == 0
    owned = {owner for owner, _lines in plan}
    # A last line without a line end may be blank, or a planned record that goes: then the line before it ends the text.
    may_go = any(not chunk.text for chunk in chunks) or chunks[-1].mx_of in owned
    assert after.endswith(line_end) is text.endswith("\n") or (may_go and not text.endswith("\n"))
    rest = after.replace("\r\n", "\n")
    for chunk in chunks:
        if chunk.mx_of in owned:
            continue
        expected = (
            chunk.text.replace(f" {edit.serial_before} ", f" {edit.serial_after} ", 1) if chunk.soa else chunk.text
        )
        while True:
            size = expected.count("\n") + 1
            lines = rest.split("\n")
            found = "\n".join(lines[:size])
            if same_but_for(expected, found, inherits=chunk.blank_owner):
                rest = "\n".join(lines[size:])
                break
            taken = re.match(r"[^\n]*\bmx\b[^\n;(]*(\([^)]*\))?[^\n]*(\n|$)", rest, re.IGNORECASE)
            assert taken and rest, f"{expected!r} is missing before {rest!r} in:\n{after}"
            rest = rest[taken.end() :]
    assert all(re.search(r"\bmx\b", line, re.IGNORECASE) or "(" in after for line in rest.split("\n") if line)
    # a second run changes neither a byte nor the serial
    again = edit_zone(edit.data, apex, names, today=date(2027, 1, 1), **later)
    assert (again.data, again.included, again.changed) == (edit.data, {}, False)
