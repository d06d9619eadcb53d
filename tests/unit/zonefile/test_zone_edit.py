# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zone files before and after an edit: only planned MX records and the serial differ."""

from __future__ import annotations

from datetime import date

import dns.zone
import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._zone.check import prove, prove_by_bind
from ansible_collections.campus.mailgate.plugins.module_utils._zone.edit import ZoneEdit, edit_zone, plan_names
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError

TODAY = date(2026, 3, 4)
HEAD = "$TTL 3600\n@ IN SOA ns1 hostmaster 7 1h 15m 4w 1h\n  IN NS ns1\nns1 IN A 198.18.0.53\n"
NEW_HEAD = HEAD.replace(" 7 ", " 8 ")
GATEWAYS = [(0, "gw1.univ.example"), (10, "gw2.univ.example")]


def edit(text: str | bytes, *owners, ttl=None, served=None, files=None) -> ZoneEdit:
    """Edit and prove a zone u.example; a second run must not change a byte."""
    data = text.encode() if isinstance(text, str) else text

    def include(name: str, files=files or {}) -> bytes:
        if name not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[name]

    def include_after(name: str) -> bytes:
        return include(name, {**(files or {}), **result.included})

    apex, plan = plan_names("u.example", owners)
    ttls = {} if ttl is None else dict.fromkeys(plan, ttl)
    result = edit_zone(data, apex, plan, path="db.u", include=include, today=TODAY, served=served, ttls=ttls)
    touched = {owner: mx for owner, mx in plan.items() if owner not in result.null_mx}
    prove(data, result.data, apex, touched, path="db.u", include=include, include_after=include_after, ttls=ttls)
    again = edit_zone(result.data, apex, plan, path="db.u", include=include_after, today=TODAY, ttls=ttls)
    assert (again.data, again.included, again.changed) == (result.data, {}, False)
    return result


def mech(*more: tuple[int, str]) -> tuple[str, list[tuple[int, str]]]:
    return "mech.u.example", [*GATEWAYS, *more]


OWN = mech((20, "mech.u.example"))

