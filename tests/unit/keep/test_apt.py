# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No package is removed to install another, and only what was installed before is removed again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep.apt import Apt, AptError, Traces


class Host:
    """A Debian host whose packages depend on nothing; installing `needs[x]` too for x, removing `conflicts[x]`."""

    def __init__(self, tmp_path: Path, *installed: str) -> None:
        self.installed = set(installed)
        self.needs: dict[str, list[str]] = {}
        self.conflicts: dict[str, list[str]] = {}
        self.commands: list[str] = []
        self.fails = ""
        self.known = True
        self.script = lambda: None
        self.file = tmp_path / "store" / "packages.json"
        self.stamp = tmp_path / "stamp"
        self.stamp.touch()

    def apt(self, **options: bool) -> Apt:
        return Apt(self.run, self.file, stamps=[self.stamp], **options)

    def run(self, command):
        words = [word for word in command if not word.startswith("-")]
        match words:
            case ["dpkg-query"]:
                lines = [
                    f"{name}\tinstalled\t\t, {', '.join(self.needs.get(name, []))}\t, \n"
                    for name in sorted(self.installed)
                ]
                return 0, "".join(lines), ""
            case ["apt-cache", "show", *names]:
                conflicts = {name: ", ".join(self.conflicts.get(name, [])) for name in names}
                return 0, "\n".join(f"Package: {n}\nConflicts: {c}\n" for n, c in conflicts.items()), ""
            case ["systemctl", "daemon-reload"]:
                return 0, "", ""
            case ["apt-get", verb, *names]:
                return self._apt(verb, names, simulated="--simulate" in command)
        raise AssertionError(command)

    def _apt(self, verb, names, *, simulated):
        if not simulated:
            self.commands.append(" ".join([verb, *names]))
            if self.fails == verb:
                return 100, "", "E: Broken\n"
        if verb == "update":
            return 0, "", ""
        if not self.known:
            return 100, "", f"E: Unable to locate package {names[0]}\n"
        if verb == "install":
            new = [n for name in names for n in [*self.needs.get(name, []), name] if n not in self.installed]
            gone = [n for name in new for n in self.conflicts.get(name, []) if n in self.installed]
        else:
            new, gone = [], [n for n in self.installed if n in names or set(names) & set(self.needs.get(n, []))]
        if not simulated:
            if new:
                self.script()
            self.installed |= set(new)
            self.installed -= set(gone)
        return 0, "".join([*(f"Remv {n} [1]\n" for n in gone), *(f"Inst {n} (1 Debian)\n" for n in new)]), ""


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path, "libc6", "postfix")


def test_nothing_is_asked_of_apt_if_nothing_is_missing(host):
    host.stamp.unlink()
    assert not host.apt().present(["libc6"], "clamav", 3600).installed
    assert host.commands == []
    assert not host.apt().present(["libc6"], "clamav", 3600).changed


def test_new_packages_are_installed_recorded_and_removed_again(host):
    host.needs = {"clamd": ["libclam", "libc6"]}
    assert host.apt().present(["clamd", "libc6"], "clamav", 3600).installed == ["clamd", "libclam"]
    assert not host.apt().present(["clamd", "libc6"], "clamav", 3600).changed
    gone = host.apt().absent("clamav")
    assert gone.removed == ["clamd", "libclam"]
    assert host.installed == {"libc6", "postfix"}
    assert not host.file.parent.exists()
    assert not host.apt().absent("clamav").changed


def test_a_look_removes_the_records_only_where_no_package_is_to_be_removed(host):
    host.apt().present(["clamd"], "clamav", 3600)
    host.apt().present(["libc6"], "gateway", 3600)
    before, host.commands[:] = host.file.read_bytes(), []
    going = host.apt().absent("clamav", look=True)
    assert (going.removed, going.changed) == (["clamd"], False)
    assert host.file.read_bytes() == before
    assert host.apt().absent("gateway", look=True).changed
    assert "gateway" not in host.file.read_text()
    assert host.commands == []
    assert host.apt().absent("clamav").removed == ["clamd"]


