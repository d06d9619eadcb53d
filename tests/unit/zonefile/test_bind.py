# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which zones can be edited, with given output of BIND's programs. molecule/bind_mx runs BIND itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.external_command import run as run_program
from ansible_collections.campus.mailgate.plugins.module_utils._bind.named_conf import zone_list
from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import Bind
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError

WARNINGS = """\
named.conf:1: option 'auto-dnssec' is deprecated
named.conf:1: 'auto-dnssec' option is deprecated and will be removed in BIND 9.19. Please migrate to dnssec-policy
"""


def listing(printed: str) -> str:
    return "".join(f"{line} primary\n" for line in zone_list(printed))


def server(printed: str, status: int = 0, warnings: str = "", listed: str | None = None) -> Bind:
    def run(command, data):
        match command:
            case ["named-checkconf", "-p", _conf]:
                output = printed
            case ["named-checkconf", "-l", _conf]:
                output = listing(printed) if listed is None else listed
            case ["named-checkconf", _conf]:
                output = ""
        return status, warnings + output, "line 7: unknown option 'zne'" if status else ""

    return Bind(run, "/etc/bind/named.conf")


def zone(name: str, file: Path, more: str = "") -> str:
    return f'zone "{name}" {{ type primary; file "{file}"; {more} }};\n'


def locate(bind: Bind, *names: str, view: str = ""):
    return bind.locate([(name, view) for name in names])


def test_zones_come_in_the_order_asked_for_by_any_spelling(tmp_path):
    bind = server(zone("a.example", tmp_path / "a") + zone("B.example", tmp_path / "b"))
    assert [z.name for z in locate(bind, "b.Example.", "a.example")] == ["b.example", "a.example"]


def test_every_problem_at_once(tmp_path):
    (tmp_path / "journal.jnl").touch()
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    printed = (
        zone("journal.example", tmp_path / "journal")
        + zone("one.example", tmp_path / "shared")
        + zone("two.example", tmp_path / "link")
        + zone("fine.example", tmp_path / "fine")
        + 'zone "relative.example" { type primary; file "db.relative"; };'
        + 'zone "forward.example" { type forward; };'
    )
    names = ["journal", "one", "two", "fine", "relative", "forward", "missing"]
    with pytest.raises(ZoneError) as caught:
        locate(server(printed), *(f"{name}.example" for name in names))
    expected = [
        ("journal", "it has a journal of dynamic updates"),
        ("one", "it shares its file with two.example"),
        ("two", "it shares its file with one.example"),
        ("relative", "'db.relative' is not an absolute path"),
        ("forward", "this server has it as forward, not as primary"),
        ("missing", "has no such zone"),
    ]
    assert len(caught.value.problems) == len(expected)
    for problem, (name, reason) in zip(caught.value.problems, expected, strict=True):
        assert problem.startswith(f"zone {name}.example: ")
        assert reason in problem


@pytest.mark.parametrize(
    "more",
    ["inline-signing yes;", "ixfr-from-differences yes;", "allow-update { 127.0.0.1; };", "update-policy local;"],
)
def test_a_journal_that_is_bind_s_own(tmp_path, more):
    (tmp_path / "a.jnl").touch()
    assert locate(server(zone("a.example", tmp_path / "a", more)), "a.example")


def test_a_copy_in_a_view_that_is_not_planned(tmp_path):
    bind = server(
        f'view "in" {{ {zone("a.example", tmp_path / "a")} {zone("b.example", tmp_path / "b")} }};'
        f'view "out" {{ {zone("A.example", tmp_path / "a2")} zone "b.example" {{ in-view "in"; }}; }};'
        f'view "lab" {{ zone "a.example" {{ type secondary; file "/a3"; }}; zone "b.example" {{ type forward; }}; }};'
    )
    planned = locate(bind, "a.example", "b.example", view="in")
    out, lab = bind.unplanned(planned, ())
    assert out.startswith("zone a.example: view out of /etc/bind/named.conf has a copy of its own")
    assert "bind_mx_views" in out
    assert "bind_mx_other_views" in out
    assert lab.startswith("zone a.example: view lab ")
    assert bind.unplanned(planned, ["out", "lab"]) == []
    assert bind.unplanned([*planned, *locate(bind, "a.example", view="out")], ["lab"]) == []
    assert bind.views_of("A.example.", ["in", "out"]) == ["in", "out"]
    assert bind.views_of("b.example", ["in", "out"]) == ["in"]
    assert bind.views_of("c.example", ["in", "out"]) == ["in", "out"]


def test_views(tmp_path):
    bind = server(
        f'view "in" {{ {zone("a.example", tmp_path / "a")} {zone("b.example", tmp_path / "b")} }};'
        f'view "out" {{ {zone("a.example", tmp_path / "a2")} zone "b.example" {{ in-view "in"; }}; }};'
    )
    assert locate(bind, "b.example")[0].view == "in"
    assert locate(bind, "a.example", view="out")[0].file == str(tmp_path / "a2")
    with pytest.raises(ZoneError, match=r"several views \(in, out\)\. Set `view`"):
        locate(bind, "a.example")
    with pytest.raises(ZoneError, match="no such zone in view else"):
        locate(bind, "a.example", view="else")


