# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zone files that BIND takes, in forms that dnspython cannot read: BIND's own programs prove the edit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._bind import static
from ansible_collections.campus.mailgate.plugins.module_utils._bind.external import ExternalRequest, refresh
from ansible_collections.campus.mailgate.plugins.module_utils._bind.external_command import run
from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import Bind
from ansible_collections.campus.mailgate.plugins.module_utils._bind.static import StaticZone
from ansible_collections.campus.mailgate.plugins.module_utils._zone.check import prove_by_bind
from ansible_collections.campus.mailgate.plugins.module_utils._zone.edit import plan_names
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError

pytestmark = pytest.mark.skipif(not shutil.which("named-checkzone"), reason="bind9-utils is not installed")

HEAD = """\
$TTL 3600
@ IN SOA ns1 hostmaster 7 1h 15m 4w 1h
  IN NS ns1
mech A 198.18.1.30
ns1 IN A 198.18.0.53
"""
GATEWAYS = [(0, "gw1.univ.example"), (10, "gw2.univ.example")]
OWN: Sequence[tuple[str, list[tuple[int, str]] | None]] = [("mech.u.example", GATEWAYS)]
OLD = "mech MX 0 mech ; own server\n"
NEW = "mech MX 0 gw1.univ.example.\n     MX 10 gw2.univ.example.\n"

FORMS = {
    "MX generated": '$GENERATE 1-3 h$ MX "10 mail$"\n',
    "TXT generated": '$GENERATE 1-3 h$ TXT "\\"text $\\""\n',
    "SRV generated": '$GENERATE 1-3 _sip._tcp$ SRV "0 5 5060 ns1"\n',
    "class before TTL, generated": "$GENERATE 1-3 h$ IN 3600 A 198.18.2.$\n",
    "quotes, class and TTL, generated": '$GENERATE 1-3 h$ 60 IN MX "10 mail$.x."\n',
    "generated with a modifier": "$GENERATE 0-20/2 h${0,3,d} CNAME mech\n",
    "generic type": "x TYPE1 \\# 4 0a000001\n",
    "generic type with plain data": "x TYPE1 198.18.1.1\n",
    "unknown type": "x TYPE65280 \\# 3 ( 01\n 02 03 )\n",
    "MB": "x MB mech\n",
    "MG": "x MG y\n",
    "MR": "x MR y\n",
    "MINFO": "x MINFO y z\n",
    "NULL": "x NULL \\# 1 00\n",
    "WKS": "x WKS 198.18.1.30 TCP smtp ftp\n",
    "A6": "x A6 0 2001:db8::1\n",
    "APL": "x APL 1:198.18.0.0/24 !1:198.18.0.5/32\n",
    "APL without data": "x APL\n",
    "AFSDB": "x AFSDB 1 mech\n",
    "ATMA": "x ATMA +61200000000\n",
    "AVC": 'x AVC "app-name:x"\n',
    "CERT": "x CERT PKIX 1 RSASHA1 MxFcby9k/yvedMfQgKzhH5er0Mu/vILz\n",
    "DOA": 'x DOA 0 1 2 "" aHR0\n',
    "EID": "x EID 1289AB\n",
    "EUI48": "x EUI48 00-11-22-33-44-55\n",
    "GPOS": "x GPOS -32.6882 116.8652 10.0\n",
    "HIP": "x HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK\n",
    "ISDN": 'x ISDN "150862028003217" "004"\n',
    "KEY": "x KEY 0x4200 255 8 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8no\n",
    "KX": "x KX 10 mech\n",
    "L32": "x L32 10 10.1.2.0\n",
    "L64": "x L64 10 2001:0DB8:1140:1000\n",
    "LOC": "x LOC 42 21 54 N 71 06 18 W -24m 30m\n",
    "LP": "x LP 10 mech\n",
    "NID": "x NID 10 0014:4fff:ff20:ee64\n",
    "NIMLOC": "x NIMLOC 1289AB\n",
    "NSAP": "x NSAP 0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00\n",
    "OPENPGPKEY": "x OPENPGPKEY mDMEXEcE6RYJKwYBBAHaRw8BAQdA\n",
    "PX": "x PX 10 mech y\n",
    "RP": "x RP hostmaster ns1\n",
    "RT": "x RT 0 mech\n",
    "SIG": "x SIG KEY 8 3 3600 20300101000000 20200101000000 2143 x. dGVzdA==\n",
    "SINK": "x SINK 8 0 2 l4ik\n",
    "SMIMEA": "x SMIMEA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971\n",
    "SPF": 'x SPF "v=spf1 -all"\n',
    "SVCB with dohpath": 'x SVCB 1 ns1 dohpath="/q{?dns}"\n',
    "TA": "x TA 12345 8 2 49FD46E6C4B45C55D4AC69CBD3CD34AC1AFE51DE3FC9F4A5CA5EC21F21F4FA79\n",
    "TALINK": "x TALINK a b\n",
    "URI": 'x URI 10 1 "ftp://ftp.u.example/"\n',
    "X25": "x X25 311061700956\n",
    "ZONEMD": "x ZONEMD 2018031900 1 1 " + "c6" * 48 + "\n",
    "a date": "$DATE 20260101000000\n",
    "a quoted owner": '"x" A 198.18.1.1\n',
    "an owner in parentheses": "(x A 198.18.1.1)\n",
    "empty parentheses": " ( ) ; nothing\n",
    "two carriage returns": "x A 198.18.1.1\r\r\ny A 198.18.1.2\r\n",
    "a quoted line end": 'x TXT "a\\\nb"\n',
    "Latin-1": 'x TXT "caf\xe9" ; \xe9\n',
    "an alias of everything": "x DNAME y.example.\n",
}


