# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate index` as a process: it follows the files, resumes after a kill, and belongs to the service's user."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mailgate
from mailgate.event_index.query import Query
from mailgate.event_index.store import DailyStore
from mailgate.event_spool import Spool
from mailgate.state import EVENT_INDEX

SECONDS = 60


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return write_settings(tmp_path)


def write_settings(directory: Path) -> Path:
    path = directory / "mailgate.toml"
    path.write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{directory}/routes"\nstate_dir = "{directory}/state"\n'
    )
    return path


@contextlib.contextmanager
def indexing(settings: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the process; end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mailgate", "index", "--config", str(settings), *options],
        cwd=Path(mailgate.__file__).parents[1],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write(state: Path, number: int) -> None:
    line = f'{{"v": 1, "time": {time.time()}, "event": "message", "id": "{number}", "reply": "250 ok"}}\n'
    assert Spool(state, 1 << 20).append(line.encode())


def wait_for(state: Path, number: int) -> None:
    """Wait until so many events are in the index."""
    deadline = time.monotonic() + SECONDS
    while len(DailyStore(state, read_only=True).find(Query())) != number:
        assert time.monotonic() < deadline, "not indexed in time"
        time.sleep(0.02)


def test_it_follows_resumes_after_a_kill_and_stops_when_told(settings):
    state = settings.parent / "state"
    write(state, 1)
    with indexing(settings) as process:
        wait_for(state, 1)
        write(state, 2)
        wait_for(state, 2)
        process.kill()
    write(state, 3)
    with indexing(settings) as process:
        wait_for(state, 3)
        process.send_signal(signal.SIGTERM)
        assert (process.wait(SECONDS), process.stderr and process.stderr.read()) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_files_belong_to_the_owner_of_the_state_directory():
    # pytest's directories are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        state = directory / "state"
        state.mkdir()
        settings = write_settings(directory)
        write(state, 1)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, 65534, 65534)
        with indexing(settings, "--once") as process:
            assert (process.wait(SECONDS), process.stderr and process.stderr.read()) == (0, "")
        assert {path.stat().st_uid for path in (state / EVENT_INDEX).rglob("*")} == {65534}
