# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's disk: files get the images' owners and modes; a snapshot lists exactly what differs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import host
from lab.host import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    base = tmp_path / "base"
    (base / "etc" / "mail").mkdir(parents=True)
    (base / "etc" / "mail").chmod(0o750)
    (base / "etc" / "mail" / "names").write_text("old\n")
    (base / "etc" / "mail" / "names").chmod(0o640)
    (base / "var" / "log").mkdir(parents=True)
    monkeypatch.setattr(host, "STATE", tmp_path / "state")
    monkeypatch.setattr(host, "RUN", tmp_path / "run")
    return Machine("t", "h", "h.test", "198.18.0.2", "198.18.0.2", "198.19.224.10", (str(base),), "/repository")


def test_written_files_get_the_modes_of_the_images(machine: Machine):
    machine.prepare_disk({"/etc/mail/names": "new\n", "/etc/new": "x", "/root/key": "k"}, {"/root/key": 0o600})
    upper = machine.disk / "up"
    modes = {str(path.relative_to(upper)): oct(path.stat().st_mode & 0o7777) for path in upper.rglob("*")}
    assert modes["etc/mail"] == "0o750"
    assert modes["etc/mail/names"] == "0o640"
    assert modes["etc/new"] == "0o644"
    assert modes["root/key"] == "0o600"


def test_a_snapshot_lists_only_what_differs(machine: Machine):
    machine.prepare_disk({"/etc/mail/names": "new\n", "/var/log/syslog": "line\n", "/etc/a": ""}, {})
    assert sorted(machine.snapshot()) == ["/etc/a", "/etc/mail/names"]


def test_an_identical_copy_is_not_a_difference(machine: Machine):
    machine.prepare_disk({"/etc/mail/names": "old\n"}, {})
    assert machine.snapshot() == {}


@pytest.mark.parametrize("change", ["content", "mode", "kind", "removal", "directory"])
def test_any_change_is_listed(machine: Machine, change: str):
    machine.prepare_disk({"/etc/mail/names": "old\n"}, {})
    names = machine.disk / "up" / "etc" / "mail" / "names"
    match change:
        case "content":
            names.write_text("odd\n")
        case "mode":
            names.chmod(0o600)
        case "kind":
            names.unlink()
            names.symlink_to("old")
        case "removal":
            if os.geteuid() != 0:
                pytest.skip("only root makes the overlay's mark of a removed file")
            names.unlink()
            os.mknod(names, 0o020000, 0)
        case "directory":
            names.parent.chmod(0o700)
    assert len(machine.snapshot()) == 1
