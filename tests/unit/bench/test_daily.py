# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench of a daily run measures only runs that change nothing, each beside the ping of its round."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench import daily

LINE = "{} : ok={} changed={} unreachable=0 failed=0 skipped=1 rescued=0 ignored=0\n"


class Twin:
    """A twin whose runs give these numbers of changes in turn."""

    def __init__(self, *changes, status=0):
        self.changes, self.status, self.played = list(changes), status, []

    def playbook_arguments(self, playbook, options=()):
        return ["ansible-playbook", playbook, *options]

    def run(self, arguments):
        self.played.append(arguments[1:])
        if "ping" in arguments[1]:
            self.ping = Path(arguments[1]).read_text()
        text = LINE.format("gw1", 7, self.changes.pop(0)) + LINE.format("mail.eng", 1, 0)
        return subprocess.CompletedProcess(arguments, self.status, text.encode(), b"")


def test_it_applies_until_nothing_changes():
    twin = Twin(5, 0)
    assert daily.settle(twin) == ["gw1", "mail.eng"]
    assert twin.changes == []
    with pytest.raises(SystemExit, match="changes in each of"):
        daily.settle(Twin(5, 1, 1, 0))


def test_a_round_is_the_ping_of_the_same_hosts_and_both_runs():
    twin = Twin(0, 0, 0)
    found = daily.measure(twin, ["gw1", "mail.eng"], 1)
    assert [arguments[1:] for arguments in twin.played] == [[], [], ["--check"]]
    assert 'hosts: ["gw1", "mail.eng"]' in twin.ping
    assert {name: [run.tasks for run in runs] for name, runs in found.items()} == {
        "ping": [8],
        "site": [8],
        "check": [8],
    }


def test_a_run_with_changes_or_a_failure_is_no_measurement():
    with pytest.raises(SystemExit, match="site has 1 changes"):
        daily.measure(Twin(0, 1), ["gw1"], 1)
    with pytest.raises(SystemExit, match="exit status 2"):
        daily.measure(Twin(0, status=2), ["gw1"], 1)


def test_ratios_are_of_one_round(capsys):
    def runs(*elapsed):
        return [daily.Took(each, each, 1) for each in elapsed]

    figures = daily.report({"ping": runs(10, 100, 10), "site": runs(15, 150, 16), "check": runs(30, 300, 30)})
    assert (figures["site"]["ratio"], figures["check"]["ratio"]) == (1.5, 3.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith("goal met")
    assert lines[3].endswith("goal 2.0 missed")
