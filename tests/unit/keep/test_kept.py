# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are kept before their first change, and restored to the byte."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep import blocks, kept
from ansible_collections.campus.mailgate.plugins.module_utils._keep.kept import State


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "etc" / "table"
    found.parent.mkdir()
    found.write_bytes(b"old \xe4\n")
    found.chmod(0o640)
    return found


def back(path, store, strip=None):
    planned = kept.plan_restore([path], store, strip)
    return planned[0], kept.restore(planned, store)


def test_a_file_is_as_before(path, store):
    for content in (b"ours\n", b"ours, newer\n"):
        kept.write_kept({path: content}, "role", store)
    path.chmod(0o600)
    assert kept.read(path, store).by == "role"
    assert (store / "files" / str(path)[1:]).stat().st_mode & 0o777 == 0o600
    planned, changed = back(path, store)
    assert (planned.state, planned.exact, changed) == (State.OURS, True, [path])
    assert path.read_bytes() == b"old \xe4\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert not store.exists()


def test_a_new_file_is_removed(path, store):
    new = path.with_name("new")
    kept.write_kept({new: b"ours\n"}, "role", store)
    back(new, store)
    assert not new.exists()


def test_a_removed_file_is_restored(path, store):
    kept.write_kept({path: None}, "role", store)
    assert not path.exists()
    back(path, store)
    assert path.read_bytes() == b"old \xe4\n"


@pytest.mark.parametrize("killed", ["before", "after"])
def test_a_run_killed_at_the_write(path, store, killed):
    kept.write_kept({path: b"first\n"}, "role", store)
    kept.keep({path: b"second\n"}, "role", store)
    if killed == "after":
        path.write_bytes(b"second\n")
    assert kept.state(kept.read(path, store)) is State.OURS


def test_an_edited_file_stays_and_is_told(path, store):
    kept.write_kept({path: b"ours\n"}, "role", store)
    path.write_bytes(b"theirs\n")
    planned, changed = back(path, store)
    assert (planned.state, planned.exact, changed) == (State.EDITED, False, [])
    assert "edited since" in planned.told
    assert path.read_bytes() == b"theirs\n"
    assert kept.original(kept.read(path, store), store) == b"old \xe4\n"


def test_an_edit_that_a_run_replaces_is_kept(path, store):
    kept.write_kept({path: b"ours\n"}, "role", store)
    path.write_bytes(b"theirs\n")
    kept.write_kept({path: b"ours again\n"}, "role", store)
    (copy,) = (store / "edited" / str(path)[1:]).parent.iterdir()
    assert copy.read_bytes() == b"theirs\n"
    back(path, store)
    assert path.read_bytes() == b"old \xe4\n"


def test_edits_beside_our_lines_stay(path, store):
    """Also if a later run wrote the file, so that its hash is that of a content that we wrote."""

    def strip(_path, data):
        return blocks.without(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def put(line):
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        kept.write_kept({path: blocks.put(text, [line], "x").encode("utf-8", "surrogateescape")}, "role", store)

    put("one")
    assert back(path, store, strip)[0].exact
    put("one")
    path.write_bytes(b"theirs\n" + path.read_bytes())
    put("two")
    planned, _changed = back(path, store, strip)
    assert not planned.exact
    assert "edited since; only the lines" in planned.told
    assert path.read_bytes() == b"theirs\nold \xe4\n"


def test_a_file_that_somebody_removed_stays_removed(path, store):
    kept.write_kept({path: b"ours\n"}, "role", store)
    path.unlink()
    planned, changed = back(path, store)
    assert (planned.state, planned.exact, changed) == (State.REMOVED, False, [])
    assert "removed since" in planned.told


def test_a_link_is_followed(path, store):
    link = path.with_name("link")
    link.symlink_to(path)
    kept.write_kept({link: b"ours\n"}, "role", store)
    assert link.is_symlink()
    assert [record.path for record in kept.records(store)] == [str(path)]


def test_damage_in_the_store_is_told(path, store):
    kept.write_kept({path: b"ours\n"}, "role", store)
    (store / "files" / str(path)[1:]).write_bytes(b"other")
    with pytest.raises(kept.KeptError, match="hash differs"):
        kept.plan_restore([path], store)
    (store / "records" / (str(path)[1:] + ".json")).write_text("{")
    with pytest.raises(kept.KeptError, match="cannot be read"):
        kept.write_kept({path: b"x"}, "role", store)
    assert path.read_bytes() == b"ours\n"


def test_nothing_is_known_of_other_files(path, store):
    assert kept.plan_restore([path], store) == []
    assert kept.records(store) == []
