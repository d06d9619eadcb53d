# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A state directory on a file system that is full when the service starts: a tmpfs that only the service sees."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_clamd import FakeClamd
from gateway_doubles import Hop, wait_for
from scrape import get, scrape
from service_process import Running, connect, free_port, write_settings

import mailgate
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.event_spool import Spool
from mailgate.events import Counters
from mailgate.state import COUNTERS, KNOWN_ROUTES

PACKAGES = Path(mailgate.__file__).parents[1]
# Root needs no user namespace of its own.
UNSHARE = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")
# Mounts, copies files of before, fills what is left, and becomes the program.
MOUNT = """
mount -t tmpfs -o size=8m,mode=700 tmpfs "$0"
cp -a "$1/." "$0"
cat /dev/zero > "$0/filler" 2>/dev/null
shift
exec "$@"
"""
FAILURES = (
    "cannot write the counters",
    "cannot read the verification cache",
    "cannot record the delivery table",
    "cannot write the files of events",
    "duplicate detection disabled",
)


@functools.cache
def mounts() -> bool:
    """Return whether a tmpfs can be mounted here."""
    try:
        tried = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not mounts(), reason="a tmpfs cannot be mounted here")


@dataclass
class Full:
    """A service on a full disk: its process, the next hop, the ports of SMTP and metrics, and what it logged."""

    service: Running
    hop: Hop
    port: int
    metrics: int
    log: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def state(self) -> Path:
        """Its state directory, as it sees it."""
        return Path(f"/proc/{self.service.process.pid}/root{self.service.directory}/state")

    def free(self) -> None:
        (self.state / "filler").unlink()

    async def deliver(self) -> str:
        """Send a message that no other is like, to a recipient of its own; return the reply."""
        number = next(self.numbers)
        client = await connect(self.port)
        reply = (await client.start(f"x{number}@a.example"))[0]
        if reply.startswith("250"):
            date = b"Date: Tue, 1 Dec 2026 12:00:00 +0000\r\n"
            reply = await client.send(date + b"Message-ID: <%d@a.example>\r\n\r\nHello.\r\n" % number)
        await client.say("QUIT")
        return reply


@contextlib.asynccontextmanager
async def full_disk(pyz: Path, directory: Path, before: Path, settings: str = "") -> AsyncIterator[Full]:
    """Run the service with the files of `before` on a disk that is full otherwise."""
    (directory / "state").mkdir(exist_ok=True)
    hop, clamd, port, metrics = Hop(), FakeClamd(directory / "clamd.ctl"), free_port(), free_port()
    await hop.start()
    await clamd.start()
    more = f'[metrics]\nlisten = ["127.0.0.1:{metrics}"]\nqueue_directory = ""\n{settings}'
    write_settings(directory, port, hop, "a.example", more)
    file = directory / "mailgate.toml"
    file.write_text(file.read_text().replace(f'state_dir = "{directory}"', f'state_dir = "{directory}/state"'))
    with (directory / "log").open("w") as log:
        prefix = (*UNSHARE, "sh", "-c", MOUNT, f"{directory}/state", str(before))
        service = Running(pyz, directory, prefix, log)
    try:
        await service.until("READY=1")
        found = Full(service, hop, port, metrics, directory / "log")
        yield found
        if service.process.returncode is None:
            await stopped(found)
        assert service.process.returncode == 0
    finally:
        service.process.kill()
        service.process.wait()
        hop.stop()
        clamd.stop()


def one_line_each(log: str) -> None:
    """Check that the log has lines and no traceback, and each failure once for each process."""
    assert "Traceback" not in log
    lines = log.splitlines()
    for failure in FAILURES:
        assert 0 < sum(failure in line for line in lines) <= 3, log