def test_a_configuration_that_bind_rejects():
    with pytest.raises(ZoneError, match="named-checkconf rejects it: line 7: unknown option"):
        locate(server("", status=1), "a.example")


@pytest.mark.parametrize("first", ["", 'options { directory "/var/cache/bind"; };\n'])
def test_warnings_before_the_text(tmp_path, first):
    bind = server(
        first + zone("a.example", tmp_path / "a", "auto-dnssec maintain;") + zone("b.example", tmp_path / "b"),
        warnings=WARNINGS,
    )
    assert [z.name for z in bind.zones] == ["a.example", "b.example"]
    assert bind.zones[1].directory == ("/var/cache/bind" if first else "")


@pytest.mark.parametrize(
    ("listed", "difference"),
    [
        (
            "a.example IN _default primary\nb.example IN _default primary\n",
            "lists 2 zones.*'b.example IN _default primary'",
        ),
        ("", "lists 0 zones.*'no zone' against 'a.example IN _default'"),
        ("a.example IN in primary\n", "'a.example IN in primary' against"),
    ],
)
def test_a_zone_that_only_one_of_the_two_lists_has(tmp_path, listed, difference):
    with pytest.raises(ZoneError, match=difference):
        locate(server(zone("a.example", tmp_path / "a"), listed=listed), "a.example")


def test_warnings_that_cannot_be_separated(tmp_path):
    calls = iter(("now: a warning\n", "later: a warning\n", ""))
    with pytest.raises(ZoneError, match="cannot separate the warnings of named-checkconf"):
        assert Bind(lambda command, data: (0, next(calls), ""), "named.conf").zones


@pytest.mark.skipif(not shutil.which("named-checkconf"), reason="bind9-utils is not installed")
@pytest.mark.parametrize("views", [False, True])
def test_zones_that_named_checkconf_itself_prints(tmp_path, views):
    # The option is deprecated in BIND 9.18; a later version may reject it.
    zones = "".join(zone(f"{name}.example", tmp_path / name) for name in ("A", "b", "c"))
    zones += 'zone "un\\"der_s.example." IN { type slave; primaries { 198.18.0.53; }; };\n'
    if views:
        zones = f'view "in side" {{ {zones} }};\nview out IN {{ zone "b.example" {{ in-view "in side"; }}; }};\n'
    conf = tmp_path / "named.conf"
    deprecated = "options { dnssec-must-be-secure u.example yes; };\n"
    conf.write_text(deprecated + zones)
    if subprocess.run(["named-checkconf", conf], check=False, capture_output=True).returncode:
        conf.write_text(zones)
    names = [(z.view, z.name) for z in Bind(run_program, str(conf)).zones]
    view = "in side" if views else ""
    expected = [(view, name) for name in ("a.example", "b.example", "c.example", 'un"der_s.example')]
    assert names == [*expected, *([("out", "b.example")] if views else [])]


@pytest.mark.skipif(not shutil.which("named-checkconf"), reason="bind9-utils is not installed")
def test_a_configuration_in_another_encoding(tmp_path):
    # Shift_JIS has the byte of a backslash in the middle of a character.
    file = tmp_path / os.fsdecode(b"db.caf\xe9")
    file.write_text("$TTL 1\n@ SOA a b 1 1 1 1 1\n NS a\na A 198.18.1.1\n")
    (tmp_path / "zones").write_bytes(
        b'// \xe9 \x83\x5c\nzone "a.example" { type primary; file "' + os.fsencode(file) + b'"; };\r\n'
    )
    conf = tmp_path / "named.conf"
    conf.write_text(f'# \xe9\ninclude "{tmp_path}/zones";\n', encoding="latin-1")
    bind = Bind(run_program, str(conf))
    (found,) = locate(bind, "a.example")
    assert Path(found.file) == file
    assert bind.dump(found)[-1].split()[-1] == "198.18.1.1"


def test_files_that_other_zones_include(tmp_path):
    for name, text in {
        "a": '@ SOA a b 1 1 1 1 1\n$INCLUDE "shared"\n$INCLUDE mine other\n',
        "b": "$include deep ; why\n",
        "deep": "$INCLUDE shared\n$INCLUDE deep\n$INCLUDE missing\n",
        "shared": "x A 198.18.1.1\n",
        "mine": "; $INCLUDE shared\n",
    }.items():
        (tmp_path / name).write_text(text)
    bind = server(
        f'options {{ directory "{tmp_path}"; }};'
        'zone "a.example" { type primary; file "a"; };'
        'view "v" { zone "b.example" { type primary; file "b"; }; };'
    )
    files = [tmp_path / "shared", tmp_path / "mine"]
    including = bind.including(files, but=locate(bind, "a.example")[0])
    assert {path: [zone.name for zone in zones] for path, zones in including.items()} == {
        tmp_path / "shared": ["b.example"]
    }