CASES = {
    "the paper's one line becomes three": (
        "mech IN MX 0 mech\n     IN A 198.18.1.30\n",
        [OWN],
        "mech IN MX 0 gw1.univ.example.\n     IN MX 10 gw2.univ.example.\n     IN MX 20 mech\n     IN A 198.18.1.30\n",
    ),
    "tabs, class, own TTL, comment of the line that stays": (
        "mech\t600\tIN\tMX\t0\tmech\t; the server\n\t\tIN\tA\t198.18.1.30\n",
        [OWN],
        "mech\t600\tIN\tMX\t0\tgw1.univ.example.\n\t\t600\tIN\tMX\t10\tgw2.univ.example.\n"
        "\t\t600\tIN\tMX\t20\tmech\t; the server\n\t\tIN\tA\t198.18.1.30\n",
    ),
    "a tab and a space": (
        "*.lab.mech\t IN\tMX\t0 mech\n\t\t IN\tA\t198.18.1.30\n@\t\t IN\tMX\t0 mech\n",
        [("*.lab.mech.u.example", GATEWAYS), ("u.example", GATEWAYS)],
        "*.lab.mech\t IN\tMX\t0 gw1.univ.example.\n\t\t IN\tMX\t10 gw2.univ.example.\n\t\t IN\tA\t198.18.1.30\n"
        "@\t\t IN\tMX\t0 gw1.univ.example.\n\t\t IN\tMX\t10 gw2.univ.example.\n",
    ),
    "every line names its owner": (
        "mech A 198.18.1.30\nmech MX 0 mech\nmech TXT x\n",
        [OWN],
        "mech A 198.18.1.30\nmech MX 0 gw1.univ.example.\nmech MX 10 gw2.univ.example.\nmech MX 20 mech\nmech TXT x\n",
    ),
    "other targets go, ours are in place already": (
        "mech MX 0 gw1.univ.example.\n; about the backup\n MX 10 gw2.univ.example. ; backup\n MX 30 old\n MX 20 mech\n",
        [OWN],
        "mech MX 0 gw1.univ.example.\n; about the backup\n MX 10 gw2.univ.example. ; backup\n MX 20 mech\n",
    ),
    "a removed line's place is taken, behind its comment": (
        "mech MX 0 old\n; the spare one\n     MX 10 gw2.univ.example.\n",
        [mech()],
        "mech MX 0 gw1.univ.example.\n; the spare one\n     MX 10 gw2.univ.example.\n",
    ),
    "reordered": (
        "mech MX 0 mech ; own\n     MX 10 gw2.univ.example. ; two\n     MX 20 gw1.univ.example. ; one\n",
        [OWN],
        "mech MX 0 gw1.univ.example. ; one\n     MX 10 gw2.univ.example. ; two\n     MX 20 mech ; own\n",
    ),
    "the owner of a removed first line passes on": (
        "mech  MX 0 gone\n      A 198.18.1.30\n\tTXT x\n",
        [("mech.u.example", [])],
        "mech  A 198.18.1.30\n\tTXT x\n",
    ),
    "an owner longer than the space before the next line": (
        "mechanics MX 0 gone\n A 198.18.1.30\n",
        [("mechanics.u.example", [])],
        "mechanics A 198.18.1.30\n",
    ),
    "absolute and upper-case spelling": (
        "MECH.U.EXAMPLE. in mx 0 Mech.u.EXAMPLE.\n",
        [OWN],
        "MECH.U.EXAMPLE. in mx 0 gw1.univ.example.\n                in mx 10 gw2.univ.example.\n"
        "                in mx 20 Mech.u.EXAMPLE.\n",
    ),
    "other origin": (
        "$ORIGIN mech\n@ MX 0 @\n$ORIGIN u.example.\nx A 198.18.1.2\n",
        [OWN],
        "$ORIGIN mech\n@ MX 0 gw1.univ.example.\n  MX 10 gw2.univ.example.\n  MX 20 @\n"
        "$ORIGIN u.example.\nx A 198.18.1.2\n",
    ),
    "parentheses over several lines, the preference in another": (
        "mech (IN\n  MX ) ( 0 ; why\n  mech )\n  A 198.18.1.30\n",
        [OWN],
        "mech IN MX 0 gw1.univ.example.\n  IN MX 10 gw2.univ.example.\n"
        "  (IN\n  MX ) ( 20 ; why\n  mech )\n  A 198.18.1.30\n",
    ),
    "no MX yet: behind its other records": (
        'mech IN A 198.18.1.30\n     IN TXT "v=spf1; -all" ; text\nnext IN A 198.18.1.31\n',
        [OWN],
        'mech IN A 198.18.1.30\n     IN TXT "v=spf1; -all" ; text\n     IN MX  0 gw1.univ.example.\n'
        "     IN MX  10 gw2.univ.example.\n     IN MX  20 mech.u.example.\nnext IN A 198.18.1.31\n",
    ),
    "a wildcard: behind its nearest parent": (
        "mech  IN A 198.18.1.30\nnext  IN A 198.18.1.31\n",
        [("*.lab.mech.u.example", GATEWAYS)],
        "mech  IN A 198.18.1.30\n*.lab.mech IN MX 0 gw1.univ.example.\n           IN MX 10 gw2.univ.example.\n"
        "next  IN A 198.18.1.31\n",
    ),
    "a new name at the end, in the origin that holds there": (
        "$ORIGIN sub.u.example.\nx\tIN\tA\t198.18.1.2\n",
        [mech()],
        "$ORIGIN sub.u.example.\nx\tIN\tA\t198.18.1.2\n"
        "mech.u.example.\tIN\tMX\t0 gw1.univ.example.\n\t\tIN\tMX\t10 gw2.univ.example.\n",
    ),
    "no final line end": (
        "mech A 198.18.1.30",
        [mech()],
        "mech A 198.18.1.30\n     MX 0 gw1.univ.example.\n     MX 10 gw2.univ.example.",
    ),
    "the removed line was the last, without line end": (
        "mech A 198.18.1.30\n MX 0 gone",
        [("mech.u.example", [])],
        "mech A 198.18.1.30",
    ),
    "doubled lines count once": ("mech MX 0 a\nmech MX 0 a\n", [("mech.u.example", [(0, "a.u.example")])], None),
    "right already, in another order": (
        "mech MX 20 mech\n MX 10 gw2.univ.example.\n MX 0 GW1.univ.example. ; \xff\n",
        [OWN],
        None,
    ),
    "names that are not ours keep theirs": (
        "other MX 0 other\nmech MX 0 mech\n",
        [mech()],
        "other MX 0 other\nmech MX 0 gw1.univ.example.\n     MX 10 gw2.univ.example.\n",
    ),
    "an escaped owner, a quoted semicolon, generated records": (
        'a\\.b TXT "x;y(" "z"\n$GENERATE 1-3 h$ A 198.18.2.$\nmech MX 0 mech\n',
        [OWN],
        'a\\.b TXT "x;y(" "z"\n$GENERATE 1-3 h$ A 198.18.2.$\nmech MX 0 gw1.univ.example.\n'
        "     MX 10 gw2.univ.example.\n     MX 20 mech\n",
    ),
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(("before", "owners", "after"), CASES.values(), ids=CASES)
def test_edit(before, owners, after, line_end):
    result = edit((HEAD + before).replace("\n", line_end), *owners)
    expected = HEAD + before if after is None else NEW_HEAD + after
    assert result.data.decode() == expected.replace("\n", line_end)
    assert (result.serial_before, result.serial_after) == (7, 7 if after is None else 8)


def test_apex_in_the_usual_form():
    zone = (
        "$TTL\t86400\n@\tIN\tSOA\tns1.u.example. root.u.example. (\n\t\t\t2026010203\t; Serial\n\t\t\t3600\n\t\t\t900\n"
        "\t\t\t604800\n\t\t\t86400 )\n\tIN\tNS\tns1\n\tIN\tMX\t0 mailserver\n;\nns1\tIN\tA\t198.18.0.53\n"
        "mailserver\tIN\tA\t198.18.0.25\n"
    )
    result = edit(zone, ("u.example", [*GATEWAYS, (20, "mailserver.u.example")]))
    assert result.data.decode() == zone.replace("2026010203", "2026030401").replace(
        "\tIN\tMX\t0 mailserver\n",
        "\tIN\tMX\t0 gw1.univ.example.\n\tIN\tMX\t10 gw2.univ.example.\n\tIN\tMX\t20 mailserver\n",
    )


def test_apex_without_mx_behind_its_soa():
    result = edit("@ 60 IN SOA ns1 h 7 1 1 1 1\n  60 IN NS ns1\nns1 60 IN A 198.18.0.53\n", ("u.example", GATEWAYS))
    assert result.data.splitlines()[:4] == [
        b"@ 60 IN SOA ns1 h 8 1 1 1 1",
        b"  60 IN NS ns1",
        b"  IN MX 0 gw1.univ.example.",
        b"  IN MX 10 gw2.univ.example.",
    ]


def test_bytes_that_are_no_text_stay():
    junk = b"; \xff\xfe\x80 \x00 caf\xe9\n"
    result = edit(junk + HEAD.encode() + junk + b'x TXT "\xe9;"\nmech MX 0 mech ; \xe9\n', mech((20, "mech.u.example")))
    assert result.data == (
        junk + NEW_HEAD.encode() + junk + b'x TXT "\xe9;"\n'
        b"mech MX 0 gw1.univ.example.\n     MX 10 gw2.univ.example.\n     MX 20 mech ; \xe9\n"
    )


def test_ttl_is_set_on_our_lines_only():
    result = edit(HEAD + "mech 900 IN MX 0 mech\n     IN A 198.18.1.30\nx MX 0 x\n", OWN, ttl=300)
    assert result.data.decode() == NEW_HEAD + (
        "mech 300 IN MX 0 gw1.univ.example.\n     300 IN MX 10 gw2.univ.example.\n     300 IN MX 20 mech\n"
        "     IN A 198.18.1.30\nx MX 0 x\n"
    )


def test_ttl_lowered_and_restored_leaves_no_trace():
    before = HEAD + "mech IN MX 5 b\n     IN MX 0 mech\n     IN A 198.18.1.30\nx 900 MX 0 x\n"
    owners = [("mech.u.example", None), ("x.u.example", None), ("gone.u.example", None)]
    lowered = edit(before, *owners, ttl=300)
    assert lowered.data.decode() == NEW_HEAD + (
        "mech 300 IN MX 5 b\n     300 IN MX 0 mech\n     IN A 198.18.1.30\nx 300 MX 0 x\n"
    )
    assert lowered.ttls == {(b"mech", b"u", b"example"): 3600, (b"x", b"u", b"example"): 900}
    restored = edit(lowered.data, owners[0], ttl=3600)
    restored = edit(restored.data, owners[1], ttl=900)
    assert restored.data.decode() == before.replace(" 7 ", " 10 ")


def test_ttl_equal_to_the_zone_s_is_not_written():
    assert edit(HEAD + "mech MX 0 mech\n", ("mech.u.example", [(0, "mech.u.example")]), ttl=3600).changed is False


def test_serial_follows_what_is_served():
    assert edit(HEAD + "mech MX 0 x\n", mech(), served=41).serial_after == 42


INCLUDED = {"sub.inc": b"$TTL 60\nmech MX 0 mech\n     A 198.18.1.30\n"}


def test_included_file_is_read_and_the_owner_comes_back_after_it():
    zone = HEAD + "$INCLUDE sub.inc other.u.example.\n     TXT x\nmech MX 0 mech\n"
    result = edit(zone, OWN, files=INCLUDED)
    assert b"$INCLUDE sub.inc other.u.example.\n     TXT x\nmech MX 0 gw1" in result.data


def test_included_lines_that_are_right_are_accepted():
    assert (
        edit(HEAD + "$INCLUDE sub.inc\n", ("mech.u.example", [(0, "mech.u.example")]), files=INCLUDED).changed is False
    )


REFUSED = {
    "MX in a file included twice": ("$INCLUDE sub.inc\n$INCLUDE sub.inc\n", "includes sub.inc more than once"),
    "an included file that is missing": ("$INCLUDE no.inc\n", "line 5.*INCLUDE no.inc: No such file"),
    "a CNAME": ("mech CNAME x\n", "mech.u.example. is a CNAME"),
    "a null MX among others": ("mech MX 0 .\n     MX 5 x\n", "has a null MX and other MX records"),
    "malformed MX data": ("mech MX 5\n", "line 5: .*does not have the form `MX preference name`"),
    "malformed generic MX data": ("mech MX \\# 4 00000000\n", "line 5: .*is not the generic data of an MX record"),
    "a signature": ("x RRSIG A 8 2 60 20260101000000 20250101000000 1 u.example. YQ==\n", "signed manually"),
    "an open quote": ('x TXT "abc\n', "line 5: quoted string without an end"),
    "an open parenthesis": ("x TXT ( abc\n", "line 5: opening parenthesis without"),
    "a second closing one": ("x TXT ( abc ))\n", "line 5: closing parenthesis"),
    "an unknown directive": ("$EXPIRE 20260101\n", "line 5: .EXPIRE"),
    "a bare carriage return": ("x\rA 198.18.1.1\n", "line 5: carriage return"),
    "an empty label": ("a..b A 198.18.1.1\n", "line 5: .*empty label"),
    "generated MX": ("$GENERATE 1-1 mech MX 5\\032x$\n", "cannot be edited safely|dnspython cannot read"),
    "another SOA": ("@ SOA a b 1 1 1 1 1\n", "SOA records .* differ.*line 2, db.u line 5. Remove all but one"),
    "an SOA of another name": ("x SOA ns1 hostmaster 7 1h 15m 4w 1h\n", "one SOA record.*line 2, db.u line 5"),
    "no record type": ("mech IN\n", "line 5: record without a type"),
    "data dnspython cannot read": ("x A not-an-address\nmech MX 0 mech\n", "dnspython cannot read"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(text, message):
    with pytest.raises(ZoneError, match=f"(?s){message}"):
        edit(HEAD + text, OWN, files=INCLUDED)


def test_lines_in_an_included_file_are_edited_there():
    result = edit(HEAD + "$INCLUDE sub.inc\n", OWN, files=INCLUDED)
    assert result.data.decode() == NEW_HEAD + "$INCLUDE sub.inc\n"
    assert result.included == {
        "sub.inc": b"$TTL 60\nmech MX 0 gw1.univ.example.\n     MX 10 gw2.univ.example.\n     MX 20 mech\n"
        b"     A 198.18.1.30\n"
    }


def test_lines_in_several_files_come_together_in_the_first():
    files = {"a.inc": b"mech MX 5 x\n     TXT a\n$INCLUDE b.inc\n", "b.inc": b"mech\tMX 0 y\n\tTXT b"}
    result = edit(HEAD + "$INCLUDE a.inc\n", mech(), files=files)
    assert result.data.decode() == NEW_HEAD + "$INCLUDE a.inc\n"
    assert result.included == {
        "a.inc": b"mech MX 0 gw1.univ.example.\n     MX 10 gw2.univ.example.\n     TXT a\n$INCLUDE b.inc\n",
        "b.inc": b"\tTXT b",  # inherits mech from a.inc
    }
    result = edit(HEAD + "$INCLUDE a.inc\nmech MX 0 mech\n", mech(), files=files)
    assert result.data.startswith(f"{NEW_HEAD}$INCLUDE a.inc\nmech MX 0 gw1".encode())
    assert result.included == {"a.inc": b"mech TXT a\n$INCLUDE b.inc\n", "b.inc": b"\tTXT b"}


def test_an_included_first_line_that_inherits_from_a_removed_one():
    result = edit(HEAD + "mech MX 0 x\n$INCLUDE c.inc\n", ("mech.u.example", []), files={"c.inc": b"  A 198.18.1.1\n"})
    assert result.data.decode() == NEW_HEAD + "$INCLUDE c.inc\n"
    assert result.included == {"c.inc": b"mech A 198.18.1.1\n"}


def test_soa_in_an_included_file():
    files = {"soa.inc": HEAD.encode(), "sub.inc": b"mech MX 0 mech\n"}
    result = edit("$INCLUDE soa.inc\n$INCLUDE sub.inc\n", mech(), files=files)
    assert result.data == b"$INCLUDE soa.inc\n$INCLUDE sub.inc\n"
    assert result.included["soa.inc"] == NEW_HEAD.encode()
    assert result.included["sub.inc"].startswith(b"mech MX 0 gw1")


def test_a_null_mx_is_respected():
    result = edit(HEAD + "a MX 0 .\nmech MX 0 mech\n", ("a.u.example", GATEWAYS), mech())
    assert result.data.startswith(NEW_HEAD.encode() + b"a MX 0 .\nmech MX 0 gw1")
    assert result.null_mx == [(b"a", b"u", b"example")]


@pytest.mark.parametrize(
    ("second", "head"),
    [("MX 20 gw2.univ.example.", ""), ("3600 MX 20 gw2.univ.example.", "3600 "), ("60 MX 20 gw2.univ.example.", "60 ")],
)
@pytest.mark.parametrize("ttl", [None, 300])
def test_a_record_that_moves_below_another_default_ttl_keeps_its_ttl(second, head, ttl):
    text = f"mech MX 0 x.other.example.\n     A 198.18.1.30\n$TTL 9921\n     {second}\n"
    result = edit(HEAD + text, mech((20, "x.other.example")), ttl=ttl)
    stated = f"{ttl} " if ttl else head or "3600 "
    lines = result.data.decode().partition("$TTL 9921\n")[2].splitlines()
    assert [line.split(None, 1)[1] if line.startswith("mech") else line.strip() for line in lines][-1] == (
        f"{stated}MX 20 x.other.example."
    )


def test_a_ttl_that_hangs_on_our_line_is_refused():
    with pytest.raises(ZoneError, match=r"inherits its TTL from the previous line.*\$TTL"):
        edit("@ 60 SOA ns1 h 7 1 1 1 1\n NS ns1\nmech 30 MX 0 x\nnext A 198.18.1.1\n", ("mech.u.example", []))


def test_all_problems_of_a_zone_at_once():
    owners = [("a.u.example", GATEWAYS), ("b.u.example", GATEWAYS)]
    with pytest.raises(ZoneError) as caught:
        edit(HEAD + "a CNAME x\nb MX 0 .\n  MX 5 x\n", *owners)
    assert len(caught.value.problems) == 2


BAD_PLANS = {
    "outside the zone": ([("x.other.example", GATEWAYS)], "does not lie in the zone"),
    "a name that only ends alike": ([("xu.example", GATEWAYS)], "does not lie in the zone"),
    "twice": ([("a.u.example", []), ("A.u.example.", [])], "listed twice"),
    "an address": ([("a.u.example", [(0, "198.18.0.25")])], "is an address"),
    "no host name": ([("a.u.example", [(0, "a_b.u.example")])], "is not a valid host name"),
    "no owner": ([("", [])], "is not a valid domain name"),
    "preference": ([("a.u.example", [(65536, "a.u.example")])], "not between 0 and 65535"),
    "one exchange twice": ([("a.u.example", [(0, "x.example"), (5, "X.example.")])], "an exchange is listed twice"),
    "an injected line": ([("a.u.example", [(0, "x.example.\n@ A")])], "is not a valid host name"),
}


@pytest.mark.parametrize(("owners", "message"), BAD_PLANS.values(), ids=BAD_PLANS)
def test_bad_plan(owners, message):
    with pytest.raises(ZoneError, match=message):
        plan_names("u.example", owners)


def by_bind(data: bytes) -> list[bytes]:
    """Return what named-checkzone writes, a record a line, here from dnspython; molecule/bind_mx runs BIND itself."""
    zone = dns.zone.from_text(data.decode(), origin="u.example.", relativize=False)
    return [f"{name} {ttl} IN {rdata.rdtype.name} {rdata}".encode() for name, ttl, rdata in zone.iterate_rdatas()]


def by_dnspython(before, after, apex, plan, *, path):
    prove(before, after, apex, plan, path=path, include=lambda name: b"")


def by_difference(before, after, apex, plan, *, path):
    prove_by_bind(by_bind(before), by_bind(after), apex, plan, path=path)


@pytest.mark.parametrize("proof", [by_dnspython, by_difference])
def test_proof_finds_what_an_editor_must_not_do(proof):
    apex, plan = plan_names("u.example", [OWN, ("same.u.example", [(0, "mech.u.example")])])
    before = (HEAD + "mech MX 0 mech\nx 60 A 198.18.1.1\nsame MX 0 mech\n").encode()
    good = edit(before, OWN).data
    proof(before, good, apex, plan, path="db.u")
    for bad, message in [
        (before, "would not be the planned ones"),
        (good.replace(b"same MX", b"other MX"), "same.u.example. would not be the planned ones"),
        (good.replace(b"198.18.1.1", b"198.18.1.2"), r"x\.u\.example\. A"),
        (good.replace(b"x 60 A", b"x 61 A"), r"x\.u\.example\. A"),
        (good.replace(b"hostmaster", b"somebody"), "SOA"),
        (good.replace(b"3600", b"3601"), "would change from 3600 to 3601"),
    ]:
        with pytest.raises(ZoneError, match=message):
            proof(before, bad, apex, plan, path="db.u")
