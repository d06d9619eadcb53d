# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each run keeps what was there before it; one run is taken back as a whole, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep import kept, runs, take_back
from ansible_collections.campus.mailgate.plugins.module_utils._keep.kept import KeptError, State

ONE, TWO, THREE = (f"20261130T10000{digit}Z-7" for digit in (1, 2, 3))


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "table"
    found.write_bytes(b"admin \xe4\n")
    found.chmod(0o640)
    return found


@pytest.fixture
def write(store, monkeypatch):
    """Write files in a run."""
    clock = iter(range(1000, 2000))
    monkeypatch.setattr(runs.time, "time", lambda: next(clock))

    def in_run(name, files, by="role"):
        monkeypatch.setenv(runs.VARIABLE, name)
        kept.write_kept(files, by, store)

    return in_run


def restore(store, name, **options):
    stopped = []
    outcome = take_back.restore(store, name, ["role"], stop=stopped.append, **options)
    return outcome, stopped


def test_each_run_keeps_what_was_there_before_it(store, path, write):
    write(ONE, {path: b"one\n"})
    write(ONE, {path: b"one, later\n"})
    write(TWO, {path: b"two\n"})
    originals = [
        kept.original(kept.read(path, where), where)
        for where in (store, *(runs.directory(store, n) for n in (ONE, TWO)))
    ]
    assert originals == [b"admin \xe4\n", b"admin \xe4\n", b"one, later\n"]
    assert [(run.name, run.first) for run in runs.kept(store)] == [(ONE, {"role": True}), (TWO, {"role": False})]


@pytest.mark.parametrize("value", ["", "../../etc", "20261130T100000Z", "x/20261130T100001Z-7"])
def test_without_a_run_only_the_first_touch_is_kept(store, path, write, value):
    write(value, {path: b"one\n"})
    assert not (store / "runs").exists()


def test_a_run_is_taken_back_with_mode_and_bytes(store, path, write, monkeypatch):
    new = path.with_name("new")
    write(ONE, {path: b"one\n"})
    path.chmod(0o600)
    write(TWO, {path: b"two\n", new: b"new\n"})
    path.chmod(0o644)
    monkeypatch.setenv(runs.VARIABLE, f"{THREE}/{TWO}")
    outcome, _stopped = restore(store, TWO)
    assert outcome.files == [str(new), str(path)]
    assert (path.read_bytes(), path.stat().st_mode & 0o777, new.exists()) == (b"one\n", 0o600, False)
    assert restore(store, TWO)[0].files == []
    # The first touch stays known, so that the role can still be taken back as a whole.
    assert kept.state(kept.read(path, store)) is State.OURS
    assert [each.path for each in take_back.changed(store, THREE)] == [str(new), str(path)]


def test_files_that_only_this_collection_uses_are_kept_for_a_run_too(store, tmp_path, write):
    own = tmp_path / "mailgate.toml"
    write(ONE, {own: b"one\n"})
    write(TWO, {own: b"two\n"})
    restore(store, TWO)
    assert own.read_bytes() == b"one\n"


def test_a_later_run_must_be_taken_back_first(store, path, write, monkeypatch):
    write(ONE, {path: b"one\n"})
    write(TWO, {path: b"two\n"})
    [found] = take_back.changed(store, ONE)
    assert (found.later, found.problem) == ((TWO,), f"{path} was changed by the later run {TWO}")
    with pytest.raises(KeptError, match="later run"):
        restore(store, ONE)
    monkeypatch.setenv(runs.VARIABLE, f"{THREE}/{TWO}")
    restore(store, TWO)
    take_back.finish(store, TWO, THREE)
    restore(store, ONE)
    assert path.read_bytes() == b"admin \xe4\n"


@pytest.mark.parametrize(("edit", "state"), [(b"by hand\n", State.EDITED), (None, State.REMOVED)])
def test_a_change_by_hand_refuses_all_files_of_the_run(store, path, write, edit, state):
    other = path.with_name("other")
    write(ONE, {path: b"one\n", other: b"one\n"})
    if edit is None:
        path.unlink()
    else:
        path.write_bytes(edit)
    assert take_back.changed(store, ONE)[1].state is state
    with pytest.raises(KeptError, match=f"table was {state.value}"):
        restore(store, ONE)
    assert other.read_bytes() == b"one\n"


def test_a_role_that_is_removed_as_a_whole_must_not_have_changed_since(store, path, write):
    write(ONE, {path: b"one\n"})
    write(TWO, {path.with_name("other"): b"two\n"})
    write(THREE, {path.with_name("third"): b"3\n"}, by="another role")
    assert take_back.changed(store, ONE)[0].problem == ""
    assert take_back.later_of_roles(store, ONE) == [TWO]
    assert take_back.later_of_roles(store, TWO) == []


