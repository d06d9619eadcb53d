# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones are as they were before the first run, byte for byte but for the serial; what others changed since stays."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from test_transaction import FakeBind, FakeClient, request

from ansible_collections.campus.mailgate.plugins.module_utils._bind import zone_files
from ansible_collections.campus.mailgate.plugins.module_utils._bind.authority import ZoneRequest
from ansible_collections.campus.mailgate.plugins.module_utils._bind.client import MxSet
from ansible_collections.campus.mailgate.plugins.module_utils._bind.originals import Originals, RunOriginals
from ansible_collections.campus.mailgate.plugins.module_utils._bind.restoration import restore
from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import Bind
from ansible_collections.campus.mailgate.plugins.module_utils._bind.transaction import Request, update
from ansible_collections.campus.mailgate.plugins.module_utils._keep.kept import records
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError

ZONE = """\
$TTL 3600
@ SOA ns h 7 1 1 1 1 ; the serial
@ NS ns
ns A 198.18.0.53
mech  MX 0 Mech ; of mech itself
\tMX  5 _odd.target.
     A 198.18.1.30
old 900 MX 0 mech ; kept
$INCLUDE included
"""
INCLUDED = "civil MX 10 mech ; in another file\n"
RUN = "20261130T100000Z-7"
GATEWAY = [(0, "gw1.univ.example")]


class Campus:
    """A server with a store; zones are changed and restored."""

    def __init__(self, bind: FakeBind, tmp_path):
        self.bind, self.store, self.client = bind, tmp_path / "store", FakeClient()
        self.originals = Originals(self.store)
        for name in ("a.example", "b.example"):
            bind.path(name).write_text(ZONE.replace("included", str(bind.path(f"{name}.inc"))))
            bind.path(f"{name}.inc").write_text(INCLUDED)
            bind.load(name)
        self.before = self.texts()

    def texts(self):
        return {path.name: path.read_text() for path in self.bind.directory.iterdir()}

    def server(self):
        return Bind(self.bind.run, "named.conf")

    def set(self, *owners, zones=("a.example", "b.example"), ttl=None, mx=GATEWAY, **options):
        wanted = [ZoneRequest(z, "", [(f"{o}.{z}", mx, ttl) for o in owners]) for z in zones]
        what = Request(wanted, True, 0, False, date(2026, 4, 1), check_exchanges=False)
        return update(self.server(), self.client, what, originals=self.originals, **options)

    def restore(self, *names, **changes):
        return restore(self.server(), self.client, replace(request(), **changes), self.originals, names)

    def restore_run(self, **changes):
        originals = RunOriginals(self.store, RUN)
        return restore(self.server(), self.client, replace(request(), **changes), originals)

    def without_serials(self):
        return {name: re.sub(r" h \d+ ", " h 7 ", text) for name, text in self.texts().items()}

    def edit(self, name, old, new):
        path = self.bind.path(name)
        serial = int(re.search(r" h (\d+) ", path.read_text())[1]) if " h " in path.read_text() else 0
        path.write_text(path.read_text().replace(old, new).replace(f" h {serial} ", f" h {serial + 1} "))
        self.bind.load("a.example")


@pytest.fixture
def campus(tmp_path):
    bind = FakeBind(tmp_path / "zones")
    bind.directory.mkdir()
    return Campus(bind, tmp_path)


def test_files_are_as_they_were_and_serials_go_forward(campus):
    campus.set("mech", "civil", "new")
    campus.set("mech", "old", "civil", "new", ttl=300)
    assert campus.texts() != campus.before
    result = campus.restore()
    assert result.left == []
    assert campus.without_serials() == campus.before
    assert campus.bind.serials == {"a.example": 10, "b.example": 10}
    assert not campus.store.exists()
    assert not campus.restore().zones


def test_check_mode_changes_nothing(campus):
    campus.set("mech")
    changed = campus.texts()
    result = campus.restore(check_only=True)
    assert [zone.changed for zone in result.zones] == [True, True]
    assert campus.texts() == changed
    assert campus.restore().zones
    assert campus.without_serials() == campus.before


