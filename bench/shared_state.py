# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cost of the shared store: processor time of a worker and of the store for each decision, by TLS on loopback.

python3 -m bench.shared_state [--number 5000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "roles" / "gateway" / "files"), str(ROOT / "tests" / "unit" / "gateway" / "limits"),
                str(ROOT / "tests" / "unit" / "gateway")]  # fmt: skip

from bench.rootfs import CACHE  # noqa: E402
from mailgate.limit_settings import Greylist  # noqa: E402
from mailgate.limits.local_store import LocalStore  # noqa: E402
from mailgate.limits.remote import Remote  # noqa: E402
from mailgate.limits.shared_store import SharedStore  # noqa: E402
from mailgate.rate_buckets import RateBuckets  # noqa: E402

# Decisions that wait for the store at the same time.
TOGETHER = 8


def main() -> None:
    """Measure, print, write as JSON."""
    parser = argparse.ArgumentParser(prog="bench.shared_state")
    parser.add_argument("--number", type=int, default=5000)
    number = parser.parse_args().number
    from shared_server import SharedServer  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", "key.pem", "-out", "cert.pem"],
            cwd=directory, check=True, capture_output=True,
        )  # fmt: skip
        server = SharedServer(directory, (str(directory / "cert.pem"), str(directory / "key.pem")))
        server.start()
        try:
            result = asyncio.run(measure(directory, server, number))
        finally:
            server.kill()
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "shared_state.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


async def measure(directory: Path, server: Any, number: int) -> dict[str, dict[str, float]]:
    """Return microseconds of the worker and of the store for each kind of decision."""
    own = RateBuckets()
    local = LocalStore(directory, own)
    remote = Remote(replace(server.settings, timeout_ms=1000), print)
    if not await remote.probe():
        raise SystemExit("the store does not answer")
    process = server.process.pid
    shared = SharedStore(local, own, remote)
    shared.greylist = Greylist(network_successes=0)
    result = {}
    for name, store in (("own memory", local), ("shared", shared)):
        for rates in (1, 4):

            async def take(each: int, store: SharedStore | LocalStore = store, rates: int = rates) -> None:
                await store.take_all([(f"{kind} {each}", 1000) for kind in range(rates)], 600)

            result[f"{rates} rates, {name}"] = await _cost(take, number, process)

        async def attempt(each: int, store: SharedStore | LocalStore = store, name: str = name) -> None:
            now = int(time.time())
            await store.attempt(f"{name} {each}".encode(), f"198.18.{each % 250}", now, now - 3600)

        result[f"greylist, new sender, {name}"] = await _cost(attempt, number, process)
    await remote.close()
    return result


async def _cost(call: Callable[[int], Awaitable[object]], number: int, server: int) -> dict[str, float]:
    numbers = iter(range(number))

    async def run() -> None:
        for each in numbers:
            await call(each)

    before, began = (time.process_time(), _seconds(server)), time.monotonic()
    await asyncio.gather(*(run() for _ in range(TOGETHER)))
    elapsed = time.monotonic() - began
    return {
        "worker_us": round((time.process_time() - before[0]) / number * 1e6, 1),
        "store_us": round((_seconds(server) - before[1]) / number * 1e6, 1),
        "elapsed_us": round(elapsed / number * 1e6, 1),
    }


def _seconds(process: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
