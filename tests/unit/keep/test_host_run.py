# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module host_run: what a run has changed here, and the files of before it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep import kept, runs
from ansible_collections.campus.mailgate.plugins.modules import host_run

ONE, TWO = "20261130T100001Z-7", "20261130T100002Z-7"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Return the store of a host on which a run has changed a file of the role gateway."""
    store = tmp_path / "store"
    monkeypatch.setattr(host_run, "STORE", store)
    path = tmp_path / "table"
    path.write_text("admin\n")
    monkeypatch.setenv(runs.VARIABLE, ONE)
    kept.write_kept({path: b"ours\n"}, "gateway", store)
    monkeypatch.delenv(runs.VARIABLE)
    (store / "applied").mkdir()
    (store / "applied" / "gateway.json").write_text("{}")
    return store


@pytest.fixture
def run(store, tmp_path, capsys, module_arguments):
    def run(**arguments):
        with module_arguments({"host": "gw1", **arguments}), pytest.raises(SystemExit):
            host_run.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_the_runs_are_listed_and_one_in_full(run, tmp_path):
    [found] = run()["runs"]
    assert (found["name"], found["first"]) == (ONE, ["gateway"])
    file = {"path": str(tmp_path / "table"), "by": "gateway", "change": "changed", "now": "as it was written"}
    assert found["files"] == [file]
    [found] = run(run=ONE)["runs"]
    assert (found["files"][0]["diff"]["before"], found["files"][0]["diff"]["after"]) == ("admin\n", "ours\n")
    assert run(run=TWO)["runs"] == []


def test_a_host_without_anything_of_the_run(run):
    assert run(state="checked", run=TWO)["found"] == {}
    assert run(state="restored", run=TWO, by=["gateway"])["files"] == []
    assert run(state="ended", run=TWO)["found"] == {}


def test_a_name_that_is_none_is_refused(run):
    for name in ("../../etc", ""):
        assert "is not the name of a run" in run(state="restored", run=name, by=["gateway"])["msg"]


def test_a_run_is_restored_on_a_host_without_systemd(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(state="restored", run=ONE, by=["gateway"])["files"] == [str(tmp_path / "table")]


def test_a_run_is_checked_and_restored(run, store, tmp_path):
    path = tmp_path / "table"
    assert run(state="checked", run=ONE)["problems"] == []
    assert run(state="restored", run=ONE, by=["clamav"])["files"] == []
    check = [sys.executable, "-c", f"import sys; sys.exit(open({str(path)!r}).read() == 'admin\\n' and 'no good')"]
    assert "no good" in run(state="restored", run=ONE, by=["gateway"], validate=check)["msg"]
    assert path.read_text() == "ours\n"
    result = run(state="restored", run=ONE, by=["gateway"], _ansible_check_mode=True)
    assert (result["changed"], path.read_text()) == (True, "ours\n")
    assert run(state="restored", run=ONE, by=["gateway"])["files"] == [str(path)]
    assert path.read_text() == "admin\n"
    assert not (store / "applied" / "gateway.json").exists()
    assert not run(state="restored", run=ONE, by=["gateway"])["changed"]


def test_a_change_since_is_named(run, store, tmp_path):
    (tmp_path / "table").write_text("by hand\n")
    assert run(state="checked", run=ONE)["problems"] == [], "the tasks of a role that is new here keep such a change"
    runs.write(store, replace(runs.read(store, ONE), first={"gateway": False}))
    [problem] = run(state="checked", run=ONE)["problems"]
    assert problem.startswith(f"{tmp_path / 'table'} was edited since, by hand")
    assert "nothing was restored" in run(state="restored", run=ONE, by=["gateway"])["msg"]


def test_a_run_that_is_taken_back_is_left_alone(run, store):
    run(state="finished", run=ONE, taken_back_by=TWO)
    assert runs.read(store, ONE).taken_back == TWO
    found = run(state="checked", run=ONE)
    assert (found["found"]["taken_back"], found["problems"]) == (TWO, [])
    assert run(state="restored", run=ONE, by=["gateway"])["files"] == []


def test_the_end_of_a_run_removes_old_ones(run, store, tmp_path, monkeypatch):
    assert run(state="ended", run=ONE, _ansible_check_mode=True)["pruned"] == []
    assert not runs.read(store, ONE).ended
    assert run(state="ended", run=ONE, keep_runs=1)["pruned"] == []
    monkeypatch.setenv(runs.VARIABLE, TWO)
    kept.write_kept({tmp_path / "table": b"newer\n"}, "gateway", store)
    assert run(state="ended", run=TWO, keep_runs=1)["pruned"] == [ONE]
    assert [each["name"] for each in run()["runs"]] == [TWO]