def test_some_names_are_restored_and_the_rest_is_as_it_is(campus):
    campus.set("mech", "old")
    changed = campus.without_serials()
    result = campus.restore("MECH.a.example.")
    assert result.left == []
    texts = campus.without_serials()
    assert re.search(r"^mech +MX 0 [Mm]ech", texts["a.example"], re.MULTILINE)
    assert re.search(r"^old +900 +MX 0 gw1", texts["a.example"], re.MULTILINE)
    assert texts["b.example"] == changed["b.example"]
    assert campus.restore("other.example").zones == ()
    assert campus.restore().left == []
    assert campus.without_serials() == campus.before


@pytest.mark.parametrize("again", [False, True])
def test_other_edits_stay_and_the_records_go_back(campus, again):
    """Also if a further run has changed the edited zone since, whose hash is ours then."""
    campus.set("mech")
    campus.edit("a.example", "ns A 198.18.0.53", "ns A 198.18.0.54 ; moved")
    if again:
        campus.set("mech", "old")
    result = campus.restore()
    text = campus.without_serials()["a.example"]
    assert "ns A 198.18.0.54 ; moved\n" in text
    assert re.search(r"^mech +MX 0 mech", text, re.MULTILINE)
    assert re.search(r"MX +5 _odd\.target\.", text)
    assert re.search(r"^old 900 MX 0 mech", text, re.MULTILINE)
    assert len(result.left) == 1
    assert "a.example was edited since; only the MX records" in result.left[0]
    assert campus.without_serials()["b.example"] == campus.before["b.example"]
    copy = Path(result.left[0].rpartition(" ")[2])
    assert copy.read_text() == campus.before["a.example"]
    assert records(campus.store) == []
    assert campus.restore().left == []


def test_a_comment_that_was_added_since_is_an_edit_too(campus):
    campus.set("mech")
    campus.edit("a.example", "@ NS ns", "@ NS ns ; new comment")
    campus.set("mech", "old")
    campus.restore()
    assert "@ NS ns ; new comment\n" in campus.texts()["a.example"]


def test_records_that_others_changed_since_stay_and_are_reported_in_each_run(campus):
    campus.set("mech", "old")
    campus.edit("a.example", "mech  MX 0 gw1.univ.example.", "mech  MX 7 provider.example.")
    for _run in range(2):
        result = campus.restore()
        assert (
            "zone a.example (view in): the MX records of mech.a.example. were changed since to 7 provider.example. and "
            "stay; "
            "before the first run they were 0 mech.a.example., 5 _odd.target."
        ) in result.left
    text = campus.without_serials()["a.example"]
    assert "mech  MX 7 provider.example." in text
    assert "old 900 MX 0 mech" in text


def test_a_dynamic_zone_is_restored_by_update(campus):
    campus.bind.dynamic = 'zone "d.example" { type primary; file "/d"; allow-update { 127.0.0.1; }; };'
    before = campus.client.records
    campus.set("mech", zones=["d.example"])
    assert campus.client.records != before
    assert not campus.restore().left
    assert campus.client.records == before
    campus.set("mech", zones=["d.example"])
    theirs = campus.client.records = MxSet(frozenset({(3, (b"x",))}), 60)
    assert "changed since to 3 x." in campus.restore().left[0]
    assert campus.client.records == theirs


def test_a_zone_that_bind_does_not_load_restores_nothing(campus):
    campus.set("mech")
    changed = campus.texts()
    campus.bind.broken.add("b.example")
    with pytest.raises(ZoneError):
        campus.restore()
    assert campus.texts() == changed
    campus.bind.broken.clear()
    campus.restore()
    assert campus.without_serials() == campus.before


@pytest.mark.parametrize("when", ["setting", "restoring"])
@pytest.mark.parametrize("written", [False, True])
def test_a_run_that_was_killed_is_taken_back_by_the_next_one(campus, monkeypatch, when, written):
    real = zone_files.replace_over

    def killed(*arguments):
        if written:
            real(*arguments)
        raise KeyboardInterrupt

    if when == "restoring":
        campus.set("mech", "civil")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zone_files, "replace_over", killed)
        campus.set("mech", "civil") if when == "setting" else campus.restore()
    assert campus.restore().left == []
    assert campus.without_serials() == campus.before
    assert not campus.store.exists()


