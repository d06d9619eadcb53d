# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All files are replaced or none; what the daemon needs is read from the host."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep import kept, runs
from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route, own_addresses
from ansible_collections.campus.mailgate.plugins.module_utils._routes.transition import Present
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import forms, host, system
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.change import Change
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.settings import Listener, Settings, normalize

SETTINGS = normalize(
    Settings(
        "a.univ.example",
        (Listener("0.0.0.0", 25),),
        ("a.univ.example",),
        (),
        (Route("b.univ.example", "198.18.1.2"),),
    )
)


def no_command(command: list[str], stdin: str) -> tuple[int, str, str]:
    raise AssertionError(f"ran {command}")


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(system, "ETC_MAIL", tmp_path)
    monkeypatch.setattr(kept, "STORE", tmp_path / "store")
    monkeypatch.setattr(system, "PID_FILE", tmp_path / "sendmail.pid")
    monkeypatch.setattr(system, "SENDMAIL", str(tmp_path / "no-sendmail"))
    return tmp_path


def test_replacing_keeps_mode_and_links_and_leaves_nothing_behind(tmp_path: Path) -> None:
    real = tmp_path / "aliases.real"
    real.write_text("old")
    real.chmod(0o600)
    (tmp_path / "aliases").symlink_to("aliases.real")
    host.swap(Change({tmp_path / "aliases": b"new", tmp_path / "access": b"fresh"}), tmp_path / "store")
    assert (tmp_path / "aliases").is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["access", "aliases", "aliases.real", "store"]


def test_a_run_keeps_the_routes_of_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "20261130T100001Z-7"
    monkeypatch.setenv(runs.VARIABLE, name)
    store = tmp_path / "store"
    host.swap(Change({}), store)
    assert not (store / "runs").exists()
    host.swap(
        Change({tmp_path / "access": b"1"}), store, Present(frozenset({"a"}), frozenset(), {"b": ("198.18.1.2",)})
    )
    host.swap(Change({tmp_path / "access": b"2"}), store, None)
    assert runs.read(store, name).tables == {
        "sendmail_routes": {"local": ["a"], "relay": [], "routes": {"b": ["198.18.1.2"]}}
    }


def test_an_error_half_way_brings_the_old_files_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")
    replace = Path.replace

    def fail_on_c(self: Path, target: Path) -> Path:
        if target.name == "c":
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_c)
    with pytest.raises(host.SendmailError, match="disk full"):
        host.swap(Change({tmp_path / name: b"new" for name in "abc"}), tmp_path / "store")
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "store"]


def test_without_sendmail_only_check_mode_works_and_writes_nothing(etc: Path) -> None:
    outcome = host.apply(SETTINGS, no_command, check=True)
    assert outcome.changed
    assert not outcome.installed
    assert str(etc / "mailertable") in outcome.files
    assert any("b.univ.example\trelay:[198.18.1.2]" in d["after"] for d in outcome.diff)
    assert list(etc.iterdir()) == []
    with pytest.raises(host.SendmailError, match="install the packages"):
        host.apply(SETTINGS, no_command, check=False)


@pytest.mark.parametrize(
    ("names", "mailertable", "form"),
    [
        ("localhost\nmail.univ.example\n", "", forms.GENERATE),
        ("localhost\nmail.univ.example\nA.univ.example\n", "# none\n", forms.GENERATE),
        ("localhost\nmail.univ.example\na.univ.example\nold.example\n", "", forms.BLOCK),
        ("localhost\n", "partner.example\tesmtp:[192.0.2.9]\n", forms.BLOCK),
    ],
)
def test_only_names_that_the_plan_has_too_are_generated(
    etc: Path, monkeypatch: pytest.MonkeyPatch, names: str, mailertable: str, form: str
) -> None:
    monkeypatch.setattr(system, "DEFAULT_MC", etc / "default.mc")
    for name in ("default.mc", "sendmail.mc"):
        (etc / name).write_text("OSTYPE(`debian')dnl\nMAILER(`smtp')dnl\n")
    (etc / "local-host-names").write_text(names)
    (etc / "mailertable").write_text(mailertable)
    assert forms.choose("auto", SETTINGS) == form


def test_wrong_tables_are_refused_before_anything_runs(etc: Path) -> None:
    wrong = Settings("a", (), (), (), (Route("b.univ.example", "c"),))
    with pytest.raises(host.SendmailError) as error:
        host.apply(wrong, no_command, check=False)
    assert str(error.value).count("\n- ") == 3


def test_damaged_markers_in_the_aliases_are_an_error(etc: Path) -> None:
    (etc / "aliases").write_text("# BEGIN campus.mailgate: required aliases\npostmaster: root\n")
    with pytest.raises(host.SendmailError, match=r"aliases: the block about .* has no end"):
        host.apply(SETTINGS, no_command, check=True)


def test_an_address_of_this_host_is_no_next_hop() -> None:
    (found,) = own_addresses(
        Settings("", (), (), (), (Route("b.example", "127.0.0.1"), Route("c.example", "198.19.255.254")))
    )
    assert "127.0.0.1" in found
    assert "b.example" in found


@pytest.mark.parametrize(
    ("pid", "interval", "newer", "changed", "action"),
    [
        (None, "10m", None, [], "restart"),
        (os.getpid(), "10m", None, [], "none"),
        (2**22 + 1, "10m", None, [], "restart"),
        (os.getpid(), "10s", None, [], "restart"),
        (os.getpid(), "10m", None, ["mailertable", "mailertable.db", "access.db", "submit.cf"], "none"),
        (os.getpid(), "10m", None, ["local-host-names"], "reload"),
        (os.getpid(), "10m", "sendmail.cf", [], "reload"),
        (os.getpid(), "10m", "mailertable.db", [], "none"),
    ],
    # Not by value: the process id differs between the workers of pytest-xdist.
    ids=["no pid file", "running", "not running", "interval", "maps changed", "names changed", "cf newer", "map newer"],
)
def test_what_the_daemon_needs(
    etc: Path, pid: int | None, interval: str, newer: str | None, changed: list[str], action: str
) -> None:
    if pid is not None:
        system.PID_FILE.write_text(f"{pid}\n/usr/sbin/sendmail-mta -Am -L sm-mta -bd -q{interval}\n")
        os.utime(system.PID_FILE, (1000, 1000))
    if newer:
        (etc / newer).touch()
    assert host.action(SETTINGS, {etc / name: b"" for name in changed}, check=False) == action


@pytest.mark.parametrize(
    ("mode", "foreground", "action"),
    [("-bd", True, "restart"), ("-bD", True, "none"), ("-bd", False, "none"), ("-bD", False, "none")],
)
def test_a_daemon_that_systemd_does_not_run_is_restarted(etc: Path, mode: str, foreground: bool, action: str) -> None:
    system.PID_FILE.write_text(f"{os.getpid()}\n/usr/sbin/sendmail-mta -Am -L sm-mta {mode} -q10m\n")
    assert host.action(replace(SETTINGS, foreground=foreground), {}, check=False) == action
