# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt would do is read from its own output, and only packages that nothing else needs are removed."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep.packages import (
    Package,
    Record,
    Recorded,
    Simulation,
    available_packages,
    causes,
    installed_packages,
    missing,
    parse_simulation,
    removable,
)

# apt 2.6 on a host with Postfix, asked for sendmail-bin; shortened.
SIMULATED = """\
NOTE: This is only a simulation!
Reading package lists... Done
The following packages will be REMOVED:
  bsd-mailx postfix
Remv bsd-mailx [8.1.2-0.20220412cvs-1]
Remv postfix [3.7.11-0+deb12u1] [sendmail-bin:amd64 ]
Inst libsasl2-2:i386 (2.1.28+dfsg-10 Debian:12.5/stable [i386])
Inst libssl3 [3.0.11-1] (3.0.15-1 Debian:12.8/stable [amd64])
Inst sendmail-base (8.17.1.9-2+deb12u2 Debian:12.6/stable [all]) []
Inst sendmail-bin (8.17.1.9-2+deb12u2 Debian:12.6/stable [amd64])
Conf sendmail-bin (8.17.1.9-2+deb12u2 Debian:12.6/stable [amd64])
"""
DPKG = (
    "postfix\tinstalled\tdefault-mta, mail-transport-agent\tdebconf (>= 0.5) | debconf-2.0, libc6 (>= 2.36)\t"
    "libnss-db (<< 2.2), mail-transport-agent, smail\n"
    "bsd-mailx\tinstalled\tmailx\tlibc6, default-mta | mail-transport-agent\t, \n"
    "libc6\tinstalled\t\tlibgcc-s1:any\t, \n"
    "old\tconfig-files\t\t, \t, \n"
)
SHOWN = """\
Package: sendmail-bin
Version: 8.17.1.9-2+deb12u2
Provides: default-mta, mail-transport-agent
Depends: sendmail-base
Conflicts: mail-transport-agent, smail

Package: sendmail-base
Version: 8.17.1.9-2+deb12u2
"""


def package(name: str, *needs: str, provides: str = "") -> Package:
    groups = tuple(frozenset(group.split("|")) for group in needs)
    return Package(name, "installed", frozenset({name, *provides.split()}), groups)


def every(*packages: Package) -> dict[str, Package]:
    return {each.name: each for each in packages}


def record(asked: dict[str, list[str]], **installed: str) -> Record:
    return Record(asked, {name.replace("_", "-"): Recorded(by, "2026-11-29") for name, by in installed.items()})


def test_the_steps_of_a_simulation_are_new_changed_and_removed_packages():
    assert parse_simulation(SIMULATED) == Simulation(
        ("libsasl2-2", "sendmail-base", "sendmail-bin"), ("libssl3",), ("bsd-mailx", "postfix")
    )
    assert parse_simulation("Purg clamav [1.0]\n").removed == ("clamav",)


def test_what_would_be_removed_is_named_with_its_cause():
    lines = causes(parse_simulation(SIMULATED), installed_packages(DPKG), available_packages(SHOWN))
    assert lines == [
        "bsd-mailx: it depends on postfix, which would be removed",
        "postfix: sendmail-bin conflicts with mail-transport-agent, which postfix provides",
    ]


def test_installed_and_provided_names_are_not_missing():
    present = installed_packages(DPKG)
    assert missing(["postfix", "mail-transport-agent", "old", "new", "new"], present) == ["old", "new"]


def test_a_role_that_goes_takes_what_it_brought_and_what_that_pulled_in():
    present = every(package("libc6"), package("clamd", "libclam", "libc6"), package("libclam", "libc6"))
    assert removable(record({"clamav": ["clamd"]}, clamd="clamav", libclam="clamav"), "clamav", present) == (
        ["clamd", "libclam"],
        {},
    )


def test_what_others_need_stays_with_the_reason():
    present = every(
        package("clamd", "libclam"),
        package("libclam", "libz"),
        package("libz"),
        package("own", "libclam"),
        package("7z"),
    )
    found = record({"clamav": ["clamd", "7z"], "gateway": ["7z"]}, clamd="clamav", libclam="clamav", libz="clamav")
    found.installed["7z"] = Recorded("clamav", "")
    assert removable(found, "clamav", present) == (
        ["clamd"],
        {"7z": "the role gateway needs it", "libclam": "own depends on it", "libz": "libclam depends on it"},
    )


def test_one_of_several_alternatives_may_go():
    mta = package("sendmail-bin", provides="mail-transport-agent")
    mailx = package("mailx", "exim4|mail-transport-agent")
    found = record({"routes": ["sendmail-bin"]}, sendmail_bin="routes")
    assert removable(found, "routes", every(mta, mailx))[0] == []
    other = package("postfix", provides="mail-transport-agent")
    assert removable(found, "routes", every(mta, mailx, other))[0] == ["sendmail-bin"]


def test_a_package_that_another_role_used_too_goes_with_the_last_one():
    present = every(package("7z"))
    found = record({"gateway": ["7z"]}, **{"7z": "clamav"})
    assert removable(found, "clamav", present)[0] == []
    assert removable(found, "gateway", present)[0] == ["7z"]


def test_what_was_there_before_is_never_removed():
    assert removable(Record({"gateway": ["7z"]}), "gateway", every(package("7z"))) == ([], {})


def test_a_record_is_read_as_it_was_written():
    found = record({"gateway": ["7z"]}, **{"7z": "gateway"})
    assert Record.read(found.text()) == found
    assert Record().text() == ""
    with pytest.raises(ValueError, match="format"):
        Record.read("{}")