def test_copies_beside_the_files_are_removed(campus):
    def back_up(path):
        copy = f"{path}.1~"
        campus.bind.path(copy).write_text("")
        return copy

    campus.set("mech", back_up=back_up)
    assert len(campus.restore().removed) == 2
    assert campus.texts().keys() == campus.before.keys()


def test_a_copy_of_a_file_that_two_views_share_is_removed_once(campus):
    shared = campus.bind.path("a.example")
    campus.bind.views = f'view "out" {{ zone "a.example" {{ type primary; file "{shared}"; }}; }};'
    copy = campus.bind.path("a.example.1~")

    def back_up(path):
        copy.write_text("")
        return str(copy)

    wanted = [ZoneRequest("a.example", view, [("mech.a.example", GATEWAY, None)]) for view in ("in", "out")]
    what = Request(wanted, True, 0, False, date(2026, 4, 1), check_exchanges=False)
    update(campus.server(), campus.client, what, back_up, originals=campus.originals)
    assert campus.restore().removed == [str(copy)]
    assert campus.without_serials() == campus.before


def test_a_zone_that_bind_signs_is_restored_after_a_failed_run(campus):
    """The failed run leaves a later serial in the file, which is no edit of an admin."""
    campus.bind.signed.add("a.example")
    campus.bind.broken.add("b.example")
    with pytest.raises(ZoneError):
        campus.set("mech")
    assert campus.without_serials() == campus.before
    campus.bind.broken.clear()
    campus.set("mech")
    assert campus.restore().left == []
    assert campus.without_serials() == campus.before


def test_a_zone_that_the_server_lost_is_reported(campus):
    campus.set("mech")
    campus.bind.path("b.example").rename(campus.bind.directory.parent / "elsewhere")
    assert campus.restore().left == [
        "zone b.example (view in): it is not a primary zone of this server any more, so it stays as it is"
    ]
    assert campus.without_serials()["a.example"] == campus.before["a.example"]


def test_one_run_is_taken_back_and_the_first_touch_stays_known(campus, monkeypatch):
    """The run changed one more name of one zone, and others have edited that zone since."""
    campus.set("mech")
    before = campus.without_serials()
    monkeypatch.setenv("MAILGATE_RUN", RUN)
    campus.set("mech", "old", zones=("a.example",))
    monkeypatch.setenv("MAILGATE_RUN", f"20261130T110000Z-8/{RUN}")
    campus.edit("a.example", "$INCLUDE", "new A 198.18.9.9\n$INCLUDE")
    result = campus.restore_run()
    assert result.left == []
    texts = campus.without_serials()
    assert re.search(r"^mech +MX 0 gw1", texts["a.example"], re.MULTILINE)
    assert re.search(r"^old +900 +MX 0 [Mm]ech", texts["a.example"], re.MULTILINE)
    assert "new A 198.18.9.9" in texts["a.example"]
    assert texts["b.example"] == before["b.example"]
    assert campus.restore_run().left == []
    assert campus.restore().left != []  # the edited file
    assert campus.without_serials()["b.example"] == re.sub(r" h \d+ ", " h 7 ", campus.before["b.example"])


def test_files_are_as_before_the_run(campus, monkeypatch):
    campus.set("mech")
    before = campus.without_serials()
    monkeypatch.setenv("MAILGATE_RUN", RUN)
    campus.set("mech", "old", "civil", ttl=300)
    monkeypatch.delenv("MAILGATE_RUN")
    assert campus.restore_run().left == []
    assert campus.without_serials() == before
    assert campus.restore().left == []
    assert campus.without_serials() == campus.before
    assert not campus.store.exists()


def test_records_that_others_have_changed_since_the_run_are_named(campus, monkeypatch):
    monkeypatch.setenv("MAILGATE_RUN", RUN)
    campus.set("old")
    campus.edit("a.example", "old 900 MX 0 gw1.univ.example.", "old 900 MX 7 elsewhere.")
    left = campus.restore_run(check_only=True).left
    assert len(left) == 1
    assert "the MX records of old.a.example. were changed since to 7 elsewhere." in left[0]
