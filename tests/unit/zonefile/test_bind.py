# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which zones can be edited, with given output of BIND's programs. molecule/bind_mx runs BIND itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import Bind
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError


def server(printed: str, status: int = 0) -> Bind:
    def run(command, data):
        assert command[:2] == ["named-checkconf", "-p"]
        return status, printed, "line 7: unknown option 'zne'" if status else ""

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
    assert bind.including(files, but=locate(bind, "a.example")[0]) == {tmp_path / "shared": "b.example (view v)"}
