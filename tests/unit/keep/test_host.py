# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host is as it was before a role's first change, also after an interruption; what others changed stays."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep import host as host_module
from ansible_collections.campus.mailgate.plugins.module_utils._keep.host import Host
from ansible_collections.campus.mailgate.plugins.module_utils._keep.kept import KeptError, write_kept


class Systemd:
    """Units by name, each with its state as a file and whether it runs; and users."""

    def __init__(self):
        self.units: dict[str, list] = {}
        self.users: set[str] = set()
        self.commands: list[str] = []

    def __call__(self, command):
        if command[:2] == ["systemctl", "show"]:
            enabled, active = self.units.get(command[3], [None, False])
            load = "not-found" if enabled is None else "loaded"
            return (
                0,
                f"LoadState={load}\nUnitFileState={enabled or ''}\nActiveState={'' if active else 'in'}active\n",
                "",
            )
        self.commands.append(" ".join(command[-2 if command[0] == "userdel" else 0 :]))
        match [word for word in command if word != "--now"]:
            case ["systemctl", "disable", unit]:
                self.units[unit] = ["disabled", self.units[unit][1] and "--now" not in command]
            case ["systemctl", "enable", unit]:
                self.units[unit][0] = "enabled"
            case ["systemctl", "restart", unit]:
                self.units[unit][1] = True
            case ["systemctl", "stop", unit]:
                self.units[unit][1] = False
            case ["userdel", user]:
                self.users.discard(user)
        return 0, "", ""


@pytest.fixture
def systemd(monkeypatch):
    running = Systemd()
    monkeypatch.setattr(host_module, "_has_user", running.users.__contains__)
    monkeypatch.setattr(host_module, "_has_group", lambda name: False)
    return running


@pytest.fixture
def of(systemd, tmp_path):
    return lambda role="clamav", **options: Host(systemd, role, tmp_path / "store", **options)


def write(tmp_path, role="clamav", **files):
    paths = {tmp_path / name.replace("_", "."): text.encode() for name, text in files.items()}
    for path in paths:
        path.parent.mkdir(exist_ok=True, parents=True)
    write_kept(paths, role, tmp_path / "store")


def test_units_files_and_directories_are_as_they_were(of, systemd, tmp_path):
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "clamd").write_text("the admin's\n")
    systemd.units = {"clamd": ["enabled", True], "freshclam": ["disabled", False]}
    assert of().record(["clamd", "freshclam", "new"], ["scan"], [str(etc), str(etc / "sub")])
    assert not of().record(["clamd", "freshclam", "new"], ["scan"], [str(etc), str(etc / "sub")])
    (etc / "sub").mkdir()
    write(tmp_path, **{"etc/clamd": "ours\n", "etc/sub/more": "ours\n"})
    systemd.users.add("scan")
    systemd.units = {"clamd": ["disabled", False], "freshclam": ["enabled", True], "new": ["enabled", True]}

    result = of().restore()
    assert result.left == []
    assert (etc / "clamd").read_text() == "the admin's\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["clamd", "etc"]
    assert systemd.units == {"clamd": ["enabled", True], "freshclam": ["disabled", False], "new": ["disabled", False]}
    assert systemd.users == set()
    assert not of().restore().changed


def test_a_running_service_reads_its_former_files_again(of, systemd, tmp_path):
    systemd.units = {"clamd": ["enabled", True]}
    of().record(["clamd"])
    assert not of().restore().changed
    assert systemd.commands == []
    of().record(["clamd"])
    write(tmp_path, conf="ours\n")
    of().restore()
    assert systemd.commands == ["systemctl daemon-reload", "systemctl restart clamd"]


def test_a_file_that_was_edited_stays_and_is_reported_in_each_run(of, tmp_path):
    of().record(directories=[str(tmp_path / "sub")])
    write(tmp_path, **{"sub/conf": "ours\n"})
    (tmp_path / "sub" / "conf").write_text("ours and mine\n")
    for _run in range(2):
        result = of().restore()
        assert f"{tmp_path}/sub/conf was edited since; it stays as it is" in result.left[0]
    assert (tmp_path / "sub" / "conf").read_text() == "ours and mine\n"


