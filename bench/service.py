# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway service as a process on loopback, for benches that need no isolated machine."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from lab.tools import REPOSITORY


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """`mailgate serve` with one route, to `next_hop_port`; settings by section."""

    def __init__(self, directory: Path, next_hop_port: int, clamd_socket: Path, **sections: dict[str, object]) -> None:
        self.port = free_port()
        sections = {"scan": {"socket": str(clamd_socket), **sections.pop("scan", {})}, **sections}
        text = (
            f'hostname = "gw1.univ.example"\nroutes_file = "{directory}/routes"\nstate_dir = "{directory}"\n'
            f'listen = ["127.0.0.1:{self.port}"]\nqueue = "127.0.0.1:{next_hop_port}"\nworkers = 1\n'
        )
        for name, settings in sections.items():
            text += f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        (directory / "routes").write_text(f"a.example\t[127.0.0.1]:{next_hop_port}\n")
        (directory / "mailgate.toml").write_text(text)
        self.log = (directory / "mailgate.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mailgate", "serve", "--config", str(directory / "mailgate.toml")],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "roles/gateway/files")},
            stdout=self.log,
            stderr=self.log,
        )

    def processes(self) -> list[int]:
        """Return the ids of the supervisor and its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def peak_kib(self) -> int:
        """Return the sum of the peak memory of all processes, in KiB."""
        total = 0
        for pid in self.processes():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        return total

    async def ready(self) -> None:
        """Wait until the service listens."""
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the service does not listen; see its log {self.log.name}")

    def stop(self) -> None:
        """Stop the service with SIGTERM, as systemd does."""
        self.process.terminate()
        self.process.wait(60)
        self.log.close()
