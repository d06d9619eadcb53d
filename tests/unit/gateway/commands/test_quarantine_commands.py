# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quarantine storage and its commands."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict

import pytest
from gateway_doubles import EICAR, Hop
from infected_mail import HEAD, TEXT, b64, multi, part

from mailgate.cli import main
from mailgate.config import QuarantineLimits
from mailgate.content.quarantine import DIRECTORY, Entry, Quarantine, QuarantineError

INFECTED = multi(TEXT, part(b64(EICAR), b"application/zip; name=evil.zip"))


MESSAGE = HEAD + INFECTED


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def entry(number: str, size: int) -> Entry:
    return Entry(number, 1_800_000_000.0, "198.18.0.9", "a@sender.example", ("alice@a.univ.example",), "Eicar", size)


class TestStorage:
    def test_the_quarantine_is_limited_by_size_and_age(self, tmp_path):
        clock = Clock()
        quarantine = Quarantine(tmp_path, QuarantineLimits(max_bytes=4000, max_days=2), clock)
        assert list(quarantine.entries()) == []
        for number in range(5):
            quarantine.put(entry(f"aaaaa{number}", 900), (b"x" * 400, b"y" * 500))
            path = tmp_path / DIRECTORY / f"aaaaa{number}"
            os.utime(path, (clock.now + number, clock.now + number))
        assert [one.id for one in quarantine.entries()] == ["aaaaa2", "aaaaa3", "aaaaa4"]
        assert sum(path.stat().st_size for path in (tmp_path / DIRECTORY).iterdir()) <= 4000
        assert quarantine.read("aaaaa3") == (entry("aaaaa3", 900), b"x" * 400 + b"y" * 500)
        with pytest.raises(QuarantineError, match="max_bytes"):
            quarantine.put(entry("bbbbbb", 5000), (b"x" * 5000,))
        clock.now += 2 * 86400 + 3
        assert quarantine.prune() == 1
        clock.now += 10
        assert quarantine.prune() == 2
        assert list(quarantine.entries()) == []

    @pytest.mark.parametrize("number", ["../routes", "/etc/passwd", "", "ABCDEF", "aaaaaa.part", "a" * 41])
    def test_ids_name_nothing_outside_the_quarantine(self, tmp_path, number):
        quarantine = Quarantine(tmp_path, QuarantineLimits())
        for act in (quarantine.read, quarantine.delete):
            with pytest.raises(QuarantineError, match="not a valid message number"):
                act(number)

    def test_a_missing_or_damaged_entry_is_reported(self, tmp_path):
        quarantine = Quarantine(tmp_path, QuarantineLimits())
        with pytest.raises(QuarantineError, match="not in the quarantine"):
            quarantine.read("aaaaaa")
        (tmp_path / DIRECTORY).mkdir()
        (tmp_path / DIRECTORY / "aaaaaa").write_bytes(b"rubbish\nmail")
        with pytest.raises(QuarantineError, match="invalid quarantine file"):
            quarantine.read("aaaaaa")

    @pytest.mark.parametrize(
        "changed",
        [
            {"time": "now"},
            {"time": 1e300},
            {"time": None},
            {"size": "9"},
            {"recipients": [1]},
            {"reason": None},
            {"x": 1},
        ],
    )
    def test_values_of_the_wrong_kind_are_damage(self, tmp_path, changed):
        quarantine = Quarantine(tmp_path, QuarantineLimits())
        (tmp_path / DIRECTORY).mkdir()
        (tmp_path / DIRECTORY / "aaaaaa").write_text(json.dumps({**asdict(entry("aaaaaa", 9)), **changed}) + "\nmail")
        notes: list[str] = []
        assert list(quarantine.entries(notes.append)) == []
        assert notes[0].startswith("aaaaaa: skipped: invalid quarantine file")