def test_a_program_that_another_module_writes(of, tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"of the admin")
    of().record(files={str(program): hashlib.sha256(b"ours").hexdigest()})
    program.write_bytes(b"ours")
    assert not of().record(files={str(program): hashlib.sha256(b"ours").hexdigest()})
    of().restore()
    assert program.read_bytes() == b"of the admin"


def test_a_file_of_any_later_content(of, tmp_path):
    path = tmp_path / "signatures"
    of().record(files={str(path): ""})
    path.write_text("updated meanwhile")
    assert of().restore().left == []
    assert not path.exists()


def test_names_of_this_collection_did_not_exist_before(of, systemd, tmp_path):
    own = tmp_path / "mailgate"
    own.mkdir()
    (own / "routes").write_text("of a version without records\n")
    systemd.units = {"mailgate.service": ["enabled", True]}
    of().record(["mailgate.service"], [], [str(own)])
    write(tmp_path, **{"mailgate/routes": "ours\n"})
    of().restore()
    assert not own.exists()
    assert systemd.units == {"mailgate.service": ["disabled", False]}


def test_own_state_is_removed_but_not_what_is_to_be_spared(of, tmp_path):
    state = tmp_path / "state"
    (state / "quarantine").mkdir(parents=True)
    (state / "cache").write_text("")
    (state / "quarantine" / "message").write_text("of a user")
    of().record()
    result = of().restore([str(state)], [str(state / "quarantine")])
    assert [path.name for path in state.rglob("*")] == ["quarantine", "message"]
    assert result.left == [f"{state / 'quarantine'} stays, with 1 file(s): look at them, and remove it yourself"]
    (state / "quarantine" / "message").unlink()
    of().restore([str(state)], [str(state / "quarantine")])
    assert not state.exists()


def test_a_directory_that_others_use_stays(of, tmp_path):
    shared = tmp_path / "shared"
    of().record(directories=[str(shared)])
    of("other").record(directories=[str(shared)])
    shared.mkdir()
    (shared / "theirs").write_text("")
    assert of().restore().left == []
    assert of("other").restore().left == [f"{shared} stays: it has theirs"]


def test_check_mode_changes_nothing(of, systemd, tmp_path):
    assert of(check_only=True).record(["clamd"])
    assert not (tmp_path / "store").exists()
    systemd.units = {"clamd": ["enabled", True]}
    of().record(["clamd"])
    write(tmp_path, conf="ours\n")
    systemd.units = {"clamd": ["disabled", False]}
    result = of(check_only=True).restore()
    assert result.changed == [f"{tmp_path}/conf", "clamd", "clamd"]
    assert result.diff == [(f"{tmp_path}/conf", b"ours\n", None)]
    assert (tmp_path / "conf").exists()
    assert systemd.commands == []


@pytest.mark.parametrize("killed_at", range(4))
def test_a_run_that_was_killed_is_completed_by_the_next_one(of, systemd, tmp_path, killed_at):
    systemd.units = {"clamd": ["enabled", True], "new": ["enabled", True]}
    of().record(["clamd"])
    systemd.units.pop("new")
    of().record(["new"])
    systemd.units["new"] = ["enabled", True]
    write(tmp_path, conf="ours\n")
    systemd.units["clamd"] = ["disabled", False]
    count = 0

    def killed(command):
        nonlocal count
        if command[1] != "show":
            count += 1
            if count > killed_at:
                raise KeyboardInterrupt
        return systemd(command)

    with pytest.raises(KeyboardInterrupt):
        Host(killed, "clamav", tmp_path / "store").restore()
    of().restore()
    assert systemd.units == {"clamd": ["enabled", True], "new": ["disabled", False]}
    assert [path.name for path in tmp_path.rglob("*")] == []


def test_a_damaged_record_is_an_error(of, tmp_path):
    (tmp_path / "store" / "hosts").mkdir(parents=True)
    (tmp_path / "store" / "hosts" / "clamav.json").write_text("{")
    with pytest.raises(KeptError, match=r"clamav.json cannot be read"):
        of().restore()


@pytest.mark.parametrize("first", ["units", "files"])
def test_only_root_can_read_the_store(of, tmp_path, first):
    if first == "units":
        of().record(["clamd"])
    else:
        write(tmp_path, conf="ours\n")
    found = {path: path.stat().st_mode & 0o077 for path in [tmp_path / "store", *(tmp_path / "store").glob("*/*.json")]}
    assert len(found) > first.startswith("u")
    assert set(found.values()) == {0}