def bind_of(path: Path) -> Bind:
    conf = path.parent / "named.conf"
    conf.write_text(f'options {{ directory "{path.parent}"; }}; zone "u.example" {{ type primary; file "{path}"; }};\n')
    return Bind(run, str(conf))


def prepare(path: Path, owners=OWN, ttls=None) -> StaticZone:
    bind = bind_of(path)
    apex, plan = plan_names("u.example", owners)
    (zone,) = bind.locate([("u.example", "")])
    ttls = {} if ttls is None else dict.fromkeys(plan, ttls)
    return StaticZone.prepare(bind, zone, apex, plan=plan, ttls=ttls, today=date(2026, 3, 4), served=None)


def edited(tmp_path: Path, text: str, owners=OWN, ttl=None) -> str:
    """Return the file after the change."""
    path = tmp_path / "db.u"
    path.write_bytes(text.encode("latin-1"))
    return prepare(path, owners, ttl).after[path].decode("latin-1")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms_that_bind_takes(tmp_path, form):
    assert edited(tmp_path, HEAD + form + OLD) == HEAD.replace(" 7 ", " 8 ") + form + NEW


@pytest.mark.parametrize("error", [None, "not installed"])
def test_zone_without_dnspython(tmp_path, monkeypatch, error):
    monkeypatch.setattr(static, "DNSPYTHON_ERROR", error)
    assert edited(tmp_path, HEAD + OLD).endswith(NEW)


GENERIC = "\\# 9 0005 03 6f6c64 01 75 00 ; generic\n"


def test_generic_mx_of_a_planned_name(tmp_path):
    target = [(5, "old.u")]
    for rtype in ("MX", "TYPE15", "type15"):
        line = f"mech {rtype} {GENERIC}"
        text = edited(tmp_path, HEAD + line, [("mech.u.example", [*target, (10, "gw.univ.example")])])
        assert f"\n{line}" in text
        assert text.splitlines()[-1].split() == ["MX", "10", "gw.univ.example."]
    changed = edited(tmp_path, HEAD + f"mech 60 IN MX {GENERIC}", [("mech.u.example", [(7, "old.u")])])
    assert changed.endswith("\nmech 60 IN MX 7 old.u.\n")


def test_a_planned_name_whose_mx_is_generated(tmp_path):
    with pytest.raises(ZoneError, match=r"would not be the planned ones \(generated by \$GENERATE"):
        edited(tmp_path, HEAD + '$GENERATE 1-1 mech MX "5 x$"\n')


def test_soa_record_that_is_repeated(tmp_path):
    again = "@ 60 IN SOA ns1.u.example. HostMaster ( 7 3600 900 2419200 ; (same\n 3600 )\n"
    both = (HEAD + again).replace(" 7 ", " 8 ")
    assert edited(tmp_path, HEAD + again + OLD) == both + NEW


