# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delay of ordinary mail while slow clients hold all places: `python bench/slow_clients.py`.

All on loopback, whose addresses stand for clients: 500 of them, in 50 networks, keep 5,000 connections and send a byte
now and then; they connect again when they are closed. Ordinary clients send small messages, each over a new connection:
some from a network that has delivered before, others each from a network of its own. One that is refused with 4xx tries
again after a second, and its delay counts to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import multiprocessing
import multiprocessing.synchronize
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "roles/gateway/files"), str(ROOT / "tests/unit/gateway")]

from fake_clamd import FakeClamd  # noqa: E402
from gateway_doubles import Hop  # noqa: E402

from bench.service import Service  # noqa: E402

NETWORKS, HOSTS = 50, 10
RATE, RETRY_SECONDS, BYTE_SECONDS, GREETING_SECONDS = 10, 1.0, 5.0, 20.0
COMMANDS = (
    b"EHLO sender.example", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<alice@a.example>", b"DATA",
)  # fmt: skip
_numbers = itertools.count()


async def slow_client(port: int, address: str, full: asyncio.Semaphore) -> None:
    """Keep a place for as long as possible, again and again."""
    waited = False
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            try:
                greeting = await asyncio.wait_for(reader.readline(), GREETING_SECONDS)
                if not waited:
                    waited = True
                    full.release()
                while greeting.startswith(b"220"):
                    writer.write(b"x")
                    with contextlib.suppress(TimeoutError):
                        if not await asyncio.wait_for(reader.read(1), BYTE_SECONDS):
                            break
            finally:
                writer.transport.abort()
        await asyncio.sleep(RETRY_SECONDS)


def slow_clients(port: int, number: int, ready: multiprocessing.synchronize.Event) -> None:
    """Run all slow clients until the process is terminated; set `ready` when each has connected once."""

    async def run() -> None:
        full = asyncio.Semaphore(0)
        tasks = []
        for one in range(number):
            host = one % (NETWORKS * HOSTS)
            address = f"127.1.{host % NETWORKS}.{host // NETWORKS + 1}"
            tasks.append(asyncio.create_task(slow_client(port, address, full)))
        for _ in tasks:
            await full.acquire()
        ready.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())


async def send(port: int, address: str) -> tuple[float, int]:
    """Send one message; return the seconds until it is accepted, and the number of refusals before."""
    message = f"Subject: bench {next(_numbers)}\r\n\r\nHello.\r\n.".encode()
    started = time.monotonic()
    for refusals in range(60):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            try:
                reply = await reader.readuntil(b"\n")
                for command in (*COMMANDS, message):
                    if reply[:1] not in b"23":
                        break
                    writer.write(command + b"\r\n")
                    while (reply := await reader.readuntil(b"\n"))[3:4] == b"-":
                        pass
                if reply.startswith(b"250"):
                    writer.write(b"QUIT\r\n")
                    await reader.read()
                    return time.monotonic() - started, refusals
            finally:
                writer.transport.abort()
        await asyncio.sleep(RETRY_SECONDS)
    return time.monotonic() - started, 60


async def measure(port: int, seconds: int, networks: int) -> dict[str, Any]:
    """Send messages at a fixed rate from known networks and new ones; return their delays.

    Args:
        port: The gateway's port.
        seconds: Duration.
        networks: Second byte of the addresses of new networks.
    """
    sent: dict[str, list[asyncio.Task[tuple[float, int]]]] = {"known": [], "new": []}
    start = time.monotonic()
    for number in range(seconds * RATE):
        await asyncio.sleep(max(0.0, start + number / RATE - time.monotonic()))
        kind = "new" if number % 2 else "known"
        address = f"127.{networks}.{number % 250}.9" if number % 2 else f"127.200.0.{number % 10 + 1}"
        sent[kind].append(asyncio.create_task(send(port, address)))
    result: dict[str, Any] = {}
    for kind, tasks in sent.items():
        found = [await task for task in tasks]
        delays = sorted(delay for delay, _refusals in found)
        result[kind] = {
            "messages": len(found),
            "median_ms": round(statistics.median(delays) * 1000, 1),
            "p99_ms": round(delays[int(len(delays) * 0.99)] * 1000, 1),
            "refused_at_first": sum(refusals > 0 for _delay, refusals in found),
        }
    return result


async def main() -> None:
    """Measure without and with slow clients; print as JSON."""
    parser = argparse.ArgumentParser(prog="bench.slow_clients")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    logging.disable()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        hop, clamd = Hop(), FakeClamd(directory / "clamd.ctl")
        await hop.start()
        await clamd.start()
        service = Service(directory, hop.port, clamd.path, scan={"file_size": 0})
        ready = multiprocessing.Event()
        crowd = multiprocessing.Process(target=slow_clients, args=(service.port, options.clients, ready), daemon=True)
        try:
            await service.ready()
            result = {"without": await measure(service.port, options.seconds, 2), "slow_clients": options.clients}
            crowd.start()
            result["all_connected_once"] = await asyncio.to_thread(ready.wait, 60)
            result["with"] = await measure(service.port, options.seconds, 3)
            result["peak_memory_mb"] = round(service.peak_kib() / 1024)
        finally:
            if crowd.pid:
                crowd.kill()
            service.stop()
            hop.stop()
            clamd.stop()
        result["journal_lines"] = len((directory / "mailgate.log").read_bytes().splitlines())
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