def test_what_is_built_of_other_files_is_newer(store, tmp_path, write):
    names = ["sendmail.cf", "access.db", "sendmail.mc", "access"]
    write(ONE, {tmp_path / name: b"0" for name in names})
    write(TWO, {tmp_path / name: b"1" for name in names})
    restore(store, TWO)
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in names}
    assert sorted(names, key=times.get) == ["access", "sendmail.mc", "access.db", "sendmail.cf"]


def test_a_file_that_programs_write_counts_if_it_has_changed(store, path, write):
    write(ONE, {path.with_name("other"): b"one\n"})
    kept.keep_hashes({path: kept.ANY}, "role", store)
    assert [each.path for each in take_back.changed(store, ONE)] == [str(path.with_name("other"))]
    path.write_bytes(b"by the package's scripts\n")
    restore(store, ONE)
    assert path.read_bytes() == b"admin \xe4\n"


def test_a_take_back_that_was_killed_is_completed(store, path, write, monkeypatch):
    other = path.with_name("other")
    write(ONE, {path: b"one\n", other: b"one\n"})
    monkeypatch.setenv(runs.VARIABLE, f"{TWO}/{ONE}")
    kept.keep({path: b"admin \xe4\n"}, "role", store)
    path.write_bytes(b"admin \xe4\n")
    monkeypatch.setenv(runs.VARIABLE, f"{THREE}/{ONE}")
    assert restore(store, ONE)[0].files == [str(other)]
    assert not other.exists()


def test_files_that_are_not_valid_any_more_are_put_back(store, path, write):
    write(ONE, {path: b"one\n"})
    path.chmod(0o604)
    with pytest.raises(KeptError, match="were put back: no such host"):
        restore(store, ONE, validate=lambda: "no such host" if path.read_bytes() != b"one\n" else "")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one\n", 0o604)


def test_the_difference_of_a_file_that_not_everyone_can_read_is_not_shown(store, path, write):
    write(ONE, {path: b"one\n"})
    assert take_back.difference(store, ONE, str(path)) is None
    path.chmod(0o644)
    assert take_back.difference(store, ONE, str(path)) is None


def test_check_mode_restores_nothing(store, path, write):
    path.chmod(0o644)
    write(ONE, {path: b"one\n"})
    outcome, _stopped = restore(store, ONE, check=True)
    assert (outcome.files, path.read_bytes()) == ([str(path)], b"one\n")
    assert outcome.diff == [
        {"before_header": str(path), "after_header": str(path), "before": "admin \ufffd\n", "after": "one\n"}
    ]


def test_a_unit_that_the_run_has_installed_is_stopped_before_its_file_goes(store, tmp_path, write, monkeypatch):
    monkeypatch.setattr(take_back, "_UNITS", tmp_path)
    unit = tmp_path / "mailgate.service"
    write(ONE, {unit: b"[Unit]\n"})
    assert restore(store, ONE)[1] == ["mailgate.service"]
    assert not unit.exists()


def test_nothing_is_changed_if_the_store_cannot_be_written(store, path, write):
    (store / "runs").mkdir(parents=True)
    (store / "runs" / ONE).write_text("in the way")
    with pytest.raises(OSError, match="runs"):
        write(ONE, {path: b"one\n"})
    assert path.read_bytes() == b"admin \xe4\n"


def test_a_run_whose_file_is_damaged_changes_nothing(store, path, write):
    write(ONE, {path: b"one\n"})
    (runs.directory(store, ONE) / "run.json").write_text("{")
    assert runs.kept(store) == []
    with pytest.raises(OSError, match=r"run\.json cannot be read"):
        write(ONE, {path: b"two\n"})
    assert path.read_bytes() == b"one\n"


def test_old_runs_go_but_not_one_that_is_not_complete(store, path, write):
    for name in (ONE, TWO, THREE):
        write(name, {path: name.encode()})
    assert runs.prune(store, 1, 99999) == []
    for run in runs.kept(store)[:2]:
        runs.write(store, replace(run, ended=5))
    assert runs.prune(store, 1, 99999) == [TWO, ONE]
    assert [run.name for run in runs.kept(store)] == [THREE]
    assert kept.original(kept.read(path, store), store) == b"admin \xe4\n"


def test_with_the_first_touch_the_runs_go(store, path, write):
    write(ONE, {path: b"one\n"})
    kept.restore(kept.plan_restore([path], store), store)
    assert not store.exists()


def test_the_routes_before_the_first_change_of_a_run_are_noted_once(store, path, write):
    write(ONE, {path: b"one\n"})
    for table in ({"local": ["a"]}, {"local": ["b"]}):
        runs.note_table(store, "role", table)
    assert runs.read(store, ONE).tables == {"role": {"local": ["a"]}}