def test_a_package_that_would_be_removed_prevents_the_installation(host):
    host.conflicts = {"sendmail-bin": ["postfix"]}
    with pytest.raises(AptError) as refused:
        host.apt().present(["sendmail-bin"], "routes", 3600)
    assert "apt would remove postfix" in str(refused.value)
    assert "postfix: sendmail-bin conflicts with postfix" in str(refused.value)
    assert host.commands == []
    assert not host.file.exists()


def test_the_lists_are_updated_only_if_they_are_old_and_a_package_is_missing(host):
    host.apt().present(["clamd"], "clamav", 3600)
    os.utime(host.stamp, (0, 0))
    host.apt().present(["7zip"], "gateway", 3600)
    assert host.commands == ["install clamd", "update", "install 7zip"]


def test_check_mode_predicts_and_changes_nothing(host):
    host.needs = {"clamd": ["libclam"]}
    os.utime(host.stamp, (0, 0))
    assert host.apt(check_only=True).present(["clamd"], "clamav", 3600).installed == ["clamd", "libclam"]
    assert host.commands == []
    assert not host.file.exists()
    host.known = False
    unknown = host.apt(check_only=True).present(["clamd"], "clamav", 3600)
    assert (unknown.installed, len(unknown.warnings)) == (["clamd"], 1)
    host.known = True
    host.apt().present(["clamd"], "clamav", 0)
    host.commands.clear()
    assert host.apt(check_only=True).absent("clamav").removed == ["clamd", "libclam"]
    assert host.commands == []


def test_a_failed_installation_leaves_no_record_of_what_is_not_there(host):
    host.fails = "install"
    with pytest.raises(AptError, match="E: Broken"):
        host.apt().present(["clamd"], "clamav", 3600)
    host.installed.add("clamd")
    assert host.apt().absent("clamav").removed == []


def test_an_interrupted_installation_is_taken_back(host):
    def killed(command):
        if command[0] == "apt-get" and "--simulate" not in command:
            host.run(command)
            raise KeyboardInterrupt
        return host.run(command)

    with pytest.raises(KeyboardInterrupt):
        Apt(killed, host.file, stamps=[host.stamp]).present(["clamd"], "clamav", 3600)
    assert host.apt().absent("clamav").removed == ["clamd"]


def test_packages_stay_that_another_package_needs_or_that_are_to_be_kept(host):
    host.apt().present(["clamd", "7zip"], "clamav", 3600)
    host.installed.add("own")
    host.needs["own"] = ["clamd"]
    assert host.apt().absent("clamav").left == ["package clamd stays: own depends on it"]
    assert host.installed == {"libc6", "postfix", "clamd", "own"}
    host.installed.remove("own")
    assert host.apt().absent("clamav", keep=True).left == ["package clamd stays: it was to be kept"]
    assert not host.apt().absent("clamav").changed


def test_a_damaged_record_is_an_error(host):
    host.file.parent.mkdir()
    host.file.write_text("{")
    with pytest.raises(AptError, match=r"packages.json cannot be read"):
        host.apt().absent("clamav")


@pytest.fixture
def traced(host, tmp_path):
    """Install a package whose scripts create a file and add a line to another; return the paths."""
    created, extended, directory = tmp_path / "aliases", tmp_path / "hosts.allow", tmp_path / "mail"
    extended.write_text("before\n")

    def script():
        created.write_text("# new\n")
        extended.write_text("before\nsendmail: all\n")
        directory.mkdir(exist_ok=True)

    host.script = script
    traces = Traces((str(created), str(extended)), (), (str(directory),))
    host.apt().present(["sendmail"], "routes", 3600, traces)
    return created, extended, directory


def test_what_the_scripts_of_packages_leave_is_restored_with_the_last_of_them(host, traced):
    created, extended, directory = traced
    assert created.exists()
    assert host.apt(check_only=True).absent("routes").changed
    assert created.exists()
    assert host.apt().absent("routes").left == []
    assert not created.exists()
    assert extended.read_text() == "before\n"
    assert not directory.exists()
    assert not host.file.parent.exists()
    assert not host.apt().absent("routes").changed


