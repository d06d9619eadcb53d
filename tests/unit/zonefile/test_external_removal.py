# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An external zone that is still served stays, with the records of the internal one; any other is removed."""

from __future__ import annotations

import json

import pytest
from test_transaction import ZONE, FakeBind

from ansible_collections.campus.mailgate.plugins.module_utils._bind.external import refresh, request_from
from ansible_collections.campus.mailgate.plugins.module_utils._bind.external_removal import record, remove
from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import Bind
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError

GATEWAY = {"owner": "mech.a.example", "mx": [{"preference": 0, "exchange": "gw1.univ.example"}]}


class Split:
    """A server with an internal and an external view, and the timer's settings."""

    def __init__(self, tmp_path):
        self.bind, self.store, self.settings = FakeBind(tmp_path / "zones"), tmp_path / "store", tmp_path / "outside"
        self.bind.directory.mkdir()
        self.bind.path("a.example").write_text(ZONE)
        self.file = self.bind.path("out")
        self.served(True)

    def served(self, yes):
        zone = f'zone "a.example" {{ type primary; file "{self.file}"; }};' if yes else ""
        self.bind.views = f'view "out" {{ {zone} }};'

    def server(self):
        return Bind(self.bind.run, "named.conf")

    def generate(self):
        values = {
            "zones": [{"zone": "a.example", "owners": [GATEWAY]}],
            "outside_view": "out",
            "inside_view": "in",
            "inside_server": "",
            "inside_port": 53,
            "key_file": None,
            "reload": False,
            "reload_timeout": 0,
        }
        self.settings.write_text(json.dumps(values))
        refresh(
            self.server(), request_from(values, check_only=False), before_commit=lambda paths: record(paths, self.store)
        )

    def remove(self, *, force=False, check_only=False):
        return remove(self.server(), self.settings, self.store, force=force, check_only=check_only)


@pytest.fixture
def split(tmp_path):
    made = Split(tmp_path)
    made.generate()
    assert "gw1.univ.example" in made.file.read_text()
    return made


def test_a_served_zone_stays_and_gets_the_internal_records(split):
    result = split.remove()
    assert result.changed
    assert "gw1" not in split.file.read_text()
    assert "MX\t0 mech.a.example." in split.file.read_text()
    assert json.loads(split.settings.read_text())["zones"] == [{"zone": "a.example", "owners": []}]
    assert result.left[0].startswith(f"the external zone a.example is still served from {split.file}")
    again = split.remove()
    assert not again.changed
    assert again.left == result.left


def test_a_zone_that_is_not_served_any_more_is_removed(split):
    split.remove()
    split.served(False)
    result = split.remove()
    assert (result.files, result.left) == ([str(split.file)], [])
    assert not split.file.exists()
    assert not split.remove().changed


def test_a_served_zone_can_be_removed_regardless(split):
    assert split.remove(force=True).files == [str(split.file)]
    assert not split.file.exists()


def test_an_empty_file_of_the_admin_is_restored(tmp_path):
    split = Split(tmp_path)
    split.file.write_text("")
    split.generate()
    split.served(False)
    split.remove()
    assert split.file.read_text() == ""


def test_check_mode_changes_nothing(split):
    before = split.file.read_text(), split.settings.read_text()
    assert split.remove(check_only=True).changed
    assert split.remove(force=True, check_only=True).files
    assert (split.file.read_text(), split.settings.read_text()) == before


def test_damaged_settings_are_an_error(split):
    split.settings.write_text("{")
    with pytest.raises(ZoneError, match="the external zones stay as they are"):
        split.remove()


def test_nothing_happens_on_a_server_without_external_zones(tmp_path):
    split = Split(tmp_path)
    assert not split.remove().changed