# BIND serves the TTL of the first record of the last run of records of one name.
TTLS = {
    "the first of several": ("mech 900 MX 0 a\nmech 60 MX 1 b\n", 900),
    "the second run": ("mech 900 MX 0 a\nx A 198.18.1.1\nmech 60 MX 1 b\nmech 70 MX 2 c\n", 60),
    "longer in the second run": ("mech 60 MX 0 a\nx A 198.18.1.1\nmech 900 MX 1 b\n", 900),
    "with another type between": ("mech 900 MX 0 a\nmech TXT x\nmech 60 MX 1 b\n", 900),
    "in another case": ("mech 900 MX 0 a\nMECH 60 MX 1 b\n", 60),
}


@pytest.mark.parametrize(("lines", "served"), TTLS.values(), ids=TTLS)
def test_records_with_differing_ttls_keep_the_one_that_bind_serves(tmp_path, lines, served):
    text = edited(tmp_path, HEAD + lines)
    path = tmp_path / "db.u"
    bind = bind_of(path)
    records = bind.read(bind.zones[0], text.encode())
    found = [line.split() for line in records if line.split()[3:4] == [b"MX"]]
    assert {(int(ttl), int(preference)) for _owner, ttl, _class, _type, preference, _to in found} == {
        (served, 0),
        (served, 10),
    }
    assert f"{served} MX 0 gw1.univ.example." in text


def test_messages_have_the_lines_of_the_present_file(tmp_path):
    (tmp_path / "x.inc").write_text("y A nonsense\n")
    path = tmp_path / "db.u"
    long = "".join(f"mech MX {n} h{n}\n" for n in range(5, 40))
    with pytest.raises(ZoneError, match=f"rejects the present file: .*{path}:41: .*not-an-address"):
        edited(tmp_path, HEAD + long + "x A not-an-address\n")
    with pytest.raises(ZoneError, match=r"rejects the present file: .*x\.inc:1: .*nonsense"):
        edited(tmp_path, HEAD + "$INCLUDE x.inc\n" + OLD)


def test_an_edit_that_bind_rejects(tmp_path):
    (tmp_path / "x.inc").write_text("mech2 MX 0 mech\n")
    path = tmp_path / "db.u"
    path.write_text(HEAD + "$INCLUDE x.inc\n")
    zone = prepare(path, [("mech2.u.example", GATEWAYS)])
    assert set(zone.after) == {path, tmp_path / "x.inc"}
    bad = replace(zone.edit, included={"x.inc": b"mech2 MX 0\n"})
    with pytest.raises(ZoneError) as caught:
        static._check(
            bind_of(path),
            zone.zone,
            (b"u", b"example"),
            path.read_bytes(),
            edit=bad,
            reread=lambda name: b"mech2 MX 0\n",
            read=True,
        )
    assert "x.inc:1:" in str(caught.value)
    assert "Line numbers are those of the new text" in str(caught.value)


UNPLANNED = {
    "a record": (b"198.18.1.30", b"198.18.1.31", "mech.u.example. A"),
    "its TTL": (b"mech A", b"mech 61 A", "mech.u.example. A"),
    "the SOA record": (b"hostmaster", b"somebody", "u.example. SOA"),
    "a planned record": (b"gw2", b"gw3", "would not be the planned ones"),
    "a planned TTL": (b"mech MX", b"mech 5 MX", "would change from 3600 to 5"),
    "an old type": (b"TCP 21", b"TCP 25", "x.u.example. WKS"),
    "a generated record": (b"1-3", b"1-4", "h4.u.example. TXT"),
}


@pytest.mark.parametrize(("old", "new", "message"), UNPLANNED.values(), ids=UNPLANNED)
def test_bind_s_proof_finds_what_an_editor_must_not_do(tmp_path, old, new, message):
    path = tmp_path / "db.u"
    path.write_text(HEAD + 'x WKS 198.18.1.30 TCP 21\n$GENERATE 1-3 h$ TXT "$"\n' + OLD)
    zone = prepare(path)
    bind = bind_of(path)
    before, good = bind.read(zone.zone, path.read_bytes()), zone.after[path]
    assert old in good
    prove_by_bind(before, bind.read(zone.zone, good), (b"u", b"example"), zone.plan, path="db.u")
    with pytest.raises(ZoneError, match=message):
        after = bind.read(zone.zone, good.replace(old, new))
        prove_by_bind(before, after, (b"u", b"example"), zone.plan, path="db.u")


