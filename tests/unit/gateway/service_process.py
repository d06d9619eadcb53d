# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as a process, and how a test starts it."""

from __future__ import annotations

import asyncio
import compileall
import contextlib
import itertools
import os
import py_compile
import queue
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import zipapp
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TextIO

from fake_clamd import FakeClamd
from gateway_doubles import PATIENCE, Client, Hop

import mailgate

# MAILGATE_TEST_LOOP=uvloop runs the tests and the service on uvloop, which is not in the archive but in the system.
ON_UVLOOP = os.environ.get("MAILGATE_TEST_LOOP") == "uvloop"
_ISOLATED = ("-I",) if ON_UVLOOP else ("-I", "-S")
REQUIREMENTS = (
    "aiosmtpd",
    "asn1crypto",
    "attr",
    "attrs",
    "dateutil",
    "dkim",
    "dns",
    "h11",
    "pg8000",
    "prometheus_client",
    "public",
    "publicsuffixlist",
    "pyclamd",
    "scramp",
    "valkey",
)


def build(tree: Path) -> Path:
    """Build the zipapp that the role installs, in a directory."""
    for name in REQUIREMENTS:
        shutil.copytree(Path(sysconfig.get_path("purelib")) / name, tree / "app" / name)
    for name in ("six.py", "spf.py"):
        shutil.copy(Path(sysconfig.get_path("purelib")) / name, tree / "app")
    # These read their versions there; the role's archive has those of all packages.
    for name in ("pg8000", "scramp"):
        (path,) = Path(sysconfig.get_path("purelib")).glob(f"{name}-*.dist-info")
        shutil.copytree(path, tree / "app" / path.name)
    shutil.copytree(Path(mailgate.__file__).parent, tree / "app" / "mailgate")
    (tree / "app" / "__main__.py").write_text("import sys\n\nfrom mailgate.cli import main\n\nsys.exit(main())\n")
    # Most tests start it several times, and what is in an archive is not kept compiled.
    compileall.compile_dir(
        tree / "app", quiet=1, legacy=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    zipapp.create_archive(tree / "app", tree / "mailgate.pyz")
    return tree / "mailgate.pyz"


class Running:
    """A service process with a notification socket."""

    def __init__(self, pyz: Path, directory: Path, prefix: Sequence[str] = (), stderr: TextIO | None = None) -> None:
        self.directory = directory
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._socket.settimeout(0.5)
        self._notifications: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, *_ISOLATED, str(pyz), "serve", "--config", str(directory / "mailgate.toml")],
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": "400000"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        threading.Thread(target=self._read_notifications, daemon=True).start()

    def _read_notifications(self) -> None:
        """Read at once what the service sends, as systemd does: it waits while ten notifications are unread."""
        with self._socket:
            while True:
                try:
                    self._notifications.put(self._socket.recv(4096).decode())
                except TimeoutError:
                    if self.process.poll() is not None:
                        return

    async def until(self, wanted: str) -> str:
        """Return the next notification that has this text."""

        def wait() -> str:
            while wanted not in (state := self._notifications.get(timeout=PATIENCE)):
                pass
            return state

        return await asyncio.to_thread(wait)

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def ended(self) -> str:
        out, _ = await asyncio.to_thread(self.process.communicate, timeout=PATIENCE)
        return out


def alive(processes: list[int]) -> bool:
    return any(Path(f"/proc/{process}").exists() for process in processes)


# Numbers for ports of this process.
_PORTS = itertools.count(os.getpid())


def free_port() -> int:
    """Return a port on which nothing listens.

    It is below those that the kernel gives to clients, and of this worker of pytest, so that nobody else takes it
    before it is used.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        port = 12_000 + 1000 * (worker % 20) + next(_PORTS) % 1000
        with contextlib.suppress(OSError), socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            for probe in (stream, datagram):
                probe.bind(("127.0.0.1", port))
            return port


def write_settings(directory: Path, port: int, hop: Hop, domain: str, more: str = "", first: str = "") -> None:
    (directory / "routes").write_text(f"{domain}\t[127.0.0.1]:{hop.port}\n")
    (directory / "mailgate.toml").write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{directory}/routes"\nstate_dir = "{directory}"\n'
        f'listen = ["127.0.0.1:{port}"]\nqueue = "127.0.0.1:1"\n'
        f'workers = 2\nevent_loop = "auto"\n{first}'
        f'[scan]\nsocket = "{directory}/clamd.ctl"\nfile_size = 0\n[timeouts]\ndrain = 30\n{more}'
    )


@contextlib.asynccontextmanager
async def serving(
    pyz: Path, directory: Path, more: str = "", first: str = ""
) -> AsyncIterator[tuple[Running, Hop, int]]:
    """Run the service on a port, with a next hop for a.example and a fake clamd.

    The settings have `first` outside of sections, and `more` at their end.
    """
    hop, clamd = Hop(), FakeClamd(directory / "clamd.ctl")
    await hop.start()
    await clamd.start()
    port = free_port()
    write_settings(directory, port, hop, "a.example", more, first)
    service = Running(pyz, directory)
    try:
        yield service, hop, port
    finally:
        service.process.kill()
        service.process.wait()
        hop.stop()
        clamd.stop()


async def connect(port: int) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    assert (await client.reply()).startswith("220 gw1.univ.example")
    await client.hello()
    return client