def test_what_somebody_edited_since_stays_with_a_line(host, traced):
    created, extended, directory = traced
    created.write_text("# new\nstaff: root\n")
    (directory / "notes").touch()
    told = " ".join(host.apt().absent("routes").left)
    assert f"{created} was edited since; it stays as it is" in told
    assert f"{directory} stays: it has notes" in told
    assert created.read_text() == "# new\nstaff: root\n"
    assert extended.read_text() == "before\n"


def test_files_stay_with_the_packages_that_stay(host, traced):
    created, extended, _directory = traced
    host.installed.add("mailutils")
    host.needs["mailutils"] = ["sendmail"]
    assert host.apt().absent("routes").left == ["package sendmail stays: mailutils depends on it"]
    assert created.exists()
    host.installed.remove("mailutils")
    assert host.apt().absent("routes").removed == ["sendmail"]
    assert not created.exists()
    assert extended.read_text() == "before\n"


def test_files_stay_with_packages_that_are_kept(host, traced):
    created, extended, _directory = traced
    host.apt().absent("routes", keep=True)
    assert created.exists()
    assert extended.read_text() == "before\nsendmail: all\n"
    assert not host.file.parent.exists()


def test_an_installation_that_failed_half_way_is_taken_back_too(host, tmp_path):
    created = tmp_path / "aliases"
    host.script = created.touch
    host.fails = "install"
    with pytest.raises(AptError):
        host.apt().present(["sendmail"], "routes", 3600, Traces((str(created),)))
    created.touch()
    host.apt().absent("routes")
    assert not created.exists()
    assert not host.file.parent.exists()


@pytest.mark.parametrize(("since", "end"), [(None, 0o2775), (0o700, 0o700)])
def test_directories_get_their_mode_back_unless_it_was_changed_since(host, tmp_path, since, end):
    directory = tmp_path / "mailboxes"
    directory.mkdir()
    directory.chmod(0o2775)
    host.script = lambda: directory.chmod(0o3777)
    host.apt().present(["sendmail"], "routes", 3600, Traces(directories=(str(directory),)))
    if since is not None:
        directory.chmod(since)
    assert host.apt().absent("routes").left == []
    assert stat.S_IMODE(directory.stat().st_mode) == end
    assert not host.file.parent.exists()


@pytest.fixture
def aliases(host, tmp_path):
    """Install a package whose scripts append a line to a file that an admin has; return its path."""
    path = tmp_path / "aliases"
    path.write_text("root: staff\n")
    appended = Traces(appended=(str(path),))

    def script():
        path.write_text(path.read_text() + "clamav: root\n")

    host.script = script
    host.apt().present(["clamav"], "clamav", 3600, appended)
    return path


def test_what_scripts_append_goes_with_the_packages(host, aliases):
    aliases.write_text("# by hand\n" + aliases.read_text() + "news: staff\n")
    assert host.apt(check_only=True).absent("clamav").shortened == [str(aliases)]
    assert host.apt().absent("clamav").shortened == [str(aliases)]
    assert aliases.read_text() == "# by hand\nroot: staff\nnews: staff\n"
    assert not host.file.parent.exists()
    assert not host.apt().absent("clamav").changed


@pytest.mark.parametrize("text", ["root: staff\nxclamav: root\n", "root: staff\n", "clamav: root\n" * 2])
def test_what_others_have_written_is_not_taken_for_appended(host, aliases, text):
    aliases.write_text(text)
    assert host.apt().absent("clamav").shortened == []
    assert aliases.read_text() == text


def test_what_was_appended_stays_with_the_packages(host, aliases):
    host.apt().absent("clamav", keep=True)
    assert aliases.read_text() == "root: staff\nclamav: root\n"
    assert not host.file.parent.exists()


def test_what_an_interrupted_installation_appended_goes_too(host, tmp_path):
    path = tmp_path / "aliases"
    path.write_text("root: staff")
    host.fails = "install"
    host.installed.add("clamav-base")
    with pytest.raises(AptError):
        host.apt().present(["clamav"], "clamav", 3600, Traces(appended=(str(path),)))
    path.write_text("root: staffclamav: root\n")
    host.apt().absent("clamav")
    assert path.read_text() == "root: staff"
