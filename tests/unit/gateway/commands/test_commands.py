# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands: check, routes, report, status."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from mailgate.cli import main
from mailgate.commands.status import state_check, unpacker_check
from mailgate.config import Endpoint
from mailgate.events import Counters


@pytest.fixture
def installed(tmp_path):
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\nb.example\t198.18.1.2\n")
    (tmp_path / "mailgate.toml").write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
        f'queue = "127.0.0.1:1"\nlisten = ["127.0.0.1:2"]\nlanguage = "ja"\n[scan]\nsocket = "{tmp_path}/none"\n'
    )
    return tmp_path / "mailgate.toml"


class TestCheck:
    def test_check(self, installed, capsys, monkeypatch):
        assert main(["check", "--config", str(installed)]) == 0
        assert "2 routes" in capsys.readouterr().out
        bad = installed.with_name("bad")
        bad.write_text("x\n")
        assert main(["check", "--config", str(installed), "--routes", str(bad)]) == 2
        assert str(bad) in capsys.readouterr().err
        monkeypatch.setattr("mailgate.cli.DEFAULT_CONFIG", installed.with_name("absent"))
        assert main(["check", "--routes", str(installed.with_name("routes"))]) == 0
        assert main(["check", "--routes", str(bad)]) == 2
        capsys.readouterr()
        installed.write_text("hostname = 1\n")
        assert main(["check", "--config", str(installed)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 2

    def test_routes_are_printed(self, installed, capsys):
        assert main(["routes", "--config", str(installed)]) == 0
        assert capsys.readouterr().out == "a.example  198.18.1.1\nb.example  198.18.1.2\n"


class TestReport:
    def test_report(self, installed, capsys):
        assert main(["report", "--config", str(installed)]) == 0
        assert not installed.with_name(Counters.FILE).exists(), "looking makes no files"
        counters = Counters(installed.parent)
        counters.add("processed", 12)
        counters.add("relay_refused", 3)
        counters.close()
        capsys.readouterr()
        assert main(["report", "--config", str(installed)]) == 0
        _titles, period, before, *_others = capsys.readouterr().out.splitlines()
        assert (period.split()[-3:], before.split()[-3:]) == (["12", "3", "0"], ["0", "0", "0"])
        assert main(["report", "--config", str(installed), "--format", "json", "--since", "2020-01-01"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["processed"], found["relay_refused"], found["virus_found"]) == (12, 3, 0)
        assert main(["report", "--config", str(installed), "--format", "csv", "--language", "en"]) == 0
        assert capsys.readouterr().out.startswith("Period,Mails processed,Relay attempts refused,Viruses found\n")
        assert main(["report", "--config", str(installed), "--until", "2020-01-01", "--since", "2021-01-01"]) == 2


class TestStatus:
    def test_status_names_what_fails(self, installed, capsys):
        assert main(["status", "--language", "en", "--config", str(installed)]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert [line[:4].strip() for line in lines] == [
            "FAIL", "FAIL", "ok", "FAIL", "ok", "ok", "ok", "ok", "FAIL", "ok",
        ]  # fmt: skip
        assert Endpoint("127.0.0.1", 2) and "127.0.0.1:2" in lines[0]

    def test_the_unpacker_is_asked_to_open_an_archive(self):
        assert not unpacker_check("/nowhere").ok
        assert unpacker_check("").ok


class TestStateCheck:
    def test_room_is_reported(self, tmp_path):
        check = state_check(tmp_path)
        assert check.ok
        assert check.detail.endswith(" MB free")
        assert not state_check(tmp_path / "missing").ok

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"f_bavail": 100}, "0 MB free; mail continues, but counters, recipients and events cannot be stored"),
            ({"f_favail": 0}, "no inodes free"),
            ({"f_flag": os.ST_RDONLY}, "read-only"),
        ],
    )
    def test_a_state_directory_that_cannot_be_written_fails(self, tmp_path, monkeypatch, changes, word):
        free = {"f_bavail": 1 << 20, "f_frsize": 4096, "f_files": 9, "f_favail": 9, "f_flag": 0, **changes}
        monkeypatch.setattr("os.statvfs", lambda _path: SimpleNamespace(**free))
        check = state_check(tmp_path)
        assert not check.ok
        assert word in check.detail


class TestLimitsInStatus:
    @pytest.fixture
    def lines(self, installed, capsys):
        def run() -> dict[str, str]:
            main(["status", "--language", "en", "--config", str(installed)])
            lines = capsys.readouterr().out.splitlines()
            return {line[6:].partition(": ")[0]: line for line in lines}

        return run

    def test_bans_rates_and_alarms(self, installed, lines):
        counters = Counters(installed.parent)
        for event, number in (("banned", 2), ("ban_refused", 40), ("rate_exceeded", 3), ("relay_alarm:198.18.3.3", 1)):
            counters.add(event, number)
        counters.close()
        main(["ban", "--config", str(installed), "add", "198.18.9.9"])
        found = lines()
        assert found["bans"].endswith("1 now; in 24 hours 2 clients banned, 40 connections refused")
        assert "3 times" in found["rates"]
        assert "198.18.3.3" in found["relaying hosts"]

    def test_a_shared_store_that_does_not_answer(self, installed, lines):
        assert "shared store" not in lines()
        with installed.open("a") as settings:
            settings.write('[shared_state]\nserver = "127.0.0.1:1"\ntls = false\n')
        line = lines()["shared store"]
        assert line.startswith("FAIL") and "127.0.0.1:1" in line and line.endswith("the gateway uses its own memory")

    def test_an_exporter_that_does_not_answer(self, installed, lines):
        assert not [line for line in lines().values() if "metrics" in line]
        with installed.open("a") as settings:
            settings.write('[metrics]\nlisten = ["127.0.0.1:3"]\n')
        (line,) = [line for line in lines().values() if "metrics 127.0.0.1:3" in line]
        assert line.startswith("FAIL") and line.endswith("mail continues")

    def test_a_store_that_fails(self, installed, lines):
        assert "store of limits" not in lines()
        counters = Counters(installed.parent)
        counters.add("limits_store_failed", 7)
        counters.close()
        assert lines()["store of limits"].startswith("FAIL")
        (installed.parent / "bans.sqlite").write_bytes(b"x" * 5000)
        assert lines()["bans and greylist"].startswith("FAIL")