def test_external_zone_with_records_that_dnspython_cannot_read(tmp_path):
    form = FORMS["WKS"] + FORMS["DOA"] + FORMS["SVCB with dohpath"] + FORMS["GPOS"]
    (tmp_path / "db.u").write_text(HEAD + form + OLD)
    conf = tmp_path / "named.conf"
    zone = 'view "{0}" {{ zone "u.example" {{ type primary; file "{1}"; }}; }};\n'
    conf.write_text(zone.format("in", tmp_path / "db.u") + zone.format("out", tmp_path / "db.out"))
    request = ExternalRequest(
        zones=[("u.example", [("mech.u.example", GATEWAYS)])],
        external_view="out",
        internal_view="in",
        internal_server=None,
        key=None,
        reload=False,
        reload_timeout=1,
        check_only=True,
        today=date(2026, 3, 4),
    )
    (external,) = refresh(Bind(run, str(conf)), request)
    assert external.changed
    assert b"mech.u.example.\t3600\tIN\tMX\t10 gw2.univ.example.\n" in (external.planned or b"")


NAMES = st.sampled_from(["mech", "civil", "@", "deep.civil"])
LINES = st.lists(
    st.tuples(NAMES, st.sampled_from(["", "60 ", "900 "]), st.sampled_from(["MX", "MX", "A", "form"])), max_size=8
)


@settings(max_examples=40, deadline=None)
@given(LINES, st.lists(st.sampled_from(list(FORMS.values())), max_size=4))
def test_any_zone(tmp_path_factory, lines, forms):
    text = HEAD.replace("mech A", "x2 A")
    for number, (owner, ttl, rtype) in enumerate(lines):
        data = f"{number} t{number}" if rtype == "MX" else f"198.18.1.{number}"
        text += f"{owner} {ttl}{'MX' if rtype == 'MX' else 'A'} {data}\n"
        if rtype == "form" and forms:
            text += forms[number % len(forms)]
    path = tmp_path_factory.mktemp("zone") / "db.u"
    path.write_bytes(text.encode("latin-1"))
    owners = [("mech.u.example", GATEWAYS), ("u.example", GATEWAYS), ("civil.u.example", [])]
    bind = bind_of(path)
    zone = prepare(path, owners)
    assert zone.changed
    # BIND serves every other record with the TTL of before.
    before, after = (bind.read(zone.zone, data) for data in (path.read_bytes(), zone.after[path]))
    prove_by_bind(before, after, (b"u", b"example"), zone.plan, path="db.u")
    path.write_bytes(zone.after[path])
    assert not prepare(path, owners).changed


BETWEEN = {
    "the lower one is served": ("@ 900 A 198.18.1.1\nmech 60 MX 2 t2\n@ 60 A 198.18.1.3\n", "@ 60 A 198.18.1.1\n"),
    "the higher one is served": ("@ 60 A 198.18.1.1\nmech MX 2 t2\n@ 900 A 198.18.1.3\n", "@ 900 A 198.18.1.1\n"),
    "the default is served": ("@ 60 A 198.18.1.1\nmech MX 2 t2\n@ A 198.18.1.3\n", "@ A 198.18.1.1\n"),
    "three runs": (
        "x 60 A 198.18.1.1\nmech MX 2 t2\nx 70 A 198.18.1.2\nmech MX 3 t3\nx 80 A 198.18.1.3\n",
        "x 80 A 198.18.1.1\n",
    ),
    "a comment between": ("x 60 A 198.18.1.1\n; c\nmech MX 2 t2\n\nx 80 A 198.18.1.3\n", "x 80 A 198.18.1.1\n"),
    "a further run": (
        "x 60 A 198.18.1.1\nmech MX 2 t2\nx 70 A 198.18.1.2\n@ TXT a\nx A 198.18.1.3\n",
        "x 60 A 198.18.1.1\n",
    ),
}


@pytest.mark.parametrize(("lines", "first"), BETWEEN.values(), ids=BETWEEN)
def test_other_records_keep_the_ttl_that_bind_serves(tmp_path, lines, first):
    """BIND serves the TTL of the last run of a name's lines, and a line between two runs goes."""
    text = HEAD.replace("mech A", "x2 A") + lines
    after = edited(tmp_path, text, [("mech.u.example", [])])
    path = tmp_path / "db.u"
    bind = bind_of(path)
    records = [bind.read(bind.zones[0], data.encode()) for data in (text, after)]
    prove_by_bind(*records, (b"u", b"example"), {(b"mech", b"u", b"example"): []}, path="db.u")
    assert first in after
    assert "mech" not in after.partition("x2 A")[2]