class TestCommands:
    def test_the_list_names_a_damaged_file_and_has_the_others(self, tmp_path, capsys):
        quarantine = Quarantine(tmp_path, QuarantineLimits())
        for number in ("aaaaa1", "aaaaa2", "aaaaa3"):
            quarantine.put(entry(number, 1), (b"x",))
        (tmp_path / DIRECTORY / "aaaaa1").write_bytes(b"rubbish\nmail")
        (tmp_path / DIRECTORY / "aaaaa2").unlink()
        (tmp_path / DIRECTORY / "aaaaa2").mkdir()
        settings = tmp_path / "mailgate.toml"
        settings.write_text(f'hostname = "gw1.univ.example"\nroutes_file = "/r"\nstate_dir = "{tmp_path}"\n')
        command = ["quarantine", "--config", str(settings)]
        assert main([*command, "list"]) == 1
        out, err = capsys.readouterr()
        assert [line.split()[0] for line in out.splitlines()] == ["aaaaa3"]
        assert [line.partition(": skipped: ")[0] for line in sorted(err.splitlines())] == [
            "mailgate: aaaaa1",
            "mailgate: aaaaa2",
        ]
        assert main([*command, "list", "--json"]) == 1
        assert [one["id"] for one in json.loads(capsys.readouterr().out)] == ["aaaaa3"]
        assert main([*command, "delete", "aaaaaf", "aaaaa3", "aaaaa1"]) == 1
        out, err = capsys.readouterr()
        assert out == "aaaaa3: deleted\naaaaa1: deleted\n"
        assert err == "mailgate: aaaaaf: not in the quarantine\n"

    async def test_commands_list_show_release_and_delete(self, tmp_path, capfdbinary):
        queue = Hop()
        await queue.start()
        content = MESSAGE + b".dot\r\n\xff8bit\r\n"
        quarantine = Quarantine(tmp_path, QuarantineLimits())
        for number in ("aaaaa1", "aaaaa2"):
            quarantine.put(entry(number, len(content)), (content,))
        settings = tmp_path / "mailgate.toml"
        settings.write_text(
            f'hostname = "gw1.univ.example"\nroutes_file = "/r"\nstate_dir = "{tmp_path}"\n'
            f'queue = "127.0.0.1:{queue.port}"\n'
        )

        async def run(*words: str) -> tuple[int, bytes]:
            status = await asyncio.to_thread(main, ["quarantine", "--config", str(settings), *words])
            out, err = capfdbinary.readouterr()
            return status, out + err

        status, out = await run("list")
        assert status == 0
        assert [line.split()[0] for line in out.splitlines()] == [b"aaaaa1", b"aaaaa2"]
        assert b"Eicar  <a@sender.example> to alice@a.univ.example" in out
        assert [one["id"] for one in json.loads((await run("list", "--format", "json"))[1])] == ["aaaaa1", "aaaaa2"]
        assert await run("show", "aaaaa1") == (0, content)
        queue.final = "452 4.3.1 full"
        status, out = await run("release", "aaaaa1")
        assert status == 1
        assert b"452 4.3.1 full" in out
        queue.final = "250 taken"
        queue.rcpt = lambda _: "550 no"
        assert (await run("release", "aaaaa1"))[0] == 1
        assert queue.received == []
        queue.rcpt = lambda _: "250 ok"
        assert (await run("release", "aaaaa1"))[0] == 0
        [released] = queue.received
        assert released.content == content, "released as it came, and not stopped again: the queue does not scan"
        assert (released.sender, released.recipients) == ("a@sender.example", ["alice@a.univ.example"])
        assert (await run("release", "aaaaa1"))[0] == 1
        assert (await run("release", "--keep", "--to", "postmaster@a.univ.example", "aaaaa2"))[0] == 0
        assert queue.received[1].recipients == ["postmaster@a.univ.example"]
        assert (await run("delete", "aaaaa2"))[0] == 0
        assert (await run("list")) == (0, b"")
        queue.stop()
