# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run keeps the port-25 rules of before; taking it back loads them as a change that must be confirmed."""

from __future__ import annotations

import shutil

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.kernel import ApplyError
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Guard, Server, render
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.router import Change, Router
from ansible_collections.campus.mailgate.plugins.module_utils._keep import runs
from ansible_collections.campus.mailgate.plugins.module_utils._rollout import before

RUN = "20261130T100000Z-7"
ADDRESS = "198.18.1.25"


def rules(mode):
    guard = Guard(("wan0",), ("198.18.0.0/16",), ("198.18.0.25",), mode="observe", servers=(Server(ADDRESS, mode),))
    return {f"{family}.rules": render(guard, family).text() for family in model.FAMILIES}


@pytest.fixture
def router(tmp_path, monkeypatch):
    """Return a router whose programs do nothing."""
    directory = tmp_path / "border"
    directory.mkdir()
    commands = []

    def run(command, **_options):
        commands.append(command[1:])
        return 0, "", ""

    monkeypatch.setattr(before, "DIRECTORY", directory)
    found = Router(run, lambda name: name, directory, runtime=tmp_path, root=tmp_path, store=tmp_path / "store")
    found.commands, found.directory = commands, directory
    return found


def change(router, files):
    old = {path.name: path.read_text() for path in router.directory.glob("*.rules")}
    return Change(files, old, list(model.FAMILIES), False, False, False, [])


def load(router, files, timeout=0):
    router.apply(change(router, files), timeout)
    shutil.rmtree(router.directory / "undo")


def test_the_rules_before_a_run_are_loaded_again(router, monkeypatch, tmp_path):
    load(router, rules("observe"))
    monkeypatch.setenv(runs.VARIABLE, RUN)
    load(router, rules("enforce"))
    [run] = runs.kept(tmp_path / "store")
    found = before.present_of(tmp_path / "store", run, lambda *_command: (0, "", ""))
    assert found == {"border": {"before": [], "now": [ADDRESS]}}
    back = router.former(RUN)
    assert (back.files, back.parts, back.needed) == (rules("observe"), ["ipv4", "ipv6"], True)
    assert "REJECT" in back.diff()[0]["before"]
    router.commands.clear()
    router.apply(back, 60)
    assert router.commands[-1] == ["load", "ipv4", "ipv6"]
    assert (router.directory / "ipv4.rules").read_text() == rules("observe")["ipv4.rules"]


def test_a_run_that_changed_no_rules_leaves_them(router, tmp_path):
    load(router, rules("observe"))
    assert not router.former(RUN).needed


def test_rules_that_cannot_be_kept_are_not_changed(router, monkeypatch, tmp_path):
    load(router, rules("observe"))
    monkeypatch.setenv(runs.VARIABLE, RUN)
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(ApplyError, match="Nothing was changed, as the present rules cannot be kept"):
        load(router, rules("enforce"))
    assert (router.directory / "ipv4.rules").read_text() == rules("observe")["ipv4.rules"]