@pytest.fixture
def empty(tmp_path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


async def test_a_first_start_on_a_full_disk_and_then_room(pyz, tmp_path, empty, monkeypatch):
    async with full_disk(pyz, tmp_path, empty) as found:
        for _message in range(4):
            assert (await found.deliver()).startswith("250")
        assert len(found.hop.received) == 4
        one_line_each(found.log.read_text())
        samples = await scrape(found.metrics)
        assert samples["mailgate_state_free_bytes", ()] < 1 << 20
        assert samples["mailgate_healthy", ("state_directory",)] == 0
        assert samples["mailgate_ready", ()] == 1
        status, _type, text = await asyncio.to_thread(get, found.metrics, "/health")
        assert status == 503 and "state_directory" in text
        found.free()

        async def restored() -> set[str]:
            assert (await found.deliver()).startswith("250")
            log = found.log.read_text()
            return {what for what in FAILURES if f"{what}: works again" not in log}

        deadline = time.monotonic() + 60
        while missing := await restored():
            assert time.monotonic() < deadline, (missing, found.log.read_text())
            await asyncio.sleep(0.1)
        assert "Traceback" not in found.log.read_text()
        await wait_for(lambda: stored(found.state / COUNTERS, "counts") > 0, 30)
        assert (found.state / KNOWN_ROUTES).read_text() == "a.example\n"
        status, _type, _text = await asyncio.to_thread(get, found.metrics, "/ready")
        assert status == 200


def stored(path: Path, table: str) -> int:
    """Return the number of rows, 0 if there are none that can be read.

    It reads a copy, since SQLite resolves the path, which then leads to another file system.
    """
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / path.name
        try:
            for suffix in ("", "-wal"):
                shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
            with contextlib.closing(sqlite3.connect(copy)) as database:
                return int(database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
        except (OSError, sqlite3.Error):
            return 0


async def test_files_of_before_are_used_again_and_a_removed_domain_is_deferred(pyz, tmp_path, empty):
    VerificationCache(empty, known_seconds=1, unknown_seconds=1).close()
    Counters(empty).close()
    (empty / KNOWN_ROUTES).write_text("a.example\nformer.example\n")
    async with full_disk(pyz, tmp_path, empty) as found:
        assert (await found.deliver()).startswith("250")
        client = await connect(found.port)
        assert (await client.start("y@former.example"))[0].startswith("450 4.4.4"), "though it could not be recorded"
        assert "Traceback" not in found.log.read_text()
        found.free()
        await wait_for(lambda: (found.state / KNOWN_ROUTES).read_text() == "a.example\n", 30)
        assert '"event": "routes_removed"' in (await stopped(found))


async def stopped(found: Full) -> str:
    """Stop the service; return its events."""
    found.service.process.send_signal(signal.SIGTERM)
    return await found.service.ended()


READ = """
import json, sys
from pathlib import Path
from mailgate.commands.status import run_checks
from mailgate.config_file import load
from mailgate.web.access import POSTMASTER, Access
from mailgate.web.operations import Operations

config, routes = load(Path(sys.argv[1]))
print(json.dumps({check.name: check.ok for check in run_checks(config, routes)}))
for name in ("now", "queue", "search", "report", "quarantine", "routes"):
    print(json.dumps(Operations(config, routes).run(name, Access("alice", POSTMASTER), {}))[:9])
"""


INDEX = """
import sys
from mailgate.cli import main
from mailgate.event_index import follower

follower.RETRY_SECONDS = 0.2
sys.exit(main(["index", "--config", sys.argv[1]]))
"""


@pytest.fixture
def state(tmp_path, empty) -> list[str]:
    """Return what runs a program on a full disk with the files of a gateway that has worked before."""
    (tmp_path / "state").mkdir()
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
    (tmp_path / "mailgate.toml").write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}/state"\n'
        f'listen = ["127.0.0.1:2"]\nqueue = "127.0.0.1:3"\n[scan]\nsocket = "{tmp_path}/clamd"\n'
    )
    VerificationCache(empty, known_seconds=1, unknown_seconds=1).close()
    Counters(empty).close()
    spool = Spool(empty, 1 << 26)
    spool.append(b'{"v": 1, "time": 1800000000.0, "event": "stopped"}\n')
    spool.close()
    return [*UNSHARE, "sh", "-c", MOUNT, f"{tmp_path}/state", str(empty)]


def test_status_and_page_say_it_and_show_the_rest(state, tmp_path):
    done = subprocess.run(
        [*state, sys.executable, "-c", READ, str(tmp_path / "mailgate.toml")],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": str(PACKAGES)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    checks, *answers = done.stdout.splitlines()
    assert json.loads(checks)["state directory"] is False
    assert len(answers) == 6
    assert "Traceback" not in done.stderr


def test_the_index_waits_for_room(state, tmp_path):
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*state, sys.executable, "-c", INDEX, str(tmp_path / "mailgate.toml")],
            stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        )  # fmt: skip
    try:
        directory = Path(f"/proc/{process.pid}/root{tmp_path}/state")
        until(lambda: "cannot index events" in (tmp_path / "log").read_text())
        (directory / "filler").unlink()
        until(lambda: "works again" in (tmp_path / "log").read_text())
        assert list((directory / "event_index").glob("*.sqlite"))
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
