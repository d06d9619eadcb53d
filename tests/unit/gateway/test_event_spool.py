# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of events: rotation, limits, full disks and clocks that jump."""

from __future__ import annotations

import errno
import io
import json
import os

import pytest

from mailgate import event_spool
from mailgate.event_spool import Spool, expired, read_lines, segments
from mailgate.events import Events
from mailgate.state import EVENTS

NOON = 1_800_014_400.0  # 2027-01-15T12:00:00Z


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def names(tmp_path):
    return [each.name for each in segments(tmp_path / EVENTS)]


def lines(tmp_path):
    return [line for each in names(tmp_path) for line in read_lines(tmp_path / EVENTS / each, 0)[0]]


def test_a_line_is_in_the_file_of_its_hour(tmp_path, clock):
    spool = Spool(tmp_path, 1 << 20, clock=clock)
    assert spool.append(b"one\n")
    clock.now += 3600
    assert spool.append(b"two\n")
    # Set back: its former file grows again.
    clock.now -= 3600
    assert spool.append(b"three\n")
    assert names(tmp_path) == ["20270115-12.0000.jsonl", "20270115-13.0000.jsonl"]
    assert lines(tmp_path) == [b"one", b"three", b"two"]


def test_files_are_limited_in_size_and_the_oldest_removed(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(event_spool, "CHECK_LINES", 1)
    spool = Spool(tmp_path, 400, clock=clock)
    for number in range(100):
        spool.append(b"%09d\n" % number)
    kept = lines(tmp_path)
    assert kept[-1] == b"000000099"
    assert 30 <= len(kept) <= 51
    assert len(names(tmp_path)) > 3


def test_old_files_are_removed_but_not_by_a_clock_that_jumps(tmp_path, clock):
    spool = Spool(tmp_path, 1 << 20, days=2, clock=clock)
    for _day in range(5):
        spool.append(b"x\n")
        clock.now += 86400
    assert [name[:8] for name in names(tmp_path)] == ["20270117", "20270118", "20270119"]
    clock.now += 400 * 86400
    spool.append(b"x\n")
    assert len(names(tmp_path)) == 4
    assert expired({"20270101", "20270114"}, 5, NOON) == {"20270101"}


def test_two_processes_append_to_the_same_file(tmp_path, clock):
    one, two = Spool(tmp_path, 1 << 20, clock=clock), Spool(tmp_path, 1 << 20, clock=clock)
    one.append(b"one\n")
    two.append(b"two\n")
    one.append(b"three\n")
    assert lines(tmp_path) == [b"one", b"two", b"three"]


def test_only_complete_lines_are_read(tmp_path, clock):
    spool = Spool(tmp_path, 1 << 20, clock=clock)
    spool.append(b"one\n")
    spool.append(b"tw")
    path = tmp_path / EVENTS / names(tmp_path)[0]
    assert read_lines(path, 0) == ([b"one"], 4)
    assert read_lines(path, 4) == ([], 4)
    spool.append(b"o\n")
    assert read_lines(path, 4) == ([b"two"], 8)
    assert read_lines(path, 0, max_bytes=2) == ([b"one"], 4)


def test_an_overlong_line_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(event_spool, "MAX_LINE", 10)
    path = tmp_path / "x"
    path.write_bytes(b"y" * 25 + b"\nnext\n")
    position, found = 0, []
    while position < 31:
        lines, position = read_lines(path, position, max_bytes=5)
        found += lines
    assert found[-1] == b"next"


def test_a_full_disk_costs_one_line_and_is_reported_when_it_ends(tmp_path, clock, monkeypatch, caplog):
    out = io.StringIO()
    events = Events(None, out, wall_clock=clock)
    events.keep_in(Spool(tmp_path, 1 << 20, clock=clock))
    events.emit("queue_down", reason="before")
    write, full = os.write, True

    def write_part(file: int, data: bytes) -> int:
        if not full:
            return write(file, data)
        if data.startswith(b"\n"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:5])

    monkeypatch.setattr(event_spool.os, "write", write_part)
    for _message in range(3):
        events.emit("queue_down", reason="meanwhile")
    full = False
    events.emit("queue_down", reason="after")
    shown = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["event"] for event in shown].count("state_failed") == 1
    assert shown[-2] == {"event": "state_restored", "name": "events", "lost": 3}
    recorded = [line for line in lines(tmp_path) if line.startswith(b'{"v": 1, "time": 1800014400.000, "event": ')]
    assert [json.loads(line).get("reason") for line in recorded] == ["before", "after", None]
    assert "Traceback" not in caplog.text
    assert caplog.text.count("cannot write the files of events: No space left on device") == 1
    events.close()


def test_a_directory_that_cannot_be_made_stops_nothing(tmp_path, clock):
    (tmp_path / EVENTS).write_text("a file is here")
    out = io.StringIO()
    events = Events(None, out, wall_clock=clock)
    events.keep_in(Spool(tmp_path, 1 << 20, clock=clock))
    events.emit("stopped")
    events.emit("stopped")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["state_failed", "stopped", "stopped"]
